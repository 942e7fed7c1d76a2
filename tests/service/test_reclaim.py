"""Credit goes back on evidence, exactly, and never before that."""

import msgspec
import pytest

from libs.contracts.account import LeaseAnswer, LeaseRequest, lease_keys
from services.billing.parcel import Parcel
from services.billing.portion import Bucket
from services.billing.store import parked, routers
from tests.fixtures.books import CREDIT, SHARD
from tests.fixtures.reclaiming import KEY, MINUTE, NEED, Yard, everything_back, idle

PLAN = 1000
HOUR = 60 * MINUTE


async def declare_lost(yard: Yard, spool: str) -> None:
    async with yard.books.pool.acquire() as connection:
        assert await routers.declare_lost(connection, spool, "ops", "its disk burnt") is not None


async def test_what_a_lost_lease_did_not_consume_goes_back_out_of_both_buckets(yard: Yard) -> None:
    org = await yard.org(plan=PLAN)
    request, hold = await yard.held(org, PLAN + NEED)
    assert (hold.plan, hold.cash) == (PLAN, NEED)
    event = yard.event(org, request, msgspec.structs.replace(hold, plan=300))
    assert await yard.books.post(event) == []
    await yard.lose_redis(org)
    there = await yard.books.posted(org)
    assert there.plan.in_doubt == PLAN - 300
    assert there.cash.in_doubt > NEED - event.cost
    await yard.report()
    await yard.turns()
    there = await yard.books.posted(org)
    assert there.cash == Bucket(CREDIT - (event.cost - 300), 0, 0)
    assert there.plan == Bucket(PLAN - 300, 0, 0)
    assert await yard.states(org) == ["closed"]
    assert await yard.books.value("SELECT closed_at IS NOT NULL FROM lease WHERE org_id = $1", org)
    assert await yard.books.difference() is None


@pytest.mark.parametrize("behind", [20 * MINUTE, 10 * MINUTE, 10 * MINUTE - 3000])
async def test_nothing_goes_back_before_the_watermark_has_passed_it_by_the_margin(yard: Yard, behind: int) -> None:
    doubtful, orphaned = await yard.org(), await yard.org()
    await yard.lose_redis(doubtful)
    assert (await yard.leases.extend(LeaseRequest(orphaned, SHARD, NEED))).state == "ready"
    request, hold = await yard.held(orphaned)
    await yard.report(behind=behind)
    await yard.turns(2)
    assert await yard.states(doubtful) == ["doubt"]
    assert await yard.holding(orphaned) == (1, NEED)
    assert await yard.charges(orphaned) == []
    event = yard.event(orphaned, request, hold)
    assert await yard.books.post(event) == [], "its event may still come"
    assert await yard.books.value("SELECT cash FROM charge WHERE request_id = $1", request) == event.cost
    await yard.report()
    await yard.turns()
    assert await yard.states(doubtful) == ["closed"]
    assert await yard.holding(orphaned) == (0, 0)


async def test_what_has_just_happened_is_left_alone(yard: Yard) -> None:
    """Also without any router that could still have it: none of them is waited for."""
    doubtful, running = await yard.org(), await yard.org()
    await yard.lose_redis(doubtful, age=0)
    assert (await yard.leases.extend(LeaseRequest(running, SHARD, NEED))).state == "ready"
    await yard.held(running, age=0)
    await yard.report(goodbye=True)
    await yard.turns()
    assert await yard.states(doubtful) == ["doubt"]
    assert await yard.holding(running) == (1, NEED)
    assert await yard.charges(running) == []


