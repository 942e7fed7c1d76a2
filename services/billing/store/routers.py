"""Routers, by their spools, and what they promised. The caller opens the transaction where there is more than one
statement."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from libs.contracts.evidence import Report
from libs.runtime.postgres import Connection
from services.billing.evidence import Router

LOCK_CLASS: Final = 0x726F7574  # "rout"
LOST: Final = "router declared lost"
COLUMNS: Final = """
spool, instance, state, watermark, unbooked, skew_ms,
(extract(EPOCH FROM registered_at) * 1000)::bigint AS registered_at,
(extract(EPOCH FROM heard_at) * 1000)::bigint AS heard_at
"""
HEAR: Final = f"""
UPDATE router SET instance = $2, watermark = greatest(watermark, $3), unbooked = $4, skew_ms = $5,
    heard_at = greatest(heard_at, clock_timestamp()), run = greatest(run, $7),
    state = CASE WHEN state = 'lost' THEN 'lost' WHEN $6::bool AND $7 >= run THEN 'gone' ELSE state END
WHERE spool = $1 AND (state <> 'gone' OR $6::bool) RETURNING {COLUMNS}
"""  # noqa: S608 - a constant
REGISTER: Final = f"""
INSERT INTO router AS known (spool, instance, watermark, unbooked, skew_ms, state, run, registered_at, heard_at)
VALUES ($1, $2, $3, $4, $5, CASE WHEN $6::bool THEN 'gone' ELSE 'serving' END, $7, clock_timestamp(), clock_timestamp())
ON CONFLICT (spool) DO UPDATE SET instance = excluded.instance,
    watermark = greatest(known.watermark, excluded.watermark), run = excluded.run,
    unbooked = excluded.unbooked, skew_ms = excluded.skew_ms, state = excluded.state,
    registered_at = excluded.registered_at, heard_at = greatest(known.heard_at, excluded.heard_at)
WHERE known.state = 'gone' AND (excluded.run <> known.run OR excluded.watermark > known.watermark)
RETURNING {COLUMNS}
"""  # noqa: S608 - a constant


class Overtaken(ValueError):
    """The report is older than the goodbye that was heard before it."""


async def hear(connection: Connection, spool: str, report: Report, skew_ms: int) -> Router:
    """Writes down what a router says and returns what is known of it now. A watermark never goes back, and a spool that
    is lost stays lost. Raises Overtaken."""
    said = (spool, report.instance, report.watermark, report.unbooked, skew_ms, report.goodbye, report.run)
    row = await connection.fetchrow(HEAR, *said)
    if row is None:
        async with connection.transaction():
            await _alone(connection)
            row = await connection.fetchrow(REGISTER, *said) or await connection.fetchrow(HEAR, *said)
    if row is None:
        raise Overtaken(f"spool {spool} said goodbye after that")
    return _router(row)


async def known(connection: Connection) -> list[Router]:
    """All there ever were, with nobody registering meanwhile: whoever registers after this sees a later clock."""
    async with connection.transaction():
        await _alone(connection)
        rows = await connection.fetch(f"SELECT {COLUMNS} FROM router ORDER BY state, instance, spool")  # noqa: S608 - a constant
    return [_router(row) for row in rows]


async def booked(connection: Connection, asked: Sequence[UUID]) -> list[UUID]:
    """Those that are charged or parked, however it was decided."""
    if not asked:
        return []
    rows = await connection.fetch(
        """
        SELECT request_id FROM charge WHERE request_id = ANY($1) AND request_id BETWEEN $2 AND $3
        UNION SELECT request_id FROM parked WHERE request_id = ANY($1)
        """,
        asked,
        min(asked),
        max(asked),
    )
    return [row["request_id"] for row in rows]


async def declare_lost(connection: Connection, spool: str, by: str, reason: str) -> Router | None:
    """Nobody waits for it from now on, and it is noted who said so. None when there is no such spool, or it was lost
    before."""
    async with connection.transaction():
        row = await connection.fetchrow(
            f"UPDATE router SET state = 'lost' WHERE spool = $1 AND state <> 'lost' RETURNING {COLUMNS}",  # noqa: S608 - a constant
            spool,
        )
        if row is None:
            return None
        router = _router(row)
        detail = {"by": by, "reason": reason, "router": msgspec.to_builtins(router)}
        await connection.execute(
            "INSERT INTO anomaly (kind, detail) VALUES ($1, $2)", LOST, msgspec.json.encode(detail).decode()
        )
    return router


async def _alone(connection: Connection) -> None:
    """Until the end of the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", LOCK_CLASS)


def _router(row: Any) -> Router:
    return Router(**row)
