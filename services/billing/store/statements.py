"""Months of accounts. The caller opens the transaction."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import asyncpg

from libs.contracts.statement import Movement
from libs.runtime.postgres import Connection
from services.billing.statements import Line, Statement, after, start_of

LOCK_CLASS: Final = 0x6D6F6E74  # "mont"

MONTH: Final = "date_trunc('month', t.posted_at AT TIME ZONE 'UTC')::date"
SIDES: Final = "transfer t CROSS JOIN LATERAL (VALUES (debit_id), (credit_id)) side (account_id)"
LINE: Final = """
    transfer_id, (extract(EPOCH FROM posted_at) * 1000000)::bigint AS posted_us, idem_key, kind,
    debit_id, credit_id, amount, reason
"""


async def lock(connection: Connection) -> None:
    """One closing at a time, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", LOCK_CLASS)


async def now(connection: Connection) -> datetime:
    """By the clock that transfers are dated by."""
    found: datetime = await connection.fetchval("SELECT now()")
    return found


async def closed_through(connection: Connection) -> date | None:
    """The last closed month; months are closed one after the other."""
    found: date | None = await connection.fetchval("SELECT max(month) FROM statement")
    return found


async def first_month(connection: Connection) -> date | None:
    """The month of the oldest transfer."""
    query = "SELECT date_trunc('month', min(posted_at) AT TIME ZONE 'UTC')::date FROM transfer"
    found: date | None = await connection.fetchval(query)
    return found


async def to_close(connection: Connection, month: date, before: date) -> AsyncIterator[asyncpg.Record]:
    """Each account that moved in ``month`` or has a statement of the month ``before``: ``opening`` and ``chain`` of
    that statement if there is one, and a row for each transfer, or one without a ``transfer_id``."""
    query = f"""
        SELECT account_id, p.closing AS opening, p.digest AS chain, {LINE}
        FROM (
            SELECT side.account_id, t.* FROM {SIDES}
            WHERE t.posted_at >= $1 AND t.posted_at < $2
        ) moved FULL JOIN (SELECT account_id, closing, digest FROM statement WHERE month = $3) p USING (account_id)
        ORDER BY account_id, transfer_id
    """  # noqa: S608 - a constant of this module
    async for row in connection.cursor(query, start_of(month), start_of(after(month)), before, prefetch=2000):
        yield row


async def closed(connection: Connection) -> AsyncIterator[asyncpg.Record]:
    """Every statement beside the transfers of its month, and every transfer of a closed month that has no statement:
    one row each, by account, month and transfer. ``stored`` tells whether there is a statement. The newest accounts
    come first, so that a difference is told of the customer's account before the house's."""
    query = f"""
        SELECT account_id, month, s.digest IS NOT NULL AS stored, s.opening, s.debits, s.credits, s.closing,
            s.transfers, s.digest, {LINE}
        FROM (
            SELECT side.account_id, {MONTH} AS month, t.* FROM {SIDES}
            WHERE {MONTH} <= (SELECT max(month) FROM statement)
        ) moved FULL JOIN statement s USING (account_id, month)
        ORDER BY account_id DESC, month, transfer_id
    """  # noqa: S608 - constants of this module
    async for row in connection.cursor(query, prefetch=2000):
        yield row


def line_of(row: Any) -> Line | None:
    """The transfer in a row of ``to_close`` or ``closed``; None where nothing moved."""
    if row["transfer_id"] is None:
        return None
    names = ("transfer_id", "posted_us", "idem_key", "kind", "debit_id", "credit_id", "amount", "reason")
    return Line(*(row[name] for name in names))


def statement_of(row: Any) -> Statement:
    opening, debits, credits_, closing = (int(row[name]) for name in ("opening", "debits", "credits", "closing"))
    return Statement(
        row["account_id"], row["month"], opening, debits, credits_, closing, row["transfers"], row["digest"]
    )


async def keep(connection: Connection, made: Sequence[Statement]) -> None:
    await connection.executemany(
        """
        INSERT INTO statement (account_id, month, opening, debits, credits, closing, transfers, digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        [
            (s.account, s.month, *map(Decimal, (s.opening, s.debits, s.credits, s.closing)), s.transfers, s.digest)
            for s in made
        ],
    )


async def accounts_of(connection: Connection, org: int) -> list[tuple[str, int]]:
    """The org's buckets and their accounts: ``("cash", 17)``."""
    query = "SELECT substr(kind, 6), account_id FROM account WHERE org_id = $1 ORDER BY kind"
    return [(bucket, account) for bucket, account in await connection.fetch(query, org)]


async def opening(connection: Connection, account: int, month: date) -> int:
    """What all transfers before the month come to."""
    query = """
        SELECT coalesce(sum(CASE WHEN credit_id = $1 THEN amount ELSE -amount END), 0) FROM transfer
        WHERE (debit_id = $1 OR credit_id = $1) AND posted_at < $2
    """
    return int(await connection.fetchval(query, account, start_of(month)))


async def movements(connection: Connection, account: int, month: date) -> tuple[Movement, ...]:
    query = """
        SELECT kind, count(*), sum(CASE WHEN credit_id = $1 THEN amount ELSE -amount END) FROM transfer
        WHERE (debit_id = $1 OR credit_id = $1) AND posted_at >= $2 AND posted_at < $3 GROUP BY kind ORDER BY kind
    """
    rows = await connection.fetch(query, account, start_of(month), start_of(after(month)))
    return tuple(Movement(kind, count, int(amount)) for kind, count, amount in rows)


async def digest(connection: Connection, account: int, month: date) -> bytes | None:
    query = "SELECT digest FROM statement WHERE account_id = $1 AND month = $2"
    found: bytes | None = await connection.fetchval(query, account, month)
    return found


async def name_of(connection: Connection, account: int) -> str:
    """The account, as people call it."""
    query = """
        SELECT 'account ' || account_id || ' (' || kind || coalesce(' of org ' || org_id, '') || ')' FROM account
        WHERE account_id = $1
    """
    return str(await connection.fetchval(query, account))
