"""Redis connections. Every command has an end, and a near one."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, RedisError, ResponseError

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


async def run_many(
    client: Client, script: Script, keys: Sequence[Sequence[str]], args: Sequence[Sequence[Any]]
) -> list[Any]:
    """Runs a script once for each of the keys and arguments, in one round trip; what went wrong with one of them is its
    answer. Raises one of ``Failed`` when nobody knows what was run.

    The client's own pipelines take eight times as much processor time for this.
    """
    calls = [
        hiredis.pack_command(("EVALSHA", script.sha, len(some), *some, *map(str, more)))  # type: ignore[arg-type] # its stubs know no str
        for some, more in zip(keys, args, strict=True)
    ]
    answers = await _round_trip(client, calls)
    missed = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if missed:
        await client.script_load(script.script)
        for number, answer in zip(missed, await _round_trip(client, [calls[number] for number in missed]), strict=True):
            answers[number] = answer
    return answers


async def _round_trip(client: Client, calls: Sequence[bytes]) -> list[Any]:
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call] # its decorator has no types
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await connection.send_packed_command(b"".join(calls))
            return [await _answer(connection) for _ in calls]
    except BaseException:  # answers may still be on their way, which nobody must take for those of the next command
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
