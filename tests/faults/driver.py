"""The first truth: customers who call the gateway and write down what they were answered."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.faults.asks import Asked, mixed
from tests.fixtures.gateway import Customer

PATIENCE_SECONDS: Final = 60
HURRY_SECONDS: Final = 0.05  # of those who hang up before the first byte
CONNECT_SECONDS: Final = 5
ENDS: Final = (b"data: [DONE]", b"event: message_stop")


class Answer(msgspec.Struct, omit_defaults=True):
    """What one caller has seen. ``status`` 0: not even headers. ``whole``: it ended as an answer ends.

    ``left``: the caller hung up itself. ``body`` is kept of refusals.
    """

    org: int
    model: str
    protocol: str
    stream: bool
    request: str = ""
    status: int = 0
    whole: bool = False
    left: bool = False
    error: str = ""
    body: str = ""
    cap: str = ""

    @property
    def accepted(self) -> bool:
        return self.status == 200

    def told(self) -> Any:
        """The refusal's body."""
        return json.loads(self.body)


class Driver:
    """Calls any of the edges in turn. Answers are kept here and, for later, in a file."""

    def __init__(self, session: aiohttp.ClientSession, edges: Callable[[], list[str]], log: Path) -> None:
        self._session = session
        self._edges = edges
        self._log = log
        self._turn = 0
        self.answers: list[Answer] = []

    async def ask(self, customer: Customer, asked: Asked, edge: int | None = None) -> Answer:
        """One request to its end, whatever that is. ``edge``: a certain one."""
        answer = Answer(customer.org, str(asked.body.get("model")), asked.protocol, asked.stream)
        self.answers.append(answer)
        try:
            async with asyncio.timeout(HURRY_SECONDS if asked.leaves == 0 else PATIENCE_SECONDS):
                await self._call(customer, asked, answer, self._edge(edge))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            answer.error, answer.left = repr(error), asked.leaves == 0
        with self._log.open("ab") as file:
            file.write(msgspec.json.encode(answer) + b"\n")
        return answer

    def _edge(self, number: int | None) -> str:
        edges = self._edges()
        if number is None:
            self._turn += 1
            number = self._turn
        return edges[number % len(edges)]

    async def _call(self, customer: Customer, asked: Asked, answer: Answer, edge: str) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        headers = {**customer.bearer, "content-type": "application/json", "anthropic-version": "2023-06-01"}
        data = asked.raw or msgspec.json.encode(asked.body)
        async with self._session.post(edge + asked.path, data=data, headers=headers, timeout=timeout) as response:
            answer.request, answer.status = response.headers.get("x-request-id", ""), response.status
            answer.cap = response.headers.get("x-tokenoutput-max-tokens", "")
            await self._read(response, asked, answer)

    async def _read(self, response: aiohttp.ClientResponse, asked: Asked, answer: Answer) -> None:
        told, pieces = b"", 0
        async for piece in response.content.iter_any():
            told, pieces = told + piece, pieces + 1
            if asked.leaves and pieces >= asked.leaves:
                answer.left = True
                response.close()
                return
        answer.whole = _whole(told) if asked.stream and response.status == 200 else True
        if response.status != 200:
            answer.body = told.decode(errors="replace")[:2000]

    @asynccontextmanager
    async def load(
        self,
        customers: list[Customer],
        rng: random.Random,
        rate: float,
        secret: str,
        choose: Callable[[random.Random, str], Asked] = mixed,
    ) -> AsyncIterator[None]:
        """Requests at this rate while the context lasts; those that are under way are then awaited."""
        running: set[asyncio.Task[Answer]] = set()

        async def keep_asking() -> None:
            while True:
                asking = asyncio.create_task(self.ask(rng.choice(customers), choose(rng, secret)))
                running.add(asking)
                asking.add_done_callback(running.discard)
                await asyncio.sleep(rng.expovariate(rate))

        pace = asyncio.create_task(keep_asking())
        try:
            yield
        finally:
            pace.cancel()
            await asyncio.gather(pace, *running, return_exceptions=True)


def _whole(told: bytes) -> bool:
    """SDKs take these for the end of an answer."""
    return any(end in told[-200:] for end in ENDS)


def accepted(answers: list[Answer]) -> int:
    return sum(answer.accepted for answer in answers)


def statuses(answers: list[Answer]) -> dict[int, int]:
    """How often each status was answered."""
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status] = found.get(answer.status, 0) + 1
    return found
