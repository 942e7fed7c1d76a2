"""What reclaiming reads and writes. Each function here is one transaction of its own; the caller has opened none."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

from libs import ids
from libs.runtime.postgres import Connection
from services.billing.evidence import Held
from services.billing.portion import Amounts
from services.billing.store import accounts, charges
from services.billing.store.charges import CHARGE_COLUMNS, Leased

LOCK_CLASS: Final = 0x7265636C  # "recl"
ORPHANED: Final = "orphaned"
PRODUCER: Final = "billing"
DIGEST: Final = hashlib.sha256(b"a hold that nobody charged").digest()
NOTHING_USED: Final = dict.fromkeys(
    ("tok_input", "tok_cache_read", "tok_cache_write", "tok_cache_write_1h", "tok_output", "tok_reasoning"), 0
)
NOBODY_SERVED: Final = dict.fromkeys(("model", "offer", "provider", "provider_model"), "")


class Doubt(NamedTuple):
    """All credit in doubt, nano-USD, and for how many seconds the oldest of it has been."""

    nano: int
    oldest_seconds: float


@asynccontextmanager
async def alone(connection: Connection, shard: str) -> AsyncIterator[bool]:
    """Whether nobody else reclaims for this shard just now. Two at once would do no harm, only the same work twice."""
    mine = bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", LOCK_CLASS, shard))
    try:
        yield mine
    finally:
        if mine:
            await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", LOCK_CLASS, shard)


async def clock(connection: Connection) -> int:
    """PostgreSQL's, in Unix milliseconds."""
    return int(await connection.fetchval("SELECT (extract(EPOCH FROM clock_timestamp()) * 1000)::bigint"))


async def in_doubt(connection: Connection) -> Doubt:
    row = await connection.fetchrow(
        """
        SELECT coalesce(sum(granted - consumed + plan_granted - plan_consumed), 0)::bigint,
            coalesce(greatest(extract(EPOCH FROM clock_timestamp() - min(doubt_at)), 0), 0)::float8
        FROM lease WHERE state = 'doubt'
        """
    )
    return Doubt(*row) if row else Doubt(0, 0.0)


async def open_leases(connection: Connection, shard: str, after: int, limit: int) -> list[Leased]:
    """In order of the org, from above ``after``: what an index has, however many leases were ever closed."""
    rows = await connection.fetch(
        """
        SELECT org_id, epoch FROM lease WHERE state = 'open' AND shard = $1 AND org_id > $2 ORDER BY org_id LIMIT $3
        """,
        shard,
        after,
        limit,
    )
    return [(row["org_id"], row["epoch"]) for row in rows]


async def undecided(connection: Connection, request_ids: Sequence[UUID]) -> set[UUID]:
    """Those of which an event is parked and waits for somebody."""
    rows = await connection.fetch(
        "SELECT request_id FROM parked WHERE request_id = ANY($1) AND state = 'parked'", request_ids
    )
    return {row["request_id"] for row in rows}


async def void(connection: Connection, holds: Sequence[Held], now_ms: int) -> list[Held]:
    """Writes the end of requests that never came to one, and returns those whose end it is: some may be charged by now,
    and one that the table does not take costs its neighbours nothing."""
    if not holds:
        return []
    try:
        return await _void(connection, holds, now_ms)
    except charges.BadData:
        if len(holds) == 1:
            return []
    half = len(holds) // 2
    return [*await void(connection, holds[:half], now_ms), *await void(connection, holds[half:], now_ms)]


async def _void(connection: Connection, holds: Sequence[Held], now_ms: int) -> list[Held]:
    async with connection.transaction():
        batch = await charges.next_batch(connection)
        rows = [_row(held, batch, now_ms) for held in holds]
        new = await charges.insert_charges(connection, rows)
    return [held for held in holds if held.request_id in new]


def _row(held: Held, batch: int, now_ms: int) -> tuple[Any, ...]:
    """It costs nothing at no price. ``held`` tells what was set aside for it."""
    accepted_at = ids.millisecond_of(held.request_id)
    columns: Mapping[str, object] = {
        **dict.fromkeys(CHARGE_COLUMNS),
        **NOTHING_USED,
        **NOBODY_SERVED,
        "request_id": held.request_id,
        "org_id": held.org,
        "key_id": held.key,
        "outcome": "void",
        "reason": ORPHANED,
        **dict.fromkeys(("cost", "cash", "plan", "absorbed"), 0),
        "held": held.amount,
        "lease_epoch": held.epoch,
        **dict.fromkeys(("stream", "client_gone"), False),
        "accepted_at": accepted_at,
        "started_at": accepted_at,
        "ended_at": now_ms,
        "attempts": "[]",
        "batch_id": batch,
        "ev_hash": DIGEST,
        "producer": PRODUCER,
    }
    return tuple(columns[name] for name in CHARGE_COLUMNS)


async def closable(connection: Connection, shard: str, before_ms: int, limit: int) -> list[Leased]:
    """Leases that were in doubt before that moment and of which no event waits for a decision, the oldest first."""
    rows = await connection.fetch(
        """
        SELECT org_id, epoch FROM lease l
        WHERE state = 'doubt' AND shard = $1 AND doubt_at < to_timestamp($2::float8 / 1000)
            AND NOT EXISTS (SELECT 1 FROM parked p
                WHERE p.state = 'parked' AND p.org_id = l.org_id AND p.lease_epoch = l.epoch)
        ORDER BY doubt_at LIMIT $3
        """,
        shard,
        float(before_ms),
        limit,
    )
    return [(row["org_id"], row["epoch"]) for row in rows]


async def close(connection: Connection, leased: Leased, before_ms: int) -> Amounts | None:
    """What a lease in doubt has not consumed is the org's again. None when it may not be closed, or was before.

    Balances are locked before the lease, as posting a batch does; the conditions are looked at under those locks.
    """
    org, epoch = leased
    async with connection.transaction():
        await accounts.posted(connection, org, lock=True)
        row = await connection.fetchrow(
            """
            UPDATE lease l SET state = 'closed', closed_at = clock_timestamp()
            WHERE org_id = $1 AND epoch = $2 AND state = 'doubt' AND doubt_at < to_timestamp($3::float8 / 1000)
                AND NOT EXISTS (SELECT 1 FROM parked p
                    WHERE p.state = 'parked' AND p.org_id = l.org_id AND p.lease_epoch = l.epoch)
            RETURNING granted - consumed, plan_granted - plan_consumed
            """,
            org,
            epoch,
            float(before_ms),
        )
        if row is None:
            return None
        left = Amounts(*row)
        await accounts.change_leased(connection, org, -left.cash, -left.plan)
    return left
