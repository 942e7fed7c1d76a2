"""The proxy does to a connection what it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.fixtures.proxy import DROP_REPLY, HALF_OPEN, PASS, Mode, Proxy, proxied

SAID = b"hello, server"


class Echo:
    """A server that says what it was told, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1000):
                self.heard += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def until_heard(self) -> None:
        async with asyncio.timeout(20):
            while self.heard != SAID:  # noqa: ASYNC110 - a plain server has no event
                await asyncio.sleep(0.01)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    made = Echo()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with proxied(echo.url) as made:
        yield made


async def said_through(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(SAID)
    return reader, writer


async def answer_to(proxy: Proxy) -> bytes:
    """What comes back until the connection ends, or until all of it is there."""
    reader, writer = await said_through(proxy)
    heard = b""
    try:
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                while len(heard) < len(SAID) and (data := await reader.read(1000)):
                    heard += data
    finally:
        writer.close()
    return heard


@pytest.mark.parametrize("mode", [PASS, Mode(delay=0.01), Mode(rate=1000)])
async def test_everything_comes_through(proxy: Proxy, mode: Mode) -> None:
    proxy.treat(mode)
    assert await answer_to(proxy) == SAID


@pytest.mark.parametrize("size", [0, 1, 5])
async def test_a_reply_is_cut_after_so_many_bytes(proxy: Proxy, echo: Echo, size: int) -> None:
    proxy.treat(Mode(reply_bytes=size))
    assert await answer_to(proxy) == SAID[:size]
    assert echo.heard == SAID


async def test_a_dropped_reply_belongs_to_a_request_that_was_heard(proxy: Proxy, echo: Echo) -> None:
    proxy.treat(DROP_REPLY)
    assert await answer_to(proxy) == b""
    assert echo.heard == SAID
    proxy.treat(PASS)
    assert await answer_to(proxy) == SAID


async def test_half_open_is_silence_and_goes_on_where_it_stopped(proxy: Proxy, echo: Echo) -> None:
    reader, writer = await said_through(proxy)
    assert await reader.readexactly(len(SAID)) == SAID
    proxy.treat(HALF_OPEN)
    echo.heard = b""
    writer.write(SAID)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.3)
    assert echo.heard == b""
    proxy.treat(PASS)
    await echo.until_heard()
    assert await reader.readexactly(len(SAID)) == SAID
    writer.close()


async def test_cut_ends_what_is_open_and_lets_new_ones_come(proxy: Proxy) -> None:
    reader, writer = await said_through(proxy)
    await reader.readexactly(len(SAID))
    proxy.cut()
    with suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert await answer_to(proxy) == SAID


async def test_a_half_open_connection_can_be_cut(proxy: Proxy) -> None:
    reader, writer = await said_through(proxy)
    await reader.readexactly(len(SAID))
    proxy.treat(HALF_OPEN)
    proxy.cut()
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_down_refuses_and_up_is_the_same_address(proxy: Proxy) -> None:
    port = proxy.port
    await proxy.down()
    with pytest.raises(OSError, match=r"Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    await proxy.up()
    await proxy.up()
    assert proxy.port == port
    assert await answer_to(proxy) == SAID


async def test_a_server_that_is_away_is_a_broken_connection() -> None:
    async with proxied("tcp://127.0.0.1:1") as proxy:
        assert await answer_to(proxy) == b""


def test_users_and_passwords_stay_in_the_address() -> None:
    proxy = Proxy("redis://:secret@127.0.0.1:6379/3")
    proxy.port = 17
    assert proxy.url == "redis://:secret@127.0.0.1:17/3"
    assert Proxy("http://127.0.0.1:80").url == "http://127.0.0.1:0"
