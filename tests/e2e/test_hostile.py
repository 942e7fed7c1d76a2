"""Large, broken and rude callers: each gets a clear answer, and none makes a service log a fault."""

import asyncio
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from libs.runtime.identity import Identity
from tests.fixtures.gateway import Customer, Gateway, until

CHAT = "/v1/chat/completions"
MEGABYTE = 1 << 20


def large(megabytes: int) -> bytes:
    content = "a" * (megabytes * MEGABYTE)
    return json.dumps(
        {"model": "qwen-long", "max_tokens": 10, "messages": [{"role": "user", "content": content}]}
    ).encode()


async def test_ten_megabytes_pass(gateway: Gateway) -> None:
    rich = await gateway.customer("100")
    status, body, _ = await gateway.post(CHAT, large(10), rich.bearer)
    assert status == 200, body


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_hundred_megabytes_are_a_413(gateway: Gateway, customer: Customer, chunked: bool) -> None:
    piece = b"a" * MEGABYTE

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield piece

    options = {"data": pieces()} if chunked else {"data": io.BytesIO(b"a" * (100 * MEGABYTE))}
    async with gateway.session.post(f"{gateway.url}{CHAT}", headers=customer.bearer, **options) as response:
        body = await response.json()
    assert response.status == 413
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["code"] == "request_too_large"


RAW = {
    "garbage": b"\x00\x01\x02 nonsense\r\n\r\n",
    "bare line feed": b"GET /v1/models HTTP/1.1\nHost: x\n\n",
    "two lengths": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nx-long: " + b"a" * 20_000 + b"\r\n\r\n",
    "null in header": b"GET / HTTP/1.1\r\nHost: x\r\nx-null: a\x00b\r\n\r\n",
    "half a head": b"POST /v1/messages HTTP/1.1\r\nHos",
    "half a body": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    "false gzip": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "unknown encoding": b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Encoding: zip\r\n"
    b"Content-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("name", RAW)
async def test_no_bytes_make_a_service_log_a_fault(
    gateway: Gateway, customer: Customer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    raw = RAW[name].replace(b"Host: x", b"Host: x\r\nx-api-key: " + customer.key.encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports["edge"])
    writer.write(raw)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer == b"" or answer.split(b" ")[1][:1] in b"24", answer[:200]
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    assert gateway.faults() == []


async def test_callers_that_hang_up_are_charged_what_the_provider_bills(gateway: Gateway) -> None:
    customer = await gateway.customer()
    body = {
        "model": "qwen-plus",
        "stream": True,
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "[sim: words=60 gap=0.01]"}],
    }
    async with gateway.session.post(f"{gateway.url}{CHAT}", json=body, headers=customer.bearer) as response:
        await response.content.readany()
        response.close()
    ended = await gateway.simulator.until(lambda records: len(records) > 0)
    assert ended[-1].ended == "done", "qwen bills on, so the gateway reads on"

    async def charged() -> bool:
        return await customer.balance() < 10_000_000_000

    assert await until(charged)
    assert await gateway.verify() is None
    assert gateway.faults() == []


async def test_a_stream_that_breaks_ends_with_an_error_and_never_cleanly(gateway: Gateway, customer: Customer) -> None:
    body = {
        "model": "deepseek-chat",
        "stream": True,
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "[sim: words=30 end=10]"}],
    }
    async with gateway.session.post(f"{gateway.url}{CHAT}", json=body, headers=customer.bearer) as response:
        text = (await response.read()).decode()
    assert response.status == 200
    assert "[DONE]" not in text
    assert "error" in json.loads(text.strip().split("data: ")[-1])
    assert gateway.faults() == []


async def test_a_broken_stream_with_an_open_tool_block_is_cut(gateway: Gateway, customer: Customer) -> None:
    body = {
        "model": "claude-sonnet-4-20250514",
        "stream": True,
        "max_tokens": 400,
        "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": """[sim: tools=get_weather cut=6 args='{"city":"Oslo","days":"three"}']"""}
        ],
    }
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.session.post(
            f"{gateway.url}/v1/messages", json=body, headers={**customer.bearer, "anthropic-version": "2023-06-01"}
        ) as response:
            await response.read()
    assert gateway.faults() == []


async def test_internal_addresses_answer_nobody_without_a_service_token(gateway: Gateway) -> None:
    for role in ("router", "billing", "catalog"):
        for headers in ({}, {"authorization": "Bearer made.up.token"}):
            url = f"http://127.0.0.1:{gateway.ports[role]}/internal/v1/anything"
            async with gateway.session.get(url, headers=headers) as response:
                assert response.status == 401


async def test_a_dispatch_that_no_edge_sealed_is_refused(gateway: Gateway) -> None:
    secret = gateway.settings("edge").internal_secret.get_secret_value().encode()
    headers = {**Identity("edge", secret).authorization("router"), "x-tokenoutput-dispatch": "bm9wZQ=="}
    url = f"http://127.0.0.1:{gateway.ports['router']}/internal/v1/dispatch"
    async with gateway.session.post(url, headers=headers, data=b"{}") as response:
        assert response.status == 403
