"""Leases: credit handed to one Redis. The caller opens the transaction and holds the org's lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from libs.runtime.postgres import Connection
from services.billing.portion import NOTHING, Amounts

LOCK_CLASS: Final = 0x6C656173  # "leas"


class SpentMore(ValueError):
    """The ledger has charged a lease with more than Redis knows to be spent or held in it."""


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


async def open_epoch(connection: Connection, org: int, shard: str) -> int | None:
    epoch: int | None = await connection.fetchval(
        "SELECT epoch FROM lease WHERE org_id = $1 AND shard = $2 AND state = 'open'", org, shard
    )
    return epoch


async def granted(connection: Connection, org: int, epoch: int) -> Amounts:
    row = await connection.fetchrow(
        "SELECT granted, plan_granted FROM lease WHERE org_id = $1 AND epoch = $2 AND state = 'open'", org, epoch
    )
    return Amounts(*row) if row else NOTHING


async def grant(connection: Connection, org: int, epoch: int, cash: int, plan: int = 0) -> None:
    await _exactly_one(
        connection,
        """
        UPDATE lease SET granted = granted + $3, plan_granted = plan_granted + $4
        WHERE org_id = $1 AND epoch = $2 AND state = 'open'
        """,
        org,
        epoch,
        cash,
        plan,
    )


async def lower(connection: Connection, org: int, epoch: int, kept: Amounts) -> Amounts:
    """Grants an open lease no more than ``kept``; what was cut off it. Raises SpentMore: it stays as it was then."""
    row = await connection.fetchrow(
        "SELECT consumed, plan_consumed FROM lease WHERE org_id = $1 AND epoch = $2 FOR NO KEY UPDATE", org, epoch
    )
    if row and kept.most(Amounts(*row)) != kept:
        raise SpentMore(f"org {org} epoch {epoch}: charged {tuple(row)}, and Redis knows of {tuple(kept)}")
    before = await granted(connection, org, epoch)
    await grant(connection, org, epoch, kept.cash - before.cash, kept.plan - before.plan)
    return before.minus(kept)


async def close(connection: Connection, org: int, epoch: int) -> None:
    """For a lease that was never spent from."""
    await _exactly_one(
        connection,
        """
        UPDATE lease SET state = 'closed', closed_at = now()
        WHERE org_id = $1 AND epoch = $2 AND consumed = 0 AND plan_consumed = 0 AND state <> 'closed'
        """,
        org,
        epoch,
    )


async def _exactly_one(connection: Connection, statement: str, *arguments: int) -> None:
    if await connection.execute(statement, *arguments) != "UPDATE 1":
        raise NoSuchLease(f"org {arguments[0]} has no such lease of epoch {arguments[1]}")


async def doubt(connection: Connection, org: int, shard: str, seen_at: int) -> None:
    """The open lease's Redis is lost: its credit may have been spent and is given to nobody until that is known.

    ``seen_at``: Unix milliseconds of that Redis just now. Nothing was held in the lease after the later of its clock
    and ours, or the latest that ours ever wrote down of routers, should both have been set back.
    """
    await connection.execute(
        """
        UPDATE lease SET state = 'doubt',
            doubt_at = greatest(clock_timestamp(), to_timestamp($3::float8 / 1000), (SELECT max(heard_at) FROM router))
        WHERE org_id = $1 AND shard = $2 AND state = 'open'
        """,
        org,
        shard,
        float(seen_at),
    )


async def create(  # noqa: PLR0917 - the columns of a lease
    connection: Connection, org: int, shard: str, gen: str, cash: int, plan: int = 0, *, above: int = 0
) -> int:
    """A lease of an epoch that never was before: above all that are known here, and this one."""
    return int(
        await connection.fetchval(
            """
            INSERT INTO lease (org_id, epoch, shard, gen, granted, plan_granted)
            SELECT $1, greatest(max(epoch), $6::int) + 1, $2, $3, $4, $5 FROM lease WHERE org_id = $1 RETURNING epoch
            """,
            org,
            shard,
            gen,
            cash,
            plan,
            above,
        )
    )


async def spent_before(connection: Connection, org: int, key: int, epoch: int) -> tuple[int, int]:
    """What a key was charged outside this lease, and what any key of the org may still be charged there: one glance,
    because a charge moves from the second to the first."""
    row = await connection.fetchrow(
        """
        SELECT (SELECT coalesce(sum(nano), 0)::bigint
                FROM key_spend WHERE org_id = $1 AND key_id = $2 AND epoch <> $3),
            (SELECT coalesce(sum(granted - consumed + plan_granted - plan_consumed), 0)::bigint
                FROM lease WHERE org_id = $1 AND epoch <> $3 AND state <> 'closed')
        """,
        org,
        key,
        epoch,
    )
    return (int(row[0]), int(row[1])) if row else (0, 0)
