"""Everything that is known once the faults are over: what callers saw, what the provider served, what the books say,
and what is left in Redis, in spools and in queues."""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import redis.asyncio

from deploy.demo.provider.journal import Record
from libs.pricing import Price, Usage
from libs.runtime import postgres
from tests.faults.driver import Answer

# Owned by the owner of the tables, and written by a trigger at every commit: no state between two looks is missed.
LOWEST = """
CREATE TABLE IF NOT EXISTS lowest (account_id BIGINT PRIMARY KEY, posted BIGINT NOT NULL, free BIGINT NOT NULL);
CREATE OR REPLACE FUNCTION note_lowest() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
SET search_path = billing, pg_temp AS $$
BEGIN
    INSERT INTO lowest
    SELECT account_id, credits - debits, credits - debits - leased FROM balance WHERE account_id = NEW.account_id
    ON CONFLICT (account_id) DO UPDATE SET
        posted = least(lowest.posted, excluded.posted), free = least(lowest.free, excluded.free);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS note_lowest ON balance;
CREATE CONSTRAINT TRIGGER note_lowest AFTER INSERT OR UPDATE ON balance
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_lowest();
"""


class Charge(NamedTuple):
    """One row of the books."""

    request_id: UUID
    org: int
    outcome: str
    reason: str
    price_id: str | None
    usage: Usage
    started_at: int
    cost: int
    cash: int
    plan: int
    absorbed: int
    held: int


class Account(NamedTuple):
    """What an org has, in all its buckets, and the least that it ever had at the end of a transaction."""

    posted: int
    leased: int
    lowest_posted: int
    lowest_free: int


class Rest(NamedTuple):
    """What should be nothing at rest, by where it lies."""

    held: dict[str, int]
    holds: dict[str, list[str]]
    spooled: dict[str, int]
    doubt: list[tuple[int, int]]


class Truths(NamedTuple):
    """``credited``: what each org was given. ``charges``: all of those orgs. ``odd``: kinds of anomalies and reasons of
    parked events, each as often as it happened since the scenario began."""

    answers: list[Answer]
    served: list[Record]
    credited: dict[int, int]
    charges: list[Charge]
    accounts: dict[int, Account]
    prices: dict[str, Price]
    odd: dict[str, int]


async def install(owner_url: str) -> None:
    """Begins to note the lowest state of every balance."""
    async with postgres.connected(owner_url, "billing") as owner:
        await owner.execute(LOWEST)


async def charges_of(connection: postgres.Connection, orgs: Iterable[int]) -> list[Charge]:
    rows = await connection.fetch(
        """
        SELECT request_id, org_id, outcome, reason, price_id, tok_input, tok_cache_read, tok_cache_write,
            tok_cache_write_1h, tok_output, tok_reasoning, started_at, cost, cash, plan, absorbed, held
        FROM charge WHERE org_id = ANY($1) ORDER BY request_id
        """,
        list(orgs),
    )
    return [_charge(tuple(row)) for row in rows]


def _charge(row: tuple[Any, ...]) -> Charge:
    return Charge(*row[:5], Usage(*row[5:11]), *row[11:])  # type: ignore[call-arg] # they are as many as there are


async def accounts_of(connection: postgres.Connection, orgs: Iterable[int]) -> dict[int, Account]:
    rows = await connection.fetch(
        """
        SELECT a.org_id, sum(b.credits - b.debits)::BIGINT, sum(b.leased)::BIGINT,
            min(coalesce(l.posted, b.credits - b.debits)), min(coalesce(l.free, b.credits - b.debits - b.leased))
        FROM account a JOIN balance b USING (account_id) LEFT JOIN lowest l USING (account_id)
        WHERE a.org_id = ANY($1) GROUP BY a.org_id
        """,
        list(orgs),
    )
    return {row[0]: Account(*row[1:]) for row in rows}


async def odd_since(connection: postgres.Connection, anomaly: int, parked: int) -> dict[str, int]:
    """Anomalies and parked events after these ids, counted by kind."""
    rows = await connection.fetch(
        """
        SELECT kind, count(*) AS times FROM anomaly WHERE anomaly_id > $1 GROUP BY kind UNION ALL
        SELECT 'parked: ' || reason, count(*) FROM parked WHERE parked_id > $2 GROUP BY reason
        """,
        anomaly,
        parked,
    )
    return {row["kind"]: row["times"] for row in rows}


async def odd_so_far(connection: postgres.Connection) -> tuple[int, int]:
    row = await connection.fetchrow(
        "SELECT (SELECT coalesce(max(anomaly_id), 0) FROM anomaly), (SELECT coalesce(max(parked_id), 0) FROM parked)"
    )
    assert row is not None
    return row[0], row[1]


async def noted(connection: postgres.Connection) -> tuple[int, int]:
    """Parked events that nobody has decided, and anomalies, of all times."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM parked WHERE state = 'parked'), (SELECT count(*) FROM anomaly)"
    )
    assert row is not None
    return row[0], row[1]


async def in_doubt(connection: postgres.Connection) -> list[tuple[int, int]]:
    rows = await connection.fetch("SELECT org_id, epoch FROM lease WHERE state = 'doubt' ORDER BY org_id, epoch")
    return [(row[0], row[1]) for row in rows]


async def held_in(url: str) -> tuple[dict[str, int], dict[str, list[str]]]:
    """By key: what leases say is held, and the holds themselves. Only what is not nothing, and of leases that count:
    what a Redis kept from an earlier process of its own does not."""
    held: dict[str, int] = {}
    holds: dict[str, list[str]] = {}
    client: Any = redis.asyncio.Redis.from_url(url, decode_responses=True)
    async with client:
        run_id = (await client.info("server"))["run_id"]
        async for key in client.scan_iter("to:*:lease", count=500):
            made_by, *amounts = await client.hmget(key, ["g", "held", "pheld"])
            if made_by != run_id:
                continue
            held[key] = sum(int(amount or 0) for amount in amounts)
            holds[key] = sorted(await client.hkeys(key.replace(":lease", ":holds")))[:3]
    return {key: amount for key, amount in held.items() if amount}, {
        key: found for key, found in holds.items() if found
    }


async def spooled_in(folders: Iterable[Path]) -> dict[str, int]:
    """Records by spool, of those that have any."""
    depths = {folder.name: await asyncio.to_thread(_records, folder / "spool.sqlite") for folder in folders}
    return {name: depth for name, depth in depths.items() if depth}


def _records(path: Path) -> int:
    """Of a spool that this process sees. SQLite itself follows links, so it is of no use on /proc/PID/root."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=10)) as db:
        return int(db.execute("SELECT count(*) FROM record").fetchone()[0])
