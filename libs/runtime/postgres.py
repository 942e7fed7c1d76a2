"""The PostgreSQL pool: every statement and every wait for a lock has an end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg
import stamina

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

STATEMENT_SECONDS: Final = 10
LOCK_SECONDS: Final = 4
START_SECONDS: Final = 60

AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection raises whose server died in the middle of a statement
    asyncpg.PostgresConnectionError,
)
TRANSIENT: Final = (
    *AWAY,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)


@asynccontextmanager
async def pool(url: str, schema: str, size: int) -> AsyncIterator[Pool]:
    """A pool whose connections see one schema. Waits up to a minute for a server that is still starting."""
    settings = {
        "search_path": schema,
        "application_name": f"tokenoutput-{schema}",
        "statement_timeout": str(STATEMENT_SECONDS * 1000),
        "lock_timeout": str(LOCK_SECONDS * 1000),
        "idle_in_transaction_session_timeout": "60000",
    }
    opened = await _open(url, size, settings)
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def connected(url: str, schema: str) -> AsyncIterator[Connection]:
    """One connection for a command that may take its time."""
    connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    try:
        yield connection
    finally:
        await connection.close()


@stamina.retry(on=TRANSIENT, attempts=None, timeout=START_SECONDS, wait_max=2.0)
async def _open(url: str, size: int, settings: dict[str, str]) -> Pool:
    return await asyncpg.create_pool(
        url, min_size=1, max_size=size, command_timeout=STATEMENT_SECONDS + 2, server_settings=settings
    )
