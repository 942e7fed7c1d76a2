"""Leased credit between a real PostgreSQL and a real Redis."""

import asyncio

import pytest

from libs import pricing
from libs.contracts.account import LeaseAnswer, LeaseRequest
from libs.contracts.dispatch import Hold
from services.billing.leases import Leases
from services.billing.store import accounts
from services.billing.store import leases as store
from tests.fixtures.books import CREDIT, SHARD, Books
from tests.fixtures.lending import CHUNK, MOST, Lender, end, hold, limits, lose, state


async def test_a_lease_is_a_chunk_or_what_is_needed_or_what_there_is(books: Books, leases: Leases) -> None:
    chunk, dear, poor = await books.org(leased=0), await books.org(leased=0), await books.org(credit=1000, leased=0)
    assert await leases.extend(LeaseRequest(chunk, SHARD, 10)) == LeaseAnswer("ready", CHUNK)
    assert await leases.extend(LeaseRequest(dear, SHARD, 3 * CHUNK)) == LeaseAnswer("ready", 3 * CHUNK)
    assert await leases.extend(LeaseRequest(poor, SHARD, 900)) == LeaseAnswer("ready", 1000)
    assert (await books.posted(chunk)).leased == CHUNK
    assert await books.difference() is None


async def test_what_an_org_does_not_have_is_not_leased(books: Books, leases: Leases) -> None:
    org = await books.org(credit=1000, leased=0)
    assert await leases.extend(LeaseRequest(org, SHARD, 1001)) == LeaseAnswer("insufficient", 1000)
    assert await leases.extend(LeaseRequest(987_654, SHARD, 1)) == LeaseAnswer("insufficient", 0)
    assert (await books.posted(org)).leased == 0


async def test_holds_live_inside_the_lease_and_never_beyond_it(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=1000, leased=0)
    assert await hold(lender, org, 0, 100) == "cold"
    await leases.extend(LeaseRequest(org, SHARD, 100))
    answers = await asyncio.gather(*(hold(lender, org, n, 300) for n in range(1, 9)))
    assert [answer for answer in answers if not isinstance(answer, Hold)] == ["need"] * 5
    assert await leases.held(org) == (900, 0)


async def test_a_lost_redis_puts_its_lease_in_doubt_and_never_makes_the_same_again(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 600))
    await lose(lender)
    answer = await leases.extend(LeaseRequest(org, SHARD, 100))
    assert answer == LeaseAnswer("recovering", 0), "all of it was leased, so all of it is in doubt"
    there = await books.posted(org)
    assert (there.posted, there.leased, there.in_doubt) == (1000, 1000, 1000)
    await books.credit(org, 500)
    assert await leases.extend(LeaseRequest(org, SHARD, 100)) == LeaseAnswer("ready", 500)
    assert await books.value("SELECT max(epoch) FROM lease WHERE org_id = $1", org) == 2
    assert await books.difference() is None


async def test_parallel_calls_lease_no_more_than_there_is(books: Books, leases: Leases) -> None:
    org = await books.org(credit=CREDIT, leased=0)
    answers = await asyncio.gather(*(leases.extend(LeaseRequest(org, SHARD, 4 * pricing.NANO)) for _ in range(8)))
    assert {answer.state for answer in answers} == {"ready"}
    there = await books.posted(org)
    assert there.leased <= there.posted
    assert await books.value("SELECT count(*) FROM lease WHERE org_id = $1 AND state = 'open'", org) == 1


async def test_a_grant_that_redis_never_saw_is_given_again(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 100))
    async with books.pool.acquire() as connection, connection.transaction():
        await store.grant(connection, org, 1, CHUNK)
        await accounts.change_leased(connection, org, CHUNK)
    assert (await leases.extend(LeaseRequest(org, SHARD, CHUNK + 1))).available == 2 * CHUNK
    assert await limits(lender, org) == [2 * CHUNK, 0]


@pytest.mark.parametrize("fails", ["before it is sent", "stale"])
async def test_a_lease_that_never_came_to_redis_is_taken_back(
    books: Books, leases: Leases, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    org = await books.org(credit=1000, leased=0)

    async def never(**_: object) -> str:
        if fails == "stale":
            return "STALE"
        raise ConnectionError("cut before it was sent")

    with monkeypatch.context() as broken:
        broken.setattr(leases, "_create", never)
        await leases.extend(LeaseRequest(org, SHARD, 100))
    there = await books.posted(org)
    assert (there.leased, there.in_doubt) == (0, 0)
    assert await leases.extend(LeaseRequest(org, SHARD, 100)) == LeaseAnswer("ready", 1000)
    assert await books.difference() is None


async def test_posting_and_opening_leases_do_not_lock_each_other_out(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org()

    async def open_again() -> None:
        for _ in range(10):
            await lose(lender)
            await leases.extend(LeaseRequest(org, SHARD, 1))

    async def post() -> None:
        for _ in range(20):
            assert await books.post(books.event(org)) == []

    await asyncio.gather(open_again(), post())
    assert await books.difference() is None


async def test_plan_credit_is_leased_and_spent_before_cash(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=1000, leased=0)
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, 400, f"promo:{org}", "test", "cust_plan")
    assert await leases.extend(LeaseRequest(org, SHARD, 300)) == LeaseAnswer("ready", 1400)
    assert await state(books, org) == ("open", 1000, 400)
    got = await hold(lender, org, 1, 500)
    assert isinstance(got, Hold)
    assert (got.plan, got.cash) == (400, 100)
    there = await books.posted(org)
    assert (there.plan.leased, there.cash.leased) == (400, 1000)
    assert await leases.extend(LeaseRequest(org, SHARD, 901)) == LeaseAnswer("insufficient", 900)


async def test_credit_that_comes_later_goes_into_the_same_lease(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 1000))
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, 400, f"promo:{org}", "test", "cust_plan")
    assert await leases.extend(LeaseRequest(org, SHARD, 1100)) == LeaseAnswer("ready", 1400)
    assert await state(books, org) == ("open", 1000, 400)
    assert await limits(lender, org) == [1000, 400]
    assert await books.difference() is None


async def test_a_fast_org_gets_more_at_a_time(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=1000 * CHUNK, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 1))
    for number in range(1, 5):
        await leases.extend(LeaseRequest(org, SHARD, CHUNK))
        assert isinstance(await hold(lender, org, number, CHUNK), Hold)
        await end(lender, org, number, CHUNK)
    assert (await leases.extend(LeaseRequest(org, SHARD, CHUNK))).available > CHUNK
    _, granted, _ = await state(books, org)
    assert isinstance(granted, int)
    assert 5 * CHUNK < granted <= 4 * CHUNK + MOST + 3 * CHUNK
