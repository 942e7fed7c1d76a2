"""Redis connections. Every command has an end, and a near one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

Client: TypeAlias = Redis
Script: TypeAlias = AsyncScript
Failed: Final = (RedisError, OSError, TimeoutError)

WAIT_SECONDS: Final = 2.0  # for a connection of the pool, which is only ever busy for a moment


@asynccontextmanager
async def client(url: str, *, seconds: float, size: int = 32, retries: int = 1) -> AsyncIterator[Client]:
    """A client. ``retries`` is 0 where sending a command twice would not be the same as sending it once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        timeout=WAIT_SECONDS,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), retries),
        decode_responses=True,
    )
    opened = Redis(connection_pool=pool)
    try:
        yield opened
    finally:
        await opened.aclose()
        await pool.disconnect()
