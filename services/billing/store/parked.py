"""Events that wait for somebody to decide. The caller opens the transaction where there is more than one statement."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from libs.runtime.postgres import Connection
from services.billing.parcel import Parcel

State = Literal["parked", "replayed", "void"]


class ParkedRow(msgspec.Struct, frozen=True):
    """A parked event without its words. Times are Unix milliseconds."""

    id: int
    reason: str
    request_id: UUID | None
    org: int | None
    epoch: int | None
    state: State
    parked_at: int
    decided_at: int | None
    decision: str | None


async def park(connection: Connection, parcels: Sequence[Parcel]) -> None:
    """Keeps what was not kept before; the same words are kept once, however they were decided."""
    await connection.execute(
        """
        INSERT INTO parked (digest, reason, request_id, org_id, lease_epoch, body)
        SELECT * FROM unnest($1::bytea[], $2::text[], $3::uuid[], $4::bigint[], $5::int[], $6::bytea[])
        ON CONFLICT (digest) DO NOTHING
        """,
        [parcel.digest for parcel in parcels],
        [parcel.reason for parcel in parcels],
        [parcel.request_id for parcel in parcels],
        [parcel.org for parcel in parcels],
        [parcel.epoch for parcel in parcels],
        [parcel.body for parcel in parcels],
    )


async def undecided(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM parked WHERE state = 'parked'"))


async def listed(connection: Connection, state: State | None, limit: int) -> list[ParkedRow]:
    """The newest first; ``state`` None for all."""
    rows = await connection.fetch(
        "SELECT * FROM parked WHERE $1::text IS NULL OR state = $1 ORDER BY parked_id DESC LIMIT $2", state, limit
    )
    return [_row(row) for row in rows]


async def find(connection: Connection, parked_id: int) -> tuple[ParkedRow, bytes] | None:
    row = await connection.fetchrow("SELECT * FROM parked WHERE parked_id = $1", parked_id)
    return (_row(row), bytes(row["body"])) if row else None


async def decide(connection: Connection, parked_id: int, state: State, decision: str) -> bool:
    """Once; False when somebody else has decided before."""
    tag = await connection.execute(
        "UPDATE parked SET state = $2, decided_at = now(), decision = $3 WHERE parked_id = $1 AND state = 'parked'",
        parked_id,
        state,
        decision,
    )
    return bool(tag == "UPDATE 1")


async def refuse_again(connection: Connection, parked_id: int, reason: str) -> None:
    """It stays, with the reason of now."""
    await connection.execute(
        "UPDATE parked SET reason = $2 WHERE parked_id = $1 AND state = 'parked'", parked_id, reason
    )


def _row(row: Any) -> ParkedRow:
    return ParkedRow(
        id=row["parked_id"],
        reason=row["reason"],
        request_id=row["request_id"],
        org=row["org_id"],
        epoch=row["lease_epoch"],
        state=row["state"],
        parked_at=_ms(row["parked_at"]),
        decided_at=_ms(row["decided_at"]) if row["decided_at"] else None,
        decision=row["decision"],
    )


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