async def test_a_silent_router_is_waited_for_until_it_is_declared_lost(yard: Yard) -> None:
    doubtful, orphaned = await yard.org(), await yard.org()
    await yard.lose_redis(doubtful)
    assert (await yard.leases.extend(LeaseRequest(orphaned, SHARD, NEED))).state == "ready"
    await yard.held(orphaned)
    await yard.report("silent", behind=HOUR)
    await yard.books.pool.execute("UPDATE router SET heard_at = now() - interval '30 minutes'")
    await yard.report("lively")
    await yard.turns()
    assert (await yard.states(doubtful), await yard.holding(orphaned)) == (["doubt"], (1, NEED))
    await declare_lost(yard, "silent")
    await yard.turns()
    assert (await yard.states(doubtful), await yard.holding(orphaned)) == (["closed"], (0, 0))
    assert await yard.books.value("SELECT detail->>'by' FROM anomaly WHERE kind = 'router declared lost'") == "ops"
    await yard.report("silent", behind=HOUR)
    assert yard.metric("tokenoutput_routers", state="lost") == 1
    await yard.lose_redis(orphaned)
    await yard.turns()
    assert await yard.states(orphaned) == ["closed"] * len(await yard.states(orphaned)), (
        "it stays lost, whatever it says"
    )


async def test_a_router_that_said_goodbye_is_not_waited_for_until_it_is_back(yard: Yard) -> None:
    org = await yard.org()
    await yard.report("gone", behind=HOUR)
    await yard.report("gone", behind=HOUR, goodbye=True)
    await yard.report("lively")
    await yard.lose_redis(org)
    await yard.turns()
    assert await yard.states(org) == ["closed"]
    assert (await yard.leases.extend(LeaseRequest(org, SHARD, NEED))).state == "ready"
    await yard.lose_redis(org)
    assert (await yard.report("gone", behind=HOUR)).state == "serving"
    await yard.turns()
    assert await yard.states(org) == ["closed", "doubt"]


async def test_where_no_router_ever_registered_everything_waits(yard: Yard) -> None:
    org = await yard.org()
    await yard.lose_redis(org)
    await yard.turns()
    assert await yard.states(org) == ["doubt"]
    assert yard.metric("tokenoutput_doubt_nano") > 0


async def test_an_orphan_is_one_void_charge_and_a_later_event_changes_nothing(yard: Yard) -> None:
    org = await yard.org(plan=PLAN)
    request, hold = await yard.held(org)
    await yard.report()
    await yard.turns(2)
    assert await yard.holding(org) == (0, 0)
    (charge,) = await yard.charges(org)
    wanted = {"request_id": request, "outcome": "void", "reason": "orphaned", "price_id": None, "cost": 0, "held": NEED}
    assert {name: charge[name] for name in wanted} == wanted
    assert (charge["key_id"], charge["lease_epoch"]) == (KEY, hold.epoch)
    assert yard.metric("tokenoutput_orphan_holds_total", end="voided") == 1
    assert (await yard.leases.held(org)) == (0, 0)
    assert await yard.books.post(yard.event(org, request, hold)) == []
    assert await yard.books.value("SELECT kind FROM anomaly WHERE request_id = $1", request) == "same id, other payload"
    assert len(await yard.charges(org)) == 1
    there = await yard.books.posted(org)
    assert (there.cash.posted, there.plan.posted) == (CREDIT, PLAN)
    assert await yard.books.difference() is None


async def test_a_booked_request_whose_settling_was_lost_is_settled_with_its_charge(yard: Yard) -> None:
    """At once: what is in the books needs no watermark."""
    org = await yard.org()
    request, hold = await yard.held(org)
    event = yard.event(org, request, hold)
    assert await yard.books.post(event) == []
    await yard.report(behind=HOUR)
    await yard.turns()
    assert await yard.holding(org) == (0, 0)
    assert await yard.leases.held(org) == (0, event.cost)
    assert yard.metric("tokenoutput_orphan_holds_total", end="settled") == 1
    assert len(await yard.charges(org)) == 1
    assert await yard.books.difference() is None


