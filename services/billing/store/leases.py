"""Leases: credit handed to one Redis. The caller opens the transaction and holds the org's lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from libs.runtime.postgres import Connection

LOCK_CLASS: Final = 0x6C656173  # "leas"


class NoSuchLease(LookupError):
    """Redis knows a lease that the ledger does not: the two are not of one gateway."""


@asynccontextmanager
async def locked(connection: Connection, org: int) -> AsyncIterator[None]:
    """One at a time per org, across transactions: a lease is made in PostgreSQL and in Redis under one lock."""
    await connection.execute("SELECT pg_advisory_lock($1, hashint8($2))", LOCK_CLASS, org)
    try:
        yield
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1, hashint8($2))", LOCK_CLASS, org)


async def granted(connection: Connection, org: int, epoch: int) -> int:
    return int(
        await connection.fetchval(
            "SELECT coalesce((SELECT granted FROM lease WHERE org_id = $1 AND epoch = $2 AND state = 'open'), 0)",
            org,
            epoch,
        )
    )


async def grant(connection: Connection, org: int, epoch: int, amount: int) -> None:
    await _exactly_one(
        connection,
        "UPDATE lease SET granted = granted + $3 WHERE org_id = $1 AND epoch = $2 AND state = 'open'",
        org,
        epoch,
        amount,
    )


async def close(connection: Connection, org: int, epoch: int) -> None:
    """For a lease that was never spent from."""
    await _exactly_one(
        connection,
        "UPDATE lease SET state = 'closed' WHERE org_id = $1 AND epoch = $2 AND consumed = 0 AND state <> 'closed'",
        org,
        epoch,
    )


async def _exactly_one(connection: Connection, statement: str, *arguments: int) -> None:
    if await connection.execute(statement, *arguments) != "UPDATE 1":
        raise NoSuchLease(f"org {arguments[0]} has no such lease of epoch {arguments[1]}")


async def doubt(connection: Connection, org: int, shard: str) -> None:
    """The open lease's Redis is lost: its credit may have been spent and is given to nobody until that is known."""
    await connection.execute(
        "UPDATE lease SET state = 'doubt', doubt_at = now() WHERE org_id = $1 AND shard = $2 AND state = 'open'",
        org,
        shard,
    )


async def create(connection: Connection, org: int, shard: str, gen: str, amount: int) -> int:
    """A lease of an epoch that never was before."""
    return int(
        await connection.fetchval(
            """
            INSERT INTO lease (org_id, epoch, shard, gen, granted)
            SELECT $1, coalesce(max(epoch), 0) + 1, $2, $3, $4 FROM lease WHERE org_id = $1 RETURNING epoch
            """,
            org,
            shard,
            gen,
            amount,
        )
    )
