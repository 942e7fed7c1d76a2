"""Clocks that are apart, deaths in between and others at the same work: nothing goes back too early or twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog
from prometheus_client import CollectorRegistry

from libs.contracts.account import LeaseRequest, lease_keys
from libs.pricing import NANO
from libs.runtime.clock import now_ms
from services.billing import reclaim
from services.billing.store import leases as lease_store
from services.billing.store import reclaiming
from tests.fixtures.books import SHARD
from tests.fixtures.reclaiming import KEY, MINUTE, NEED, Yard, everything_back, idle

HOUR = 60 * MINUTE


async def doubt_and_orphan(yard: Yard) -> tuple[int, int]:
    """An org whose lease could be closed, and one with a hold that could be voided."""
    doubtful, orphaned = await yard.org(), await yard.org()
    await yard.lose_redis(doubtful)
    assert (await yard.leases.extend(LeaseRequest(orphaned, SHARD, NEED))).state == "ready"
    await yard.held(orphaned)
    return doubtful, orphaned


async def untouched(yard: Yard, doubtful: int, orphaned: int) -> bool:
    return await yard.states(doubtful) == ["doubt"] and await yard.holding(orphaned) == (1, NEED)


@pytest.mark.parametrize("ahead", [3000, -3000])
async def test_clocks_that_are_apart_stop_everything(yard: Yard, ahead: int) -> None:
    orgs = await doubt_and_orphan(yard)
    await yard.report()
    registry = CollectorRegistry()
    await yard.another(registry, our_clock=lambda: now_ms() + ahead).turn()
    assert await untouched(yard, *orgs)
    assert registry.get_sample_value("tokenoutput_reclaim_paused") == 1
    await yard.turns()
    assert not await untouched(yard, *orgs)


async def test_a_router_whose_clock_is_wrong_stops_everything(yard: Yard) -> None:
    orgs = await doubt_and_orphan(yard)
    await yard.report("right")
    await yard.report("wrong", skew_ms=2001)
    await yard.turns()
    assert await untouched(yard, *orgs)
    assert yard.metric("tokenoutput_reclaim_paused") == 1
    await yard.report("wrong", skew_ms=2000)
    await yard.turns()
    assert not await untouched(yard, *orgs)


async def test_a_postgresql_that_was_set_back_stops_everything(yard: Yard) -> None:
    """It wrote down a later time than it has now."""
    orgs = await doubt_and_orphan(yard)
    await yard.report()
    await yard.books.pool.execute("UPDATE router SET heard_at = now() + interval '1 minute'")
    await yard.turns()
    assert await untouched(yard, *orgs)


async def test_a_lease_that_is_lost_after_clocks_were_set_back_was_held_in_before_that(yard: Yard) -> None:
    """Its holds tell a time that is still to come; so does the time at which it came into doubt."""
    org = await yard.org()
    await yard.report()
    await yard.books.pool.execute("UPDATE router SET heard_at = now() + interval '1 minute'")
    await yard.client.flushdb()
    assert await yard.leases.close_idle(org)
    assert await yard.books.value(
        "SELECT doubt_at = (SELECT max(heard_at) FROM router) FROM lease WHERE state = 'doubt'"
    )


async def test_clocks_that_stay_apart_are_complained_of_once_a_minute(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.report(skew_ms=60_000)
    seconds = 0.0
    monkeypatch.setattr(reclaim, "monotonic", lambda: seconds)
    with structlog.testing.capture_logs() as logs:
        for seconds in (0, 1, 4.9, 5, 6, 60, 64.9, 65, 66):  # noqa: B007 - read by the clock above
            await yard.turns()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["clocks_apart"] * 2


async def test_a_crash_between_redis_and_the_ledger_is_healed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is gone from Redis, and the ledger does not know it yet."""
    org = await yard.org()
    await idle(yard, org)
    await yard.report()

    async def dies(*_: object) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(lease_store, "doubt", dies)
        await yard.turns()
    assert (await yard.states(org), await yard.client.exists(lease_keys(org).lease)) == (["open"], 0)
    await yard.turns()
    assert await yard.states(org) == ["doubt"]
    await yard.age_doubt(org)
    await yard.turns()
    await everything_back(yard, org)


async def test_a_crash_between_the_void_charge_and_redis_is_healed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    org = await yard.org()
    await yard.held(org)
    await yard.report()

    async def dies(_: object) -> None:
        raise ConnectionError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(yard.holds, "settle_all", dies)
        with pytest.raises(ConnectionError):
            await yard.turns()
    assert (len(await yard.charges(org)), await yard.holding(org)) == (1, (1, NEED))
    await yard.turns()
    assert (len(await yard.charges(org)), await yard.holding(org)) == (1, (0, 0))
    assert await yard.leases.held(org) == (0, 0)


@asynccontextmanager
async def everybody(*_: object) -> AsyncIterator[bool]:
    yield True


@pytest.mark.parametrize("one_at_a_time", [True, False])
async def test_two_who_reclaim_at_once_do_no_harm(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, one_at_a_time: bool
) -> None:
    if not one_at_a_time:
        monkeypatch.setattr(reclaiming, "alone", everybody)
    orgs = [await yard.org() for _ in range(6)]
    for org in orgs[:3]:
        await yard.held(org)
    await yard.client.delete(*(lease_keys(org).lease for org in orgs[3:]))
    for org in orgs[3:]:
        await yard.leases.close_idle(org)
        await yard.age_doubt(org)
    await yard.report()
    others = [yard.another() for _ in range(3)]
    await asyncio.gather(*(each.turn() for each in others))
    for org in orgs[:3]:
        assert (await yard.holding(org), len(await yard.charges(org))) == ((0, 0), 1)
        assert await yard.leases.held(org) == (0, 0)
    for org in orgs[3:]:
        await everything_back(yard, org)


