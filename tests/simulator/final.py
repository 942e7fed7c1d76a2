"""What the books and Redis must say once everything has come to rest."""

from typing import NamedTuple

from libs.runtime import postgres, redis
from services.billing.portion import Amounts
from services.billing.resting import Lender
from services.billing.store.reclaiming import ORPHANED
from services.billing.verify import Truth, verify
from tests.simulator.events import SHARD
from tests.simulator.oracle import Oracle


class Difference(NamedTuple):
    """``lasting``: no waiting will mend it."""

    what: str
    lasting: bool


async def first_difference(pool: postgres.Pool, client: redis.Client, oracle: Oracle) -> Difference | None:
    """None when all is well."""
    async with pool.acquire() as connection:
        if wrong := await _wrong_charge(connection, oracle):
            return Difference(wrong, lasting=True)
        missing = (
            await _missing_charge(connection, oracle)
            or await _credit(connection, oracle)
            or await _leases(connection)
            or await _ledger_verify(connection, client, oracle)
        )
        return Difference(missing, lasting=False) if missing else None


async def _wrong_charge(connection: postgres.Connection, oracle: Oracle) -> str | None:
    """Each is of a dispatched request, for what it truly cost, in both buckets; or of an orphan."""
    for row in await connection.fetch("SELECT request_id, reason, cash, plan, cost FROM charge"):
        told = oracle.requests.get(row["request_id"])
        if told is None and row["reason"] != ORPHANED:
            return f"{row['request_id']} is charged and was never dispatched"
        if told is not None and (Amounts(row["cash"], row["plan"]), row["cost"]) != (told.paid, told.cost):
            return f"{row['request_id']} cost {told.cost}, {told.paid} of it its org's; charged {dict(row)}"
    return None


async def _missing_charge(connection: postgres.Connection, oracle: Oracle) -> str | None:
    rows = await connection.fetch("SELECT request_id FROM charge")
    missing = set(oracle.requests) - {row["request_id"] for row in rows}
    return f"{min(missing)} was dispatched and is not charged" if missing else None


async def _credit(connection: postgres.Connection, oracle: Oracle) -> str | None:
    """Every org has what came in less what its requests cost, of each bucket; nobody's balance is below zero."""
    rows = await connection.fetch(
        "SELECT a.org_id, a.kind, b.credits - b.debits AS posted, b.leased"
        " FROM account a JOIN balance b USING (account_id) WHERE a.org_id IS NOT NULL"
    )
    left = dict(oracle.credited_to)
    for told in oracle.requests.values():
        left[told.payer.org] = left[told.payer.org].minus(told.paid)
    for row in rows:
        expected = left[row["org_id"]].cash if row["kind"] == "cust_cash" else left[row["org_id"]].plan
        if row["posted"] != expected or not 0 <= row["leased"] <= row["posted"]:
            return f"{dict(row)}, should have {expected}"
    return None


async def _leases(connection: postgres.Connection) -> str | None:
    row = await connection.fetchrow(
        "SELECT org_id, epoch, state FROM lease WHERE consumed > granted OR plan_consumed > plan_granted"
        " OR state = 'doubt' LIMIT 1"
    )
    return f"lease {dict(row)} is overdrawn or in doubt" if row else None


async def _ledger_verify(connection: postgres.Connection, client: redis.Client, oracle: Oracle) -> str | None:
    credited = {org: credit.total for org, credit in oracle.credited_to.items()}
    truth = Truth(credited=credited, parked=0, anomalies=0)
    async for _, difference in verify(connection, truth, at_rest=True, lender=Lender(client, SHARD)):
        if difference is not None:
            return f"{difference.check}: {difference.what}"
    return None
