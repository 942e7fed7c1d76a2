"""Providers that misbehave in ways that the simulator has no cue for: one clear end each, recorded and charged once."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.odd_provider import Handler, provider
from tests.fixtures.stores import Stores

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}


class Script:
    """What the provider does next, and how often it was called."""

    def __init__(self) -> None:
        self.act: Handler | None = None
        self.calls = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert self.act is not None
        self.calls += 1
        await request.read()
        return await self.act(request)


def chunk(content: str = "", **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "1", "model": "m", "choices": [choice], **fields}).encode() + b"\n\n"


def finish() -> Iterator[bytes]:
    yield b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    yield b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"


async def begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    return response


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path, script: Script) -> AsyncIterator[Gateway]:
    async with provider(script.answer) as url, gateway_running(stores, tmp_path, simulator_url=url) as running:
        yield running


async def ask(gateway: Gateway, customer: Customer, *, stream: bool) -> tuple[int, str, str]:
    """Status, text and request id."""
    body = {"model": "qwen-turbo", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "x"}]}
    async with gateway.session.post(f"{gateway.url}{CHAT}", json=body, headers=customer.bearer) as response:
        return response.status, await response.text(), response.headers["x-request-id"]


async def explained(gateway: Gateway, customer: Customer, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def there() -> bool:
        async with gateway.session.get(
            f"{gateway.url}/v1/generation", params={"id": request_id}, headers=customer.bearer
        ) as response:
            found.update(await response.json())
            return response.status == 200

    assert await until(there)
    return found


async def test_an_event_beyond_all_measure_ends_the_stream_and_is_recorded(
    gateway: Gateway, customer: Customer, script: Script
) -> None:
    async def act(request: web.Request) -> web.StreamResponse:
        response = await begin(request)
        await response.write(chunk("hello world"))
        for _ in range(9):
            await response.write(b"data: " + b"x" * (1 << 20))
        return response

    script.act = act
    status, text, request_id = await ask(gateway, customer, stream=True)
    assert status == 200
    assert "[DONE]" not in text
    assert "error" in json.loads(text.strip().split("data: ")[-1])
    assert (await explained(gateway, customer, request_id))["status"] == "estimated"
    assert gateway.faults() == []


async def test_a_whole_answer_stays_whole_when_the_connection_is_reset_after_it(
    gateway: Gateway, customer: Customer, script: Script
) -> None:
    async def act(request: web.Request) -> web.StreamResponse:
        response = await begin(request)
        for data in (chunk("hello"), *finish()):
            await response.write(data)
        await asyncio.sleep(0.2)
        assert request.transport is not None
        request.transport.abort()
        return response

    script.act = act
    _, text, request_id = await ask(gateway, customer, stream=True)
    assert text.endswith("data: [DONE]\n\n")
    found = await explained(gateway, customer, request_id)
    assert (found["status"], found["usage"]["output"]) == ("usage", 20)


async def test_a_provider_that_hangs_up_on_a_fresh_connection_is_not_called_twice(
    gateway: Gateway, customer: Customer, script: Script
) -> None:
    async def act(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    script.act = act
    status, _, _ = await ask(gateway, customer, stream=False)
    assert (status, script.calls) == (502, 1)


async def test_a_kept_connection_that_had_closed_meanwhile_is_tried_again(
    gateway: Gateway, customer: Customer, script: Script
) -> None:
    whole = {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}], "usage": USAGE}

    async def act(request: web.Request) -> web.StreamResponse:
        if script.calls == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(whole)

    script.act = act
    assert (await ask(gateway, customer, stream=False))[0] == 200
    assert (await ask(gateway, customer, stream=False))[0] == 200
    assert script.calls == 3


async def test_streams_of_one_provider_share_a_connection(gateway: Gateway, customer: Customer, script: Script) -> None:
    peers = set()

    async def act(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        response = await begin(request)
        for data in (chunk("hello"), *finish(), b"data: [DONE]\n\n"):
            await response.write(data)
        return response

    script.act = act
    for _ in range(5):
        assert (await ask(gateway, customer, stream=True))[1].endswith("data: [DONE]\n\n")
    assert len(peers) == 1


async def test_a_router_that_must_stop_charges_what_it_had_delivered(
    stores: Stores, tmp_path: Path, script: Script
) -> None:
    async def act(request: web.Request) -> web.StreamResponse:
        response = await begin(request)
        await response.write(chunk("a long answer that never ends " * 10))
        await asyncio.sleep(60)
        return response

    script.act = act
    async with (
        provider(script.answer) as url,
        gateway_running(stores, tmp_path, simulator_url=url, drain_seconds=0.4) as gateway,
    ):
        customer = await gateway.customer()
        asking = asyncio.create_task(ask(gateway, customer, stream=True))
        assert await until(lambda: _called(script))
        await asyncio.sleep(0.2)
        await gateway.stop("router")
        _, text, _ = await asking
        assert "restarting" in text
        assert "[DONE]" not in text
        await gateway.start("router")

        async def charged() -> bool:
            return await customer.balance() < 10_000_000_000

        assert await until(charged), "the estimate was recorded before the router went"
        assert await gateway.verify() is None


async def _called(script: Script) -> bool:
    return script.calls > 0
