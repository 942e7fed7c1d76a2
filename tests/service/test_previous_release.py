"""Redis keeps running over an upgrade: what the release before plans left in it ends well."""

from uuid import UUID

from libs.contracts.account import LeaseRequest, lease_keys
from libs.contracts.dispatch import Hold
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, NotTaken, Payer
from tests.fixtures import samples
from tests.fixtures.books import SHARD
from tests.fixtures.reclaiming import KEY, MINUTE, NEED, Yard, everything_back, idle

NEW_FIELDS = ("t", "r", "plim", "pused", "pheld")


async def old_hold(yard: Yard, org: int, age: int) -> UUID:
    """As the edge of that release writes one: ``amount:epoch``."""
    request, keys = samples.request_id(now_ms() - age, 1), lease_keys(org)
    await yard.client.hincrby(keys.lease, "held", NEED)
    await yard.client.hset(keys.holds, request.hex, f"{NEED}:1")
    return request


async def test_an_old_lease_counts_as_lost_and_its_org_can_buy_at_once(yard: Yard) -> None:
    org = await yard.org()
    await yard.client.hdel(lease_keys(org).lease, *NEW_FIELDS)
    payer, request = Payer(org, KEY), samples.request_id(now_ms(), 2)
    assert await yard.holds.take(payer, request, 10, shard=SHARD) == NotTaken("cold")
    assert (await yard.leases.extend(LeaseRequest(org, SHARD, NEED))).state == "ready"
    assert await yard.states(org) == ["doubt", "open"]
    assert isinstance(await yard.holds.take(payer, request, 10, shard=SHARD), Hold)


async def test_an_old_lease_that_nobody_asks_for_is_ended_too(yard: Yard) -> None:
    org = await yard.org()
    await yard.client.hdel(lease_keys(org).lease, *NEW_FIELDS)
    await yard.report()
    await yard.turns()
    assert await yard.states(org) == ["doubt"]
    await yard.age_doubt(org)
    await yard.turns()
    await everything_back(yard, org)


async def test_an_old_lease_can_be_revoked(yard: Yard) -> None:
    org = await yard.org()
    await yard.client.hdel(lease_keys(org).lease, *NEW_FIELDS)
    await yard.leases.revoke(org)
    assert await yard.states(org) == ["doubt"]


async def test_an_old_hold_is_settled_for_what_it_was(yard: Yard) -> None:
    org = await yard.org()
    request = await old_hold(yard, org, 0)
    assert await yard.holding(org) == (1, NEED)
    assert await yard.holds.end(Ended(org, request, 100))
    assert await yard.holding(org) == (0, 0)
    assert await yard.client.hget(lease_keys(org).lease, "used") == "100"


async def test_an_old_hold_that_nobody_ends_is_voided(yard: Yard) -> None:
    org = await yard.org()
    request = await old_hold(yard, org, 10 * MINUTE)
    await yard.report()
    await yard.turns()
    (charge,) = await yard.charges(org)
    assert (charge["request_id"], charge["outcome"], charge["held"]) == (request, "void", NEED)
    assert await yard.holding(org) == (0, 0)
    await idle(yard, org)
    await yard.turns()
    await yard.age_doubt(org)
    await yard.turns()
    await everything_back(yard, org)
