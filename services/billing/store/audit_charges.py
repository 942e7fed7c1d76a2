"""Charges and what stands around them, questioned as in ``audit``."""

from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from libs.pricing import Usage
from libs.runtime.postgres import Connection
from services.billing.store.audit import Question

PUBLIC: Final = "'req_' || replace(c.request_id::text, '-', '')"


class ChargeRow(msgspec.Struct, frozen=True):
    """What a charge's cost is recomputed from. ``price_id`` is None where nobody served the request."""

    request_id: UUID
    org: int
    outcome: str
    price_id: str | None
    started_at: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    output: int
    reasoning: int
    cost: int

    @property
    def usage(self) -> Usage:
        """Raises ValueError for tokens that no request can have."""
        return Usage(self.input, self.cache_read, self.cache_write, self.cache_write_1h, self.output, self.reasoning)


IDS: Final = Question(
    f"""
    SELECT {PUBLIC} AS request, accepted_at FROM charge c, LATERAL (SELECT replace(request_id::text, '-', '') AS hex) h
    WHERE substr(hex, 13, 1) <> '7' OR substr(hex, 17, 1) NOT IN ('8', '9', 'a', 'b')
        OR abs(('x' || left(hex, 12))::bit(48)::bigint - accepted_at) > 60000 LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: its id is not a UUIDv7 of {accepted_at}, when it was accepted",
)

COPIES: Final = Question(
    f"""
    SELECT {PUBLIC} AS request, count(*) AS times FROM charge c GROUP BY request_id HAVING count(*) > 1
    ORDER BY request_id LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: is there {times} times",
)

OUTCOMES: Final = Question(
    f"""
    SELECT {PUBLIC} AS request, outcome, reason, cost, price_id FROM charge c
    WHERE outcome NOT IN ('usage', 'void', 'estimated')
        OR outcome = 'void' AND (cost <> 0 OR cash <> 0 OR plan <> 0 OR absorbed <> 0 OR tok_input <> 0
            OR tok_cache_read <> 0 OR tok_cache_write <> 0 OR tok_cache_write_1h <> 0 OR tok_output <> 0)
        OR price_id IS NULL AND (outcome <> 'void' OR reason <> 'orphaned' OR model <> '' OR offer <> '')
    LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: outcome {outcome} ({reason}) with cost {cost}, price {price_id}, its tokens or its model",
)

ADMITTED: Final = Question(
    """
    SELECT 'req_' || replace(request_id::text, '-', '') AS request,
        CASE WHEN t.request_id IS NULL THEN 'charged, and never admitted' ELSE 'admitted, and not charged' END AS what
    FROM charge c FULL JOIN unnest($1::uuid[]) AS t (request_id) USING (request_id)
    WHERE c.request_id IS NULL OR t.request_id IS NULL ORDER BY request_id LIMIT 1
    """,
    "request {request}: {what}",
)

SPLITS: Final = Question(
    f"""
    SELECT {PUBLIC} AS request, cost, cash, plan, absorbed, held FROM charge c
    WHERE cost <> cash + plan + absorbed OR cash + plan > held OR least(cash, plan, absorbed) < 0 LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: cost {cost} is split into cash {cash}, plan {plan}, absorbed {absorbed}; held {held}",
)

ABSORBED: Final = Question(
    f"""
    SELECT {PUBLIC} AS request, cost, cash + plan AS paid, absorbed, held FROM charge c
    WHERE absorbed > 0 AND cash + plan < held AND (
        cash + plan > 0
        OR NOT EXISTS (SELECT FROM lease l WHERE (l.org_id, l.epoch, l.state) = (c.org_id, c.lease_epoch, 'closed'))
    ) LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: {absorbed} of {cost} absorbed, with {paid} of {held} held taken and no closed lease",
)

UNNOTED: Final = Question(
    f"""
    SELECT {PUBLIC} AS request FROM charge c WHERE absorbed > 0 AND cash + plan = 0 AND held > 0
        AND NOT EXISTS (SELECT FROM anomaly a WHERE a.request_id = c.request_id AND a.kind = 'lease was closed')
    LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "charge {request}: came after its lease was closed, and no anomaly says so",
)

UNFOUNDED: Final = Question(
    f"""
    SELECT c.anomaly_id, c.kind, {PUBLIC} AS request FROM anomaly c WHERE request_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM charge h WHERE h.request_id = c.request_id)
        AND NOT EXISTS (SELECT FROM parked p WHERE p.request_id = c.request_id)
    ORDER BY anomaly_id LIMIT 1
    """,  # noqa: S608 - a constant of this module
    "anomaly {anomaly_id} ({kind}): request {request} is neither charged nor parked",
)

REPLAYED: Final = Question(
    """
    SELECT parked_id FROM parked p WHERE state = 'replayed' AND request_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM charge c WHERE c.request_id = p.request_id) ORDER BY parked_id LIMIT 1
    """,
    "parked event {parked_id}: was replayed, and its request is not charged",
)


class Noted(NamedTuple):
    """How much waits to be looked at: parked events without a decision, and anomalies by kind."""

    parked: int
    anomalies: dict[str, int]


async def noted(connection: Connection) -> Noted:
    parked = await connection.fetchval("SELECT count(*) FROM parked WHERE state = 'parked'")
    rows = await connection.fetch("SELECT kind, count(*) FROM anomaly GROUP BY kind ORDER BY kind")
    return Noted(parked, {row["kind"]: row["count"] for row in rows})


async def prices(connection: Connection) -> list[tuple[str, str]]:
    """Every price version: its id and its content."""
    rows = await connection.fetch("SELECT price_id, content FROM price_version ORDER BY price_id")
    return [(price_id, content) for price_id, content in rows]


async def charges(
    connection: Connection, first: UUID | None = None, end: UUID | None = None, org: int | None = None
) -> AsyncIterator[ChargeRow]:
    """Those whose id lies in ``[first, end)``, in order of id, through a cursor: a year of them does not fit into
    memory."""
    query = """
        SELECT request_id, org_id, outcome, price_id, started_at, tok_input, tok_cache_read, tok_cache_write,
            tok_cache_write_1h, tok_output, tok_reasoning, cost
        FROM charge WHERE request_id >= $1 AND ($2::uuid IS NULL OR request_id < $2)
            AND ($3::bigint IS NULL OR org_id = $3)
        ORDER BY request_id
    """
    async for row in connection.cursor(query, first or UUID(int=0), end, org, prefetch=2000):
        yield ChargeRow(*row)
