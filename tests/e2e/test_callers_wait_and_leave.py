"""Callers who wait hear from us; callers who leave end the provider's work, or its bill is read to the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from deploy.demo.provider.journal import Record
from libs import pricing
from tests.fixtures.gateway import Gateway, gateway_running, until
from tests.fixtures.stores import Stores

CANCELS = "deepseek-chat"  # its provider stops billing when we hang up
DRAINS = "glm-4-flash"  # its provider does not
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}


@pytest.fixture(scope="module")
async def gateway(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One that gives a sign of life every second and drains for five."""
    folder = tmp_path_factory.mktemp("gateway")
    async with gateway_running(stores, folder, keep_alive_seconds=1, hangup_seconds=8) as running:
        yield running


def body_of(model: str, cue: str, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"[sim: {cue}] hello"}]
    return {"model": model, "max_tokens": 400, "messages": messages, "stream": stream}


async def seen(gateway: Gateway, request: str) -> Record:
    """What the provider noted of a request, once it has ended."""

    async def ended() -> bool:
        return bool(gateway.simulator.served(request))

    assert await until(ended), gateway.simulator.records(request)
    return gateway.simulator.served(request)[0]


async def request_of(gateway: Gateway) -> str:
    """The id of the request that the provider took last, as soon as there is a new one."""
    before = len(gateway.simulator.records())
    async with asyncio.timeout(10):
        while len(found := gateway.simulator.records()) <= before:  # noqa: ASYNC110 - the journal is a file
            await asyncio.sleep(0.02)
    assert found[-1].request is not None
    return found[-1].request


COMMENT = ": keep-alive\n\n"
PING = 'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize("cue", ["first=4 words=3", "gap=2.5 words=3"], ids=["before the first word", "in the middle"])
@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize("model", ["deepseek-chat", "claude-sonnet-4-20250514"])
async def test_s_ping_interval_a_silent_stream_shows_that_it_lives(
    gateway: Gateway, protocol: str, model: str, cue: str
) -> None:
    """Signs of life stand between events: what is left without them is the whole answer. Before the first word another
    provider may still answer, so they are comments then."""
    customer = await gateway.customer()
    body = body_of(model, cue, stream=True)
    async with gateway.session.post(gateway.url + PATHS[protocol], json=body, headers=customer.bearer) as response:
        assert response.status == 200
        text = (await response.read()).decode()
    pings = "gap" in cue and protocol == "anthropic_messages"
    assert text.count(PING if pings else COMMENT) >= 2
    frames = text.replace(PING, "").replace(COMMENT, "").removesuffix("\n\n").split("\n\n")
    assert all(frame.startswith(("data: ", "event: ")) for frame in frames)
    assert ("message_stop" in frames[-1]) if protocol == "anthropic_messages" else (frames[-1] == "data: [DONE]")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("protocol", PATHS)
async def test_u_disconnect_a_provider_that_can_be_stopped_is(gateway: Gateway, protocol: str, *, stream: bool) -> None:
    """Also while it is silent: nobody writes to a caller then, and so nobody is told that there is none."""
    customer = await gateway.customer()
    request = asyncio.ensure_future(request_of(gateway))
    await asyncio.sleep(0)
    body = body_of(CANCELS, "words=5 first=30" if stream else "delay=30", stream=stream)
    with pytest.raises(TimeoutError):
        await _call_and_leave(gateway, PATHS[protocol], body, customer.bearer)
    found = await seen(gateway, await request)
    assert found.ended == "client_gone"
    assert await gateway.verify() is None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("protocol", PATHS)
async def test_u_disconnect_a_provider_that_goes_on_is_read_to_its_bill(
    gateway: Gateway, protocol: str, *, stream: bool
) -> None:
    customer = await gateway.customer()
    request = asyncio.ensure_future(request_of(gateway))
    await asyncio.sleep(0)
    body = body_of(DRAINS, "words=20 gap=0.2", stream=stream)
    with pytest.raises(TimeoutError):
        await _call_and_leave(gateway, PATHS[protocol], body, customer.bearer)
    found = await seen(gateway, await request)
    assert (found.ended, found.reported) == ("done", True)
    assert found.usage is not None
    owed = pricing.cost(gateway.price_of(DRAINS), found.usage, found.at)
    expected = 10 * pricing.NANO - owed
    assert await customer.settled_balance(expected) == expected
    assert await gateway.verify() is None


async def test_u_disconnect_what_was_delivered_is_charged_once(gateway: Gateway) -> None:
    """The provider stopped and told no figures: the words that arrived are paid, and marked as an estimate."""
    customer = await gateway.customer()
    body = body_of(CANCELS, "words=200 gap=0.05", stream=True)
    async with gateway.session.post(gateway.url + PATHS["anthropic_messages"], json=body, headers=customer.bearer) as r:
        request = r.headers["request-id"]
        await r.content.readuntil(b"text_delta")
        await r.content.read(200)
        r.close()

    async def charged() -> bool:
        return await customer.balance() < 10 * pricing.NANO

    assert await until(charged)
    async with gateway.session.get(
        f"{gateway.url}/v1/generation", params={"id": request}, headers=customer.bearer
    ) as explained:
        found = await explained.json()
    assert found["status"] == "estimated"
    assert (await seen(gateway, request)).ended == "client_gone"
    assert await gateway.verify() is None


async def _call_and_leave(gateway: Gateway, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Raises TimeoutError when it has left."""
    patience = aiohttp.ClientTimeout(total=1.5)
    async with (
        aiohttp.ClientSession() as session,
        session.post(gateway.url + path, json=body, headers=headers, timeout=patience) as response,
    ):
        await response.read()