async def test_a_parked_event_keeps_its_hold_and_its_lease_until_somebody_decides(yard: Yard) -> None:
    doubtful, waiting = await yard.org(), await yard.org()
    lost, _ = await yard.held(doubtful)
    await yard.lose_redis(doubtful)
    assert (await yard.leases.extend(LeaseRequest(waiting, SHARD, NEED))).state == "ready"
    request, hold = await yard.held(waiting)
    epochs = {doubtful: 1, waiting: hold.epoch}
    for org, id_ in ((doubtful, lost), (waiting, request)):
        async with yard.books.pool.acquire() as connection:
            await parked.park(connection, [Parcel(id_.bytes, "looks odd", id_, org, epochs[org])])
    await yard.report()
    await yard.turns(2)
    assert await yard.states(doubtful) == ["doubt"]
    assert (await yard.holding(waiting), await yard.charges(waiting)) == ((1, NEED), [])
    async with yard.books.pool.acquire() as connection:
        for number in (1, 2):
            assert await parked.decide(connection, number, "void", "ops: it is nothing")
    await yard.turns()
    assert await yard.states(doubtful) == ["closed"]
    assert await yard.holding(waiting) == (0, 0)
    await everything_back(yard, doubtful)


async def test_a_parked_event_of_another_epoch_or_org_keeps_nothing(yard: Yard) -> None:
    org = await yard.org()
    await yard.lose_redis(org)
    async with yard.books.pool.acquire() as connection:
        await parked.park(connection, [Parcel(b"1", "odd", None, org, 2), Parcel(b"2", "odd", None, org + 1, 1)])
    await yard.report()
    await yard.turns()
    await everything_back(yard, org)


async def test_a_hold_of_an_epoch_before_the_present_one_goes_too(yard: Yard) -> None:
    org = await yard.org()
    request, hold = await yard.held(org)
    value = f"{hold.cash}:0:{hold.epoch + 7}:{hold.authorized_at}:{KEY}"
    await yard.client.hset(lease_keys(org).holds, request.hex, value)
    await yard.report()
    await yard.turns()
    assert (await yard.holding(org))[0] == 0
    assert [charge["outcome"] for charge in await yard.charges(org)] == ["void"]


async def test_holds_that_a_restarted_redis_kept_are_ended_before_their_lease_is_closed(yard: Yard) -> None:
    org = await yard.org()
    request, _ = await yard.held(org)
    await yard.client.hset(lease_keys(org).lease, "g", "0" * 40)
    assert await yard.leases.close_idle(org)
    await yard.age_doubt(org, 5 * MINUTE)
    await yard.report()
    await yard.turns()
    assert [charge["request_id"] for charge in await yard.charges(org)] == [request]
    assert (await yard.holding(org))[0] == 0
    await everything_back(yard, org)


async def test_an_idle_lease_is_closed_and_its_org_can_buy_at_once(yard: Yard) -> None:
    resting, working, busy = await yard.org(), await yard.org(), await yard.org()
    await yard.held(busy, age=0)
    await idle(yard, resting)
    await idle(yard, working, 9 * MINUTE)
    await idle(yard, busy)
    await yard.report()
    await yard.turns()
    assert [await yard.states(org) for org in (resting, working, busy)] == [["doubt"], ["open"], ["open"]]
    assert yard.metric("tokenoutput_leases_closed_total", why="idle") == 1
    assert await yard.leases.extend(LeaseRequest(resting, SHARD, CREDIT)) == LeaseAnswer("ready", CREDIT)
    assert (await yard.held(resting, age=0))[1].epoch == 2
    await yard.age_doubt(resting)
    await yard.turns()
    assert await yard.states(resting) == ["closed", "open"]
    assert await yard.books.difference() is None


async def test_what_was_spent_in_an_idle_lease_stays_aside_until_it_is_booked(yard: Yard) -> None:
    org = await yard.org()
    request, hold = await yard.held(org)
    event = yard.event(org, request, hold)
    await yard.settled(org, request, event.cost)
    await idle(yard, org)
    await yard.report(behind=HOUR)
    await yard.turns()
    there = await yard.books.posted(org)
    assert (there.leased, there.in_doubt) == (event.cost, event.cost)
    assert await yard.books.post(event) == []
    await yard.age_doubt(org)
    await yard.report()
    await yard.turns()
    await everything_back(yard, org, event.cost)


async def test_a_lease_that_redis_lost_comes_back_though_nobody_asks(yard: Yard) -> None:
    org = await yard.org()
    await yard.client.flushdb()
    await yard.report()
    await yard.turns()
    assert await yard.states(org) == ["doubt"]
    await yard.age_doubt(org)
    await yard.turns()
    await everything_back(yard, org)
