"""The scripts by which credit is set aside and spent, in a real Redis: what they answer and what they count."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.account import lease_keys
from libs.contracts.dispatch import Hold
from libs.runtime import redis
from libs.runtime.holds import Ended, NotTaken, Payer
from services.billing.portion import MOST_LEASED
from tests.fixtures.lending import ORG, SHARD, Lender
from tests.fixtures.stores import Stores

EVERYTHING = ("lim", "used", "held", "plim", "pused", "pheld")


def split(got: Hold | NotTaken) -> tuple[int, int]:
    assert isinstance(got, Hold), got
    return got.cash, got.plan


async def test_without_a_lease_there_is_no_hold(lender: Lender) -> None:
    assert await lender.take(1, 10) == NotTaken("cold")
    await lender.create(100)
    assert isinstance(await lender.take(1, 10), Hold)


async def test_a_lease_of_another_process_is_none(lender: Lender) -> None:
    await lender.create(100)
    await lender.everything.hset(lease_keys(ORG).lease, "g", "0" * 40)
    assert await lender.take(1, 10) == NotTaken("cold")
    assert (await lender.look())[0] == "COLD"
    assert await lender.grant(500) == "OLD"
    assert await lender.revoke() == ["OLD"]
    assert await lender.close() == ["OLD"]
    assert await lender.tell(70, 5) == "OLD"


async def test_a_hold_says_where_and_when_it_was_made(lender: Lender) -> None:
    await lender.create(100, epoch=3)
    before = await lender.everything.time()
    got = await lender.take(1, 10)
    after = await lender.everything.time()
    assert isinstance(got, Hold)
    assert (got.cash, got.plan, got.epoch, got.shard) == (10, 0, 3, SHARD)
    assert before[0] * 1000 + before[1] // 1000 <= got.authorized_at <= after[0] * 1000 + after[1] // 1000
    assert await lender.amounts("t") == (got.authorized_at,)
    kept = await lender.everything.hvals(lease_keys(ORG).holds)
    assert kept == [f"10:0:3:{got.authorized_at}:70"]


async def test_the_same_request_is_held_once(lender: Lender) -> None:
    await lender.create(100, 30)
    first = await lender.take(1, 50)
    assert await lender.take(1, 50) == first
    assert await lender.take(1, 99) == first, "whatever it asks for now"
    assert await lender.amounts("held", "pheld") == (20, 30)
    assert await lender.spent_by() == (0, 50)


async def test_the_plan_is_held_and_spent_before_cash(lender: Lender) -> None:
    await lender.create(100, 30)
    assert split(await lender.take(1, 20)) == (0, 20)
    assert split(await lender.take(2, 20)) == (10, 10)
    assert split(await lender.take(3, 20)) == (20, 0)
    assert await lender.end(2, 15)
    assert await lender.amounts(*EVERYTHING) == (100, 5, 20, 30, 10, 20)
    assert await lender.end(1, 0)
    assert split(await lender.take(4, 25)) == (5, 20)


async def test_what_does_not_fit_is_refused_with_what_would(lender: Lender) -> None:
    await lender.create(100, 30)
    await lender.held(50)
    assert await lender.take(1, 81) == NotTaken("need", 80)
    assert split(await lender.take(1, 80)) == (80, 0)
    assert await lender.take(2, 1) == NotTaken("need", 0)


async def test_a_hold_ends_once_and_costs_no_more_than_itself(lender: Lender) -> None:
    await lender.create(100, 30)
    for number in (1, 2, 3):
        await lender.take(number, 40)
    assert await lender.end(1, 10**18)
    assert not await lender.end(1, 10**18)
    assert await lender.end(2, 7)
    assert not await lender.end(9, 7)
    assert await lender.amounts(*EVERYTHING) == (100, 17, 40, 30, 30, 0)
    assert await lender.spent_by() == (47, 40)


@pytest.mark.parametrize("need", [0, -1, 10**30, "1e3", "1.5", "nan", "inf", "0x10", "", " 5", "5 ", "05"])
async def test_only_a_positive_integer_can_be_held(lender: Lender, need: object) -> None:
    await lender.create(MOST_LEASED)
    with pytest.raises(redis.Failed) if need != 10**30 else pytest.raises(AssertionError):
        assert isinstance(await lender.take(1, need), Hold)  # type: ignore[arg-type]
    assert await lender.amounts(*EVERYTHING) == (MOST_LEASED, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("cost", [-1, "1.5", "1e3", "nan", "-0", ""])
async def test_a_hold_cannot_end_at_a_profit(lender: Lender, cost: object) -> None:
    await lender.create(100)
    await lender.take(1, 10)
    with pytest.raises(redis.Failed):
        await lender.end(1, cost)  # type: ignore[arg-type]
    assert await lender.amounts(*EVERYTHING) == (100, 0, 10, 0, 0, 0)


async def test_amounts_stay_exact_up_to_the_largest_lease(lender: Lender) -> None:
    await lender.create(MOST_LEASED - 1, 1)
    assert split(await lender.take(1, 1)) == (0, 1)
    most = MOST_LEASED - 2
    assert split(await lender.take(2, most)) == (most, 0)
    assert await lender.take(3, 2) == NotTaken("need", 1)
    assert await lender.end(2, most - 1)
    assert await lender.amounts(*EVERYTHING) == (MOST_LEASED - 1, most - 1, 0, 1, 0, 1)
    assert await lender.take(4, 3) == NotTaken("need", 2)
    assert split(await lender.take(4, 2)) == (2, 0)


async def test_many_at_once_never_hold_more_than_there_is(lender: Lender) -> None:
    await lender.create(1000, 500)
    chance = random.Random(5)  # noqa: S311 - a schedule, not a secret
    needs = {number: chance.randint(1, 90) for number in range(1, 200)}
    got = dict(zip(needs, await asyncio.gather(*(lender.take(n, need) for n, need in needs.items())), strict=True))
    taken = {number: hold for number, hold in got.items() if isinstance(hold, Hold)}
    assert sum(hold.amount for hold in taken.values()) <= 1500
    assert all(hold.amount == needs[number] for number, hold in taken.items())
    assert await lender.amounts("held", "pheld") == (
        sum(hold.cash for hold in taken.values()),
        sum(hold.plan for hold in taken.values()),
    )
    await lender.holds.settle_all([Ended(ORG, _id(number), needs[number] // 2) for number in taken])
    spent = sum(needs[number] // 2 for number in taken)
    used, held, plan_used, plan_held = await lender.amounts("used", "held", "pused", "pheld")
    assert (used + plan_used, held, plan_held) == (spent, 0, 0)
    assert await lender.everything.hlen(lease_keys(ORG).holds) == 0


async def test_a_lost_script_is_brought_again_and_nothing_is_held_twice(lender: Lender) -> None:
    await lender.create(100)
    await lender.take(1, 10)
    await lender.everything.script_flush()
    assert isinstance(await lender.take(2, 20), Hold)
    await lender.everything.script_flush()
    assert isinstance(await lender.take(1, 10), Hold)
    assert await lender.amounts("held") == (30,)
    await lender.everything.script_flush()
    assert await lender.end(1, 4)
    await lender.everything.script_flush()
    await lender.holds.settle_all([Ended(ORG, _id(2), 20)])
    assert await lender.amounts("held", "used") == (0, 24)


async def test_a_hold_that_redis_made_unheard_ends_again(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    await lender.create(100)
    made = lender.holds._hold

    async def unheard(**options: Any) -> None:
        await made(**options)
        raise TimeoutError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(lender.holds, "_hold", unheard)
        with pytest.raises(TimeoutError):
            await lender.take(1, 10)
    assert await lender.amounts("held") == (10,)
    await lender.holds.last_call()
    assert await lender.amounts("held", "used") == (0, 0)


async def test_a_hold_made_unheard_waits_for_who_may_ask_again(lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    await lender.create(100)
    made = lender.holds._hold

    async def unheard(**options: Any) -> None:
        await made(**options)
        raise TimeoutError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(lender.holds, "_hold", unheard)
        with pytest.raises(TimeoutError):
            await lender.holds.take(Payer(ORG), _id(1), 10, shard=SHARD, again=True)
    got = await lender.holds.take(Payer(ORG), _id(1), 10, shard=SHARD, again=True)
    await lender.holds.last_call()
    assert isinstance(got, Hold)
    assert await lender.amounts("held") == (10,), "it is not ended under the one who has it"


async def test_each_service_may_do_its_part_and_no_other(stores: Stores, lender: Lender) -> None:
    await lender.create(100)
    edge = redis.client(stores.edge_redis_url, seconds=2, retries=0)
    router = redis.client(stores.router_redis_url, seconds=2, retries=0)
    async with edge as at_the_edge, router as at_the_router:
        assert isinstance(await Lender(lender.client, at_the_edge).take(1, 10), Hold)
        assert await Lender(lender.client, at_the_router).end(1, 5)
        with pytest.raises(redis.Failed):
            await Lender(at_the_edge, at_the_edge).create(100, org=ORG + 1)
        with pytest.raises(redis.Failed):
            await Lender(lender.client, at_the_router).take(2, 10)


def _id(number: int) -> UUID:
    return UUID(int=number)
