"""A service that is asked to stop finishes what it has begun and takes nothing new."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from libs import pricing
from tests.fixtures.gateway import Customer, Gateway, gateway_running
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
    async with gateway_running(stores, tmp_path) as running:
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
