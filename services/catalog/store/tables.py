"""What all of the catalog's statements share: how a change is made, and how it is announced."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from libs.runtime import postgres
from libs.runtime.postgres import Connection

FAILED: Final = (*postgres.TRANSIENT, asyncpg.PostgresError)
CHANNEL: Final = "catalog_published"
LOCK: Final = 0x7368656C66  # "shelf"


@asynccontextmanager
async def changing(connection: Connection) -> AsyncIterator[None]:
    """A transaction in which nobody else changes the shelf, or what an operator laid over it."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        yield


async def announce(connection: Connection, what: str) -> None:
    """Wakes every replica once the transaction is done."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, what)
