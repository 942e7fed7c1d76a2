"""Charges and what a batch of them changes. The caller opens the transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from libs.contracts.account import Spend
from libs.contracts.usage import UsageEvent
from libs.pricing import Price
from libs.runtime.postgres import Connection
from services.billing.ledger import Postings, Split

BadData: Final = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError)

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
}
_names = ", ".join(CHARGE_COLUMNS)
_arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(CHARGE_COLUMNS.values(), 1))
INSERT_CHARGES: Final = f"""
INSERT INTO charge ({_names}) SELECT {_names} FROM unnest({_arrays}) AS new ({_names})
ORDER BY request_id ON CONFLICT (request_id) DO NOTHING RETURNING request_id
"""  # noqa: S608 - built from the constants above


async def next_batch(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT nextval('batch_id')"))


async def keep_prices(connection: Connection, prices: Mapping[str, Price]) -> None:
    """Writes price versions that were not seen before; one that was never changes."""
    await connection.executemany(
        "INSERT INTO price_version (price_id, content) VALUES ($1, $2) ON CONFLICT (price_id) DO NOTHING",
        [(price_id, msgspec.json.encode(price).decode()) for price_id, price in sorted(prices.items())],
    )


def charge_row(event: UsageEvent, split: Split, batch: int, digest: bytes) -> tuple[Any, ...]:
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
    )


async def insert_charges(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """The ids that were new."""
    columns = list(zip(*rows, strict=True))
    return {row["request_id"] for row in await connection.fetch(INSERT_CHARGES, *columns)}


async def hashes(connection: Connection, request_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    rows = await connection.fetch("SELECT request_id, ev_hash FROM charge WHERE request_id = ANY($1)", request_ids)
    return {row["request_id"]: row["ev_hash"] for row in rows}


async def note_anomaly(connection: Connection, kind: str, request_id: UUID, detail: Mapping[str, object]) -> None:
    await connection.execute(
        "INSERT INTO anomaly (kind, request_id, detail) VALUES ($1, $2, $3)",
        kind,
        request_id,
        msgspec.json.encode(detail).decode(),
    )


async def apply(connection: Connection, postings: Postings, cash_of: Mapping[int, int]) -> None:
    """Lines, balances and leases of one batch. Balances are locked in the order of their ids, as everywhere."""
    debits, credits_, released = postings.debits(), postings.credits(), _released(postings, cash_of)
    touched = sorted({*debits, *credits_})
    await connection.execute(
        "SELECT 1 FROM balance WHERE account_id = ANY($1) ORDER BY account_id FOR NO KEY UPDATE", touched
    )
    await connection.execute(
        """
        UPDATE balance b SET debits = b.debits + d.debit, credits = b.credits + d.credit, leased = b.leased - d.released
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS d (id, debit, credit, released)
        WHERE b.account_id = d.id
        """,
        touched,
        [debits.get(account, 0) for account in touched],
        [credits_.get(account, 0) for account in touched],
        [released.get(account, 0) for account in touched],
    )
    await _consume(connection, postings.consumed)
    await connection.executemany(
        "INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount) VALUES ($1, $2, $3, $4, $5)",
        [(t.idem_key, t.kind, t.debit, t.credit, t.amount) for t in postings.transfers],
    )


def _released(postings: Postings, cash_of: Mapping[int, int]) -> dict[int, int]:
    released: dict[int, int] = {}
    for (org, _), amount in postings.consumed.items():
        released[cash_of[org]] = released.get(cash_of[org], 0) + amount
    return released


async def _consume(connection: Connection, consumed: Mapping[tuple[int, int], int]) -> None:
    tag = await connection.execute(
        """
        UPDATE lease l SET consumed = l.consumed + d.amount
        FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS d (org, epoch, amount)
        WHERE l.org_id = d.org AND l.epoch = d.epoch
        """,
        [org for org, _ in consumed],
        [epoch for _, epoch in consumed],
        list(consumed.values()),
    )
    if tag != f"UPDATE {len(consumed)}":
        raise asyncpg.RaiseError("a charge names a lease that was never made")


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
