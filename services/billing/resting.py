"""Leases as Redis has them while nothing runs, beside what the ledger says of them."""

from typing import Any, Final, NamedTuple

from libs.contracts.account import lease_keys
from libs.runtime import redis
from libs.runtime.postgres import Connection
from services.billing.store import audit

FIELDS: Final = ("g", "e", "lim", "used", "held", "plim", "pused", "pheld")


class Lender(NamedTuple):
    """A Redis and the name that leases call it by."""

    client: redis.Client
    shard: str


class Seen(NamedTuple):
    """How many requests hold something of an org's lease, what its keys hold and spent of it, and the lease itself, as
    Redis has them; nano-USD."""

    requests: int
    by_keys_held: int
    by_keys_used: int
    epoch: int
    limit: int
    used: int
    held: int
    plan_limit: int
    plan_used: int
    plan_held: int


async def first_unsettled(connection: Connection, lender: Lender) -> str | None:
    """The first org whose lease in Redis is not what the ledger says, in words. What Redis kept from an earlier process
    of its own counts for nothing, here as everywhere. Raises one of ``redis.Failed``."""
    run_id = (await lender.client.info("server"))["run_id"]
    async for row in audit.leased_here(connection, lender.shard):
        keys = lease_keys(row["org_id"])
        made_by, *numbers = await lender.client.hmget(keys.lease, list(FIELDS))
        if made_by == run_id:
            requests = await lender.client.hlen(keys.holds)
            spent = {str(name): int(nano) for name, nano in (await lender.client.hgetall(keys.keys)).items()}
            by_keys = [sum(spent[name] for name in spent if name.endswith(end)) for end in (":h", ":u")]
            if what := unsettled(Seen(requests, *by_keys, *(int(number or 0) for number in numbers)), row):
                return f"org {row['org_id']}: {what}"
    return None


def unsettled(seen: Seen, row: Any) -> str | None:
    """``row``: the org's newest lease in the ledger."""
    if (seen.epoch, "open") != (row["epoch"], row["state"]):
        return f"Redis lends from epoch {seen.epoch}, the ledger's newest is {row['epoch']} and {row['state']}"
    if seen.held or seen.plan_held or seen.requests:
        return f"{seen.requests} requests still hold {seen.held} cash and {seen.plan_held} plan"
    if (seen.used, seen.plan_used) != (row["consumed"], row["plan_consumed"]):
        return (
            f"Redis spent {seen.used} cash and {seen.plan_used} plan, "
            f"the ledger charged {row['consumed']} and {row['plan_consumed']}"
        )
    if (seen.by_keys_held, seen.by_keys_used) != (0, seen.used + seen.plan_used):
        return f"its keys hold {seen.by_keys_held} and spent {seen.by_keys_used} of {seen.used + seen.plan_used}"
    if seen.limit > row["granted"] or seen.plan_limit > row["plan_granted"]:
        return (
            f"Redis lends up to {seen.limit} cash and {seen.plan_limit} plan, "
            f"{row['granted']} and {row['plan_granted']} were granted"
        )
    return None
