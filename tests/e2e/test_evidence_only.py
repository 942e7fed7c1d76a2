"""The edge gives a hold back only where the router cannot have the request. Everything else waits for evidence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from libs.contracts.account import lease_keys
from libs.runtime import redis
from tests.fixtures.gateway import Gateway, gateway_running
from tests.fixtures.stores import Stores

CHAT: Final = "/v1/chat/completions"
BODY: Final = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
LONGER_THAN_A_RETRY: Final = 1.5
REFUSAL: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def router_that(answers: bytes) -> AsyncIterator[str]:
    """A router that reads the beginning of a request, says this and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def gateway_with(stores: Stores, folder: Path, router_url: str) -> AsyncIterator[Gateway]:
    async with gateway_running(stores, folder, router_url=router_url) as running:
        yield running


async def holds_of(gateway: Gateway, org: int) -> list[str]:
    async with redis.client(gateway.stores.redis_url, seconds=5) as client:
        return [str(hold) for hold in await client.hvals(lease_keys(org).holds)]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [(b"", 503), (b"HTTP/1.1 200 OK\r\nx-tokenoutput-answered: 1\r\ncontent-length: 100\r\n\r\n{", 502)],
    ids=["no answer", "half an answer"],
)
async def test_a_request_that_the_router_may_have_keeps_its_hold(
    stores: Stores, tmp_path: Path, answers: bytes, expected: int
) -> None:
    async with router_that(answers) as url, gateway_with(stores, tmp_path, url) as gateway:
        customer = await gateway.customer()
        status, _, _ = await gateway.post(CHAT, BODY, customer.bearer)
        assert status == expected
        await asyncio.sleep(LONGER_THAN_A_RETRY)
        await gateway.stop("edge")
        (hold,) = await holds_of(gateway, customer.org)
        cash, plan, epoch, authorized_at, key = map(int, hold.split(":"))
        assert cash > 0
        assert (plan, epoch, key) == (0, 1, customer.key_id)
        assert authorized_at > 1_700_000_000_000


async def test_a_request_that_the_router_refused_loses_its_hold(stores: Stores, tmp_path: Path) -> None:
    async with router_that(REFUSAL) as url, gateway_with(stores, tmp_path, url) as gateway:
        customer = await gateway.customer()
        status, body, _ = await gateway.post(CHAT, BODY, customer.bearer)
        assert (status, body["error"]["code"]) == (503, "unavailable")
        assert await holds_of(gateway, customer.org) == []


async def test_a_caller_that_leaves_takes_nothing_with_it(stores: Stores, tmp_path: Path) -> None:
    """Whether the router has the request is not known to the edge, so it leaves the hold to the router."""
    waits = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        waits.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with gateway_with(stores, tmp_path, url) as gateway:
            customer = await gateway.customer()
            leaving = asyncio.create_task(gateway.post(CHAT, BODY, customer.bearer))
            await asyncio.wait_for(waits.wait(), 20)
            leaving.cancel()
            await asyncio.wait({leaving})
            await gateway.stop("edge")
            assert len(await holds_of(gateway, customer.org)) == 1
