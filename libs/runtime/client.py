"""The HTTP client of a service: one session, no cookies, no limit but the caller's own."""

import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

LARGE: Final = 1 << 18
Failed: Final = (aiohttp.ClientError, OSError, TimeoutError)


def payload(body: bytes) -> bytes | io.BytesIO:
    """A body to send. A large one goes in pieces, so that other requests get their turn between them."""
    return body if len(body) < LARGE else io.BytesIO(body)


@asynccontextmanager
async def session(
    *, connect_seconds: float = 3, total_seconds: float | None = 10, traces: Sequence[aiohttp.TraceConfig] = ()
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for neighbours or providers. Bodies are handed on as they came, compressed or not."""
    opened = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds),
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=("user-agent",),
        trace_configs=list(traces),
    )
    try:
        yield opened
    finally:
        await opened.close()
