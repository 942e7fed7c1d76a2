"""`make bench`: what the gateway adds to a call, as ratios measured in one run against the stack of `make up`.

The same requests go to the simulated provider directly and through the gateway, in interleaved rounds. Absolute times
say little on a shared machine; the ratios of the medians do.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import aiohttp

ROUNDS: Final = 5
REQUESTS: Final = 200
CONCURRENT: Final = 16
CUE: Final = "[sim: words=20]"


class Target:
    """One address that answers Chat Completions."""

    def __init__(self, name: str, url: str, key: str) -> None:
        self.name = name
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"}
        self.seconds: list[float] = []
        self.rates: list[float] = []

    async def round(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        body = {
            "model": "deepseek-chat",
            "max_tokens": 64,
            "stream": stream,
            "messages": [{"role": "user", "content": CUE}],
        }
        gate, began = asyncio.Semaphore(CONCURRENT), time.perf_counter()
        await asyncio.gather(*(self._one(session, gate, body) for _ in range(REQUESTS)))
        self.rates.append(REQUESTS / (time.perf_counter() - began))

    async def _one(self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, body: dict[str, Any]) -> None:
        async with gate:
            began = time.perf_counter()
            async with session.post(self._url, json=body, headers=self._headers) as response:
                await response.read()
                response.raise_for_status()
            self.seconds.append(time.perf_counter() - began)


def ratio(ours: list[float], theirs: list[float], of: Callable[[list[float]], float]) -> str:
    return f"{of(ours) / of(theirs):6.2f}"


async def compare(*, stream: bool) -> None:
    direct = Target("direct", f"{os.environ['SIMULATOR_URL']}/deepseek/chat/completions", "bench")
    gateway = Target("gateway", f"{os.environ['GATEWAY_URL']}/v1/chat/completions", os.environ["API_KEY"])
    async with aiohttp.ClientSession() as session:
        for _ in range(ROUNDS):
            for target in (direct, gateway):
                await target.round(session, stream=stream)
    kind = "streams" if stream else "whole answers"
    print(f"{kind}: {REQUESTS} requests x {ROUNDS} rounds, {CONCURRENT} at a time")
    for target in (direct, gateway):
        rate, middle = statistics.median(target.rates), statistics.median(target.seconds) * 1000
        print(f"  {target.name:<8} {rate:8.0f} requests/s   median {middle:6.1f} ms")
    latency = ratio(gateway.seconds, direct.seconds, statistics.median)
    print(f"  gateway ÷ direct: latency {latency}, rate {ratio(gateway.rates, direct.rates, statistics.median)}")


async def main() -> None:
    for stream in (False, True):
        await compare(stream=stream)


if __name__ == "__main__":
    asyncio.run(main())
