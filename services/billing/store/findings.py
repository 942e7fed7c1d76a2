"""All that billing's tables say of one request."""

from typing import Any, Final
from uuid import UUID

import msgspec

from libs.contracts.usage import Attempt
from libs.pricing import Price, Usage
from libs.runtime.postgres import Connection
from services.billing.explain import Anomaly, Charge, Found, Lease, Parked, Posted, Router

ACCOUNT: Final = "'account ' || {0}.account_id || ' (' || {0}.kind || coalesce(' of org ' || {0}.org_id, '') || ')'"


async def find(connection: Connection, request_id: UUID) -> Found:
    """In one snapshot; the caller opens no transaction."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        charge = await _charge(connection, request_id)
        return Found(
            request_id=request_id,
            charge=charge,
            transfers=await _transfers(connection, charge) if charge else (),
            lease=await _lease(connection, charge.org, charge.epoch) if charge else None,
            anomalies=await _anomalies(connection, request_id),
            parked=await _parked(connection, request_id),
            routers=() if charge else await _routers(connection),
        )


async def _charge(connection: Connection, request_id: UUID) -> Charge | None:
    query = "SELECT * FROM charge LEFT JOIN price_version USING (price_id) WHERE request_id = $1"
    row = await connection.fetchrow(query, request_id)
    return None if row is None else _charge_of(row)


def _charge_of(row: Any) -> Charge:
    return Charge(
        org=row["org_id"],
        key=row["key_id"],
        outcome=row["outcome"],
        reason=row["reason"],
        model=row["model"],
        offer=row["offer"],
        provider=row["provider"],
        provider_model=row["provider_model"],
        provider_request_id=row["provider_request_id"],
        producer=row["producer"],
        price_id=row["price_id"],
        price=None if row["content"] is None else msgspec.json.decode(row["content"], type=Price),
        usage=Usage(
            input=row["tok_input"],
            cache_read=row["tok_cache_read"],
            cache_write=row["tok_cache_write"],
            cache_write_1h=row["tok_cache_write_1h"],
            output=row["tok_output"],
            reasoning=row["tok_reasoning"],
        ),
        cost=row["cost"],
        cash=row["cash"],
        plan=row["plan"],
        absorbed=row["absorbed"],
        held=row["held"],
        epoch=row["lease_epoch"],
        batch=row["batch_id"],
        accepted_at=row["accepted_at"],
        started_at=row["started_at"],
        first_token_at=row["first_token_at"],
        ended_at=row["ended_at"],
        charged_at=row["charged_at"],
        attempts=msgspec.json.decode(row["attempts"], type=tuple[Attempt, ...]),
    )


async def _transfers(connection: Connection, charge: Charge) -> tuple[Posted, ...]:
    """Those of its batch that moved a part of its cost."""
    query = f"""
        SELECT t.transfer_id, t.idem_key, {ACCOUNT.format("d")}, {ACCOUNT.format("c")}, t.amount
        FROM transfer t JOIN account d ON d.account_id = t.debit_id JOIN account c ON c.account_id = t.credit_id
        WHERE t.idem_key IN (
            SELECT 'usage:' || $1::bigint || ':' || account_id FROM account
            WHERE org_id = $2 AND (kind = 'cust_cash' AND $3 OR kind = 'cust_plan' AND $4)
            UNION ALL SELECT 'absorbed:' || $1::bigint WHERE $5
        ) ORDER BY t.transfer_id
    """  # noqa: S608 - a constant of this module
    parts = (charge.cash > 0, charge.plan > 0, charge.absorbed > 0)
    return tuple(Posted(*row) for row in await connection.fetch(query, charge.batch, charge.org, *parts))


async def _lease(connection: Connection, org: int, epoch: int) -> Lease | None:
    query = """
        SELECT epoch, shard, state, granted, consumed, plan_granted, plan_consumed FROM lease
        WHERE org_id = $1 AND epoch = $2
    """
    row = await connection.fetchrow(query, org, epoch)
    return None if row is None else Lease(*row)


async def _anomalies(connection: Connection, request_id: UUID) -> tuple[Anomaly, ...]:
    query = "SELECT anomaly_id, kind, detail, seen_at FROM anomaly WHERE request_id = $1 ORDER BY anomaly_id"
    return tuple(Anomaly(*row) for row in await connection.fetch(query, request_id))


async def _parked(connection: Connection, request_id: UUID) -> tuple[Parked, ...]:
    query = "SELECT parked_id, state, reason, parked_at, decision FROM parked WHERE request_id = $1 ORDER BY parked_id"
    return tuple(Parked(*row) for row in await connection.fetch(query, request_id))


async def _routers(connection: Connection) -> tuple[Router, ...]:
    query = "SELECT spool, instance, state, watermark, unbooked FROM router ORDER BY watermark, spool"
    return tuple(Router(*row) for row in await connection.fetch(query))