async def test_posting_and_closing_do_not_wait_for_each_other_in_a_circle(yard: Yard) -> None:
    orgs = [await yard.org() for _ in range(5)]
    for org in orgs:
        await yard.lose_redis(org)
    await yard.report()

    async def post() -> None:
        for _ in range(10):
            assert await yard.books.post(*(yard.books.event(org) for org in reversed(orgs))) == []

    await asyncio.gather(post(), yard.turns(3), post())
    assert {state for org in orgs for state in await yard.states(org)} == {"closed"}
    assert await yard.books.difference() is None


async def test_every_lease_has_its_turn_however_many_there_are(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclaim, "LOOKED_AT", 2)
    monkeypatch.setattr(reclaim, "ENDED", 1)
    orgs = [await yard.org() for _ in range(7)]
    for org in orgs[::2]:
        await yard.held(org)
        await idle(yard, org, 0)
    for org in orgs[1::2]:
        await idle(yard, org)
    await yard.report()
    await yard.turns(8)
    assert [await yard.states(org) for org in orgs] == [["open"], ["doubt"]] * 3 + [["open"]]
    assert [await yard.holding(org) for org in orgs] == [(0, 0)] * 7


async def test_a_hold_that_cannot_be_read_or_written_down_stands_in_nobodys_way(yard: Yard) -> None:
    org = await yard.org()
    ancient = "0" * 31 + "1"
    await yard.client.hset(lease_keys(org).holds, "no id", f"1:0:1:1:{KEY}")
    await yard.client.hset(lease_keys(org).holds, ancient, f"1:0:1:1:{KEY}")
    request, _ = await yard.held(org)
    await yard.report()
    with structlog.testing.capture_logs() as logs:
        await yard.turns(2)
    assert [charge["request_id"] for charge in await yard.charges(org)] == [request]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["hold_unreadable"]


async def test_one_org_that_is_being_worked_on_stops_no_other(yard: Yard) -> None:
    first, second = await yard.org(), await yard.org()
    for org in (first, second):
        await idle(yard, org)
    await yard.report()
    async with yard.books.pool.acquire() as somebody, lease_store.locked(somebody, first):
        await yard.turns()
        assert (await yard.states(first), await yard.states(second)) == (["open"], ["doubt"])
    await yard.turns()
    assert await yard.states(first) == ["doubt"]


async def test_what_a_scrape_sees(yard: Yard) -> None:
    org = await yard.org(credit=NANO)
    await yard.lose_redis(org)
    await yard.report("one", behind=10 * MINUTE - 3000)
    await yard.report("two", behind=HOUR, goodbye=True)
    await yard.turns()
    assert yard.metric("tokenoutput_doubt_nano") == (await yard.books.posted(org)).in_doubt > 0
    assert yard.metric("tokenoutput_doubt_seconds") >= 600
    assert yard.metric("tokenoutput_watermark_lag_seconds") >= 597
    assert [yard.metric("tokenoutput_routers", state=state) for state in ("serving", "gone", "lost")] == [1, 1, 0]
    assert yard.metric("tokenoutput_reclaim_paused") == 0


async def test_an_org_whose_books_are_wrong_keeps_nobody_elses_credit(yard: Yard) -> None:
    wrong, right = await yard.org(), await yard.org()
    for org, age in ((wrong, 11 * MINUTE), (right, 10 * MINUTE)):
        await yard.client.delete(lease_keys(org).lease)
        assert await yard.leases.close_idle(org)
        await yard.age_doubt(org, age)
    await yard.books.tamper(
        "UPDATE billing.balance SET leased = 0 WHERE account_id = "
        "(SELECT min(account_id) FROM billing.account WHERE kind = 'cust_cash')"
    )
    await yard.report()
    with structlog.testing.capture_logs() as logs:
        await yard.turns(2)
    assert await yard.states(wrong) == ["doubt"]
    assert await yard.states(right) == ["closed"]
    assert [line["org"] for line in logs if line["event"] == "lease_cannot_be_ended"] == [wrong]


async def test_a_goodbye_of_an_earlier_run_comes_too_late(yard: Yard) -> None:
    org = await yard.org()
    await yard.held(org)
    await yard.report(behind=HOUR, run=1)
    await yard.report(behind=10 * MINUTE + 1000, run=2)
    late = await yard.report(behind=MINUTE * 20, run=1, goodbye=True)
    assert late.state == "serving"
    await yard.turns()
    assert await yard.charges(org) == []
    assert (await yard.report(behind=10 * MINUTE + 1000, run=2, goodbye=True)).state == "gone"


async def test_a_spool_that_is_older_than_its_goodbye_may_come_back(yard: Yard) -> None:
    await yard.report(behind=MINUTE, run=5)
    gone = await yard.report(behind=MINUTE, run=5, goodbye=True)
    back = await yard.report(watermark=0, run=2)
    assert (gone.state, back.state) == ("gone", "serving")
    assert back.watermark == gone.watermark
