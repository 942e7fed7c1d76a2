"""A service that is asked to stop finishes what it has begun and takes nothing new."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from libs import pricing
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.stores import Stores

CHAT = "/v1/chat/completions"
SLOW = {
    "model": "deepseek-chat",
    "stream": True,
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "[sim: words=40 gap=0.03]"}],
}


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway_running(stores, tmp_path, drain_seconds=16) as running:  # what counts is half of it
        yield running


async def stream(gateway: Gateway, customer: Customer, begun: asyncio.Event) -> str:
    async with gateway.session.post(f"{gateway.url}{CHAT}", json=SLOW, headers=customer.bearer) as response:
        first = await response.content.readany()
        begun.set()
        return (first + await response.read()).decode()


@pytest.mark.parametrize("role", ["edge", "router"])
async def test_streams_finish_while_a_service_stops_and_are_charged(gateway: Gateway, role: str) -> None:
    customer = await gateway.customer()
    begun = [asyncio.Event() for _ in range(5)]
    streams = [asyncio.create_task(stream(gateway, customer, event)) for event in begun]
    await asyncio.gather(*(event.wait() for event in begun))
    await gateway.stop(role)
    assert all(text.endswith("data: [DONE]\n\n") for text in await asyncio.gather(*streams))
    await gateway.start(role)
    await gateway.ready()
    price = gateway.price_of("deepseek-chat")
    spent = sum(pricing.cost(price, r.usage, r.at) for r in gateway.simulator.served() if r.usage)
    expected = 10 * pricing.NANO - spent
    assert await customer.settled_balance(expected) == expected
    assert await gateway.verify() is None
    assert gateway.faults() == []


async def test_a_stopping_edge_refuses_new_connections_at_once(gateway: Gateway) -> None:
    customer = await gateway.customer()
    begun = asyncio.Event()
    running = asyncio.create_task(stream(gateway, customer, begun))
    await begun.wait()
    stopping = asyncio.create_task(gateway.stop("edge"))
    await asyncio.sleep(0.2)
    async with aiohttp.ClientSession() as newcomer:
        with pytest.raises(aiohttp.ClientConnectorError):
            await newcomer.get(gateway.url)
    assert (await running).endswith("data: [DONE]\n\n")
    await stopping


@pytest.mark.parametrize("role", ["edge", "router"])
async def test_fifty_streams_survive_a_rolling_restart(gateway: Gateway, role: str) -> None:
    customer = await gateway.customer()
    begun = [asyncio.Event() for _ in range(50)]
    streams = [asyncio.create_task(stream(gateway, customer, event)) for event in begun]
    await asyncio.gather(*(event.wait() for event in begun))
    await gateway.stop(role)
    assert [text.endswith("data: [DONE]\n\n") for text in await asyncio.gather(*streams)] == [True] * 50
    await gateway.start(role)
    await gateway.ready()
    served = [record for record in gateway.simulator.served() if record.usage]
    assert len(served) == 50
    price = gateway.price_of("deepseek-chat")
    expected = 10 * pricing.NANO - sum(
        pricing.cost(price, record.usage, record.at) for record in served if record.usage
    )
    assert await customer.settled_balance(expected) == expected
    assert await gateway.verify() is None


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_what_is_not_done_at_the_limit_ends_with_an_error_and_a_record(gateway: Gateway, path: str) -> None:
    customer = await gateway.customer()
    body = {**SLOW, "messages": [{"role": "user", "content": "[sim: words=300 gap=0.1]"}]}
    async with gateway.session.post(f"{gateway.url}{path}", json=body, headers=customer.bearer) as response:
        request = response.headers["x-request-id"]
        await response.content.readany()
        stopping = asyncio.create_task(gateway.stop("router"))
        text = (await response.read()).decode()
    await stopping
    assert "restarting" in json.loads(text.strip().split("data: ")[-1])["error"]["message"]
    assert "[DONE]" not in text
    assert "message_stop" not in text
    await gateway.start("router")
    await gateway.ready()
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        async with gateway.session.get(
            f"{gateway.url}/v1/generation", params={"id": request}, headers=customer.bearer
        ) as answer:
            found.update(await answer.json())
            return answer.status == 200

    assert await until(is_there)
    assert (found["status"], found["attempts"][0]["reason"]) == ("estimated", "interrupted")
    assert await gateway.verify() is None
    assert gateway.faults() == []
