"""Charges and what a batch of them changes. The caller opens the transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from libs.contracts.account import Spend
from libs.contracts.usage import UsageEvent
from libs.pricing import Price
from libs.runtime.postgres import Connection
from services.billing.ledger import Postings, Split, Transfer

BadData: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError)

Leased = tuple[int, int]
"""An org and the epoch of one of its leases."""


class Known(NamedTuple):
    """A charge that was booked before: what its event said, and what the customer paid."""

    digest: bytes
    paid: int


class Odd(NamedTuple):
    """Something that somebody has to look at."""

    kind: str
    request_id: UUID
    detail: Mapping[str, object]


class LeasesGone(Exception):
    """These leases take no charges: they are closed, or were never made."""

    def __init__(self, leases: set[Leased]) -> None:
        super().__init__(f"{len(leases)} leases take no charges")
        self.leases = leases


CHARGE_COLUMNS: Final = {
    "request_id": "uuid",
    "org_id": "bigint",
    "key_id": "bigint",
    "outcome": "text",
    "reason": "text",
    "model": "text",
    "offer": "text",
    "provider": "text",
    "provider_model": "text",
    "provider_request_id": "text",
    "price_id": "text",
    "tok_input": "bigint",
    "tok_cache_read": "bigint",
    "tok_cache_write": "bigint",
    "tok_cache_write_1h": "bigint",
    "tok_output": "bigint",
    "tok_reasoning": "bigint",
    "cost": "bigint",
    "cash": "bigint",
    "plan": "bigint",
    "absorbed": "bigint",
    "held": "bigint",
    "lease_epoch": "int",
    "stream": "bool",
    "client_gone": "bool",
    "accepted_at": "bigint",
    "started_at": "bigint",
    "first_token_at": "bigint",
    "ended_at": "bigint",
    "attempts": "jsonb",
    "batch_id": "bigint",
    "ev_hash": "bytea",
    "producer": "text",
}
_names = ", ".join(CHARGE_COLUMNS)
_typed = ", ".join(f"{name} {kind}" for name, kind in CHARGE_COLUMNS.items())
INCOMING: Final = "incoming"  # a table of one connection's own
MAKE_INCOMING: Final = f"CREATE TEMPORARY TABLE IF NOT EXISTS {INCOMING} ({_typed}) ON COMMIT DELETE ROWS"
INSERT_CHARGES: Final = f"""
INSERT INTO charge ({_names}) SELECT {_names} FROM {INCOMING}
ORDER BY request_id ON CONFLICT (request_id) DO NOTHING RETURNING request_id
"""  # noqa: S608 - built from the constants above


async def next_batch(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT nextval('batch_id')"))


async def lease_states(connection: Connection, leases: Collection[Leased]) -> dict[Leased, str]:
    """The states of those that were ever made."""
    rows = await connection.fetch(
        """
        SELECT l.org_id, l.epoch, l.state FROM lease l
        JOIN unnest($1::bigint[], $2::int[]) AS wanted (org_id, epoch) USING (org_id, epoch)
        """,
        [org for org, _ in leases],
        [epoch for _, epoch in leases],
    )
    return {(row["org_id"], row["epoch"]): row["state"] for row in rows}


async def keep_prices(connection: Connection, prices: Mapping[str, Price]) -> None:
    """Writes price versions that were not seen before; one that was never changes."""
    if not prices:
        return
    await connection.executemany(
        "INSERT INTO price_version (price_id, content) VALUES ($1, $2) ON CONFLICT (price_id) DO NOTHING",
        [(price_id, msgspec.json.encode(price).decode()) for price_id, price in sorted(prices.items())],
    )


def charge_row(event: UsageEvent, split: Split, batch: int, digest: bytes, producer: str) -> tuple[Any, ...]:
    """The event as a row, in the order of CHARGE_COLUMNS."""
    used = event.usage
    return (
        event.request_id,
        event.org,
        event.key,
        event.outcome,
        event.reason,
        event.model,
        event.offer,
        event.provider,
        event.provider_model,
        event.provider_request_id,
        event.price_id,
        used.input,
        used.cache_read,
        used.cache_write,
        used.cache_write_1h,
        used.output,
        used.reasoning,
        event.cost,
        split.cash,
        split.plan,
        split.absorbed,
        event.hold.amount,
        event.hold.epoch,
        event.stream,
        event.client_gone,
        event.accepted_at,
        event.started_at,
        event.first_token_at,
        event.ended_at,
        msgspec.json.encode(event.attempts).decode(),
        batch,
        digest,
        producer,
    )


async def insert_charges(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """The ids that were new. Rows are copied to a table beside first: encoded as arrays, they cost twice as much."""
    await connection.execute(MAKE_INCOMING)
    await connection.copy_records_to_table(INCOMING, records=rows, columns=list(CHARGE_COLUMNS))
    return {row[0] for row in await connection.fetch(INSERT_CHARGES)}


async def known(connection: Connection, request_ids: Sequence[UUID]) -> dict[UUID, Known]:
    if not request_ids:
        return {}
    rows = await connection.fetch(
        "SELECT request_id, ev_hash, cash + plan FROM charge WHERE request_id = ANY($1)", request_ids
    )
    return {request_id: Known(digest, paid) for request_id, digest, paid in rows}


async def note_anomalies(connection: Connection, found: Sequence[Odd]) -> None:
    if not found:
        return
    await connection.execute(
        "INSERT INTO anomaly (kind, request_id, detail) SELECT * FROM unnest($1::text[], $2::uuid[], $3::jsonb[])",
        [odd.kind for odd in found],
        [odd.request_id for odd in found],
        [msgspec.json.encode(odd.detail).decode() for odd in found],
    )


async def apply(connection: Connection, postings: Postings) -> None:
    """Lines, balances, leases and keys' spending of one batch. Balances are locked in the order of their ids, as
    everywhere. Raises LeasesGone: then the transaction must not be committed."""
    if not postings.transfers:
        return
    debits, credits_ = postings.debits(), postings.credits()
    touched = sorted({*debits, *credits_})
    await connection.execute(
        "SELECT 1 FROM balance WHERE account_id = ANY($1) ORDER BY account_id FOR NO KEY UPDATE", touched
    )
    await _consume(connection, postings)  # first: what a closed lease gave back cannot go down once more
    await connection.execute(
        """
        UPDATE balance b SET debits = b.debits + d.debit, credits = b.credits + d.credit, leased = b.leased - d.released
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS d (id, debit, credit, released)
        WHERE b.account_id = d.id
        """,
        touched,
        [debits.get(account, 0) for account in touched],
        [credits_.get(account, 0) for account in touched],
        [postings.released.get(account, 0) for account in touched],
    )
    await _spend(connection, postings)
    await _write(connection, postings.transfers)


async def _consume(connection: Connection, postings: Postings) -> None:
    rows = await connection.fetch(
        """
        UPDATE lease l SET consumed = l.consumed + d.cash, plan_consumed = l.plan_consumed + d.plan
        FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[]) AS d (org, epoch, cash, plan)
        WHERE l.org_id = d.org AND l.epoch = d.epoch AND l.state <> 'closed' RETURNING l.org_id, l.epoch
        """,
        [org for org, _ in postings.consumed],
        [epoch for _, epoch in postings.consumed],
        [taken.cash for taken in postings.consumed.values()],
        [taken.plan for taken in postings.consumed.values()],
    )
    if gone := set(postings.consumed) - {(org, epoch) for org, epoch in rows}:
        raise LeasesGone(gone)


async def _spend(connection: Connection, postings: Postings) -> None:
    """In the order of the rows, and under the locks of their leases: no batch waits here for another."""
    await connection.execute(
        """
        INSERT INTO key_spend (org_id, key_id, epoch, nano)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[])
        ON CONFLICT (org_id, key_id, epoch) DO UPDATE SET nano = key_spend.nano + excluded.nano
        """,
        [org for org, _, _ in postings.spent],
        [key for _, key, _ in postings.spent],
        [epoch for _, _, epoch in postings.spent],
        list(postings.spent.values()),
    )


async def _write(connection: Connection, transfers: Sequence[Transfer]) -> None:
    await connection.execute(
        """
        INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount)
        SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        """,
        [line.idem_key for line in transfers],
        [line.kind for line in transfers],
        [line.debit for line in transfers],
        [line.credit for line in transfers],
        [line.amount for line in transfers],
    )


async def spend(connection: Connection, key: int, bounds: tuple[UUID, UUID, UUID]) -> Spend:
    """What the key was charged since each bound: today's, this week's, this month's first id."""
    row = await connection.fetchrow(
        """
        SELECT coalesce(sum(cash + plan) FILTER (WHERE request_id >= $2), 0)::bigint,
            coalesce(sum(cash + plan) FILTER (WHERE request_id >= $3), 0)::bigint,
            coalesce(sum(cash + plan) FILTER (WHERE request_id >= $4), 0)::bigint
        FROM charge WHERE key_id = $1 AND request_id >= least($2, $3, $4)
        """,
        key,
        *bounds,
    )
    return Spend(*row) if row else Spend(0, 0, 0)


async def find_charge(connection: Connection, org: int, request_id: UUID) -> asyncpg.Record | None:
    return await connection.fetchrow("SELECT * FROM charge WHERE request_id = $1 AND org_id = $2", request_id, org)
