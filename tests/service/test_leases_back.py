"""Leased credit on its way back: what is idle, revoked, frozen, lost or held against a key."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.account import LeaseAnswer, LeaseRequest
from libs.contracts.dispatch import Hold
from libs.runtime.holds import NotTaken, Payer
from services.billing.leases import Leases
from services.billing.portion import NOTHING, Amounts
from services.billing.store import accounts
from services.billing.store import leases as store
from tests.fixtures.books import CREDIT, SHARD, Books
from tests.fixtures.lending import CHUNK, Lender, end, hold, lose, state


async def test_the_moment_of_doubt_is_no_earlier_than_the_clock_of_redis(books: Books, leases: Leases) -> None:
    org = await books.org(leased=1000)
    ahead = 4_000_000_000_123
    async with books.pool.acquire() as connection:
        await store.doubt(connection, org, SHARD, ahead)
        await store.create(connection, org, SHARD, "gen", 10)
        await store.doubt(connection, org, SHARD, 1000)
    query = "SELECT (extract(EPOCH FROM doubt_at) * 1000)::bigint FROM lease WHERE org_id = $1 ORDER BY epoch"
    first, second = [row[0] for row in await books.pool.fetch(query, org)]
    assert first == ahead
    assert 1_700_000_000_000 < second < ahead, "the ledger's clock is the later one"


async def test_an_idle_lease_gives_back_what_was_not_spent(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=1000, leased=0)
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, 400, f"promo:{org}", "test", "cust_plan")
    await leases.extend(LeaseRequest(org, SHARD, 1))
    await hold(lender, org, 1, 500)
    assert not await leases.close_idle(org, 0), "something is held"
    await end(lender, org, 1, 450)
    assert not await leases.close_idle(org), "it was asked for just now"
    assert await leases.close_idle(org, 0)
    assert await state(books, org) == ("doubt", 50, 400)
    there = await books.posted(org)
    assert (there.cash.leased, there.plan.leased, there.in_doubt) == (50, 400, 450)
    assert await hold(lender, org, 2, 1) == "cold"
    assert not await leases.close_idle(org, 0), "there is no lease any more"
    assert await leases.extend(LeaseRequest(org, SHARD, 951)) == LeaseAnswer("recovering", 950)
    assert await leases.extend(LeaseRequest(org, SHARD, 950)) == LeaseAnswer("ready", 950)
    assert await books.difference() is None


async def test_a_lease_whose_redis_is_lost_is_put_in_doubt_when_nobody_asks(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 1000))
    await lose(lender)
    assert await leases.close_idle(org)
    assert await state(books, org) == ("doubt", 1000, 0)
    there = await books.posted(org)
    assert (there.leased, there.in_doubt) == (1000, 1000)


async def test_a_lease_about_to_be_made_is_not_made_after_it_was_put_in_doubt(
    books: Books, leases: Leases, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A billing service that was paused between its commit and Redis, and lost its lock."""
    org = await books.org(credit=1000, leased=0)
    late: list[Any] = []

    async def paused(**options: Any) -> str:
        late.append(options)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(leases, "_create", paused)
        with pytest.raises(asyncio.CancelledError):
            await leases.extend(LeaseRequest(org, SHARD, 1000))
    assert await leases.close_idle(org)
    assert await leases._create(**late[0]) == "STALE"
    assert await hold(lender, org, 1, 10) == "cold"


async def test_revoking_takes_back_what_is_free_and_leaves_what_runs(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 1000))
    await hold(lender, org, 1, 300)
    await hold(lender, org, 2, 200)
    await end(lender, org, 2, 50)
    assert await leases.revoke(org) == Amounts(650)
    assert await state(books, org) == ("open", 350, 0)
    assert (await books.posted(org)).leased == 350
    assert await hold(lender, org, 3, 1) == "need"
    assert await end(lender, org, 1, 300)
    assert await leases.revoke(org) == NOTHING
    assert await leases.extend(LeaseRequest(org, SHARD, 1)) == LeaseAnswer("ready", 650)
    assert isinstance(await hold(lender, org, 3, 650), Hold)
    assert await books.difference() is None


async def test_a_grant_of_before_comes_to_nothing_after_a_revocation(
    books: Books, leases: Leases, lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = await books.org(credit=1000, leased=0)
    leases._least = 100
    await leases.extend(LeaseRequest(org, SHARD, 100))
    late: list[Any] = []

    async def paused(**options: Any) -> str:
        late.append(options)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(leases, "_grant", paused)
        with pytest.raises(asyncio.CancelledError):
            await leases.extend(LeaseRequest(org, SHARD, 900))
    assert await state(books, org) == ("open", 900, 0)
    assert await leases.revoke(org) == Amounts(900), "what was granted and never came is taken back too"
    assert await leases._grant(**late[0]) == "OLD"
    assert await hold(lender, org, 1, 1) == "need"
    assert (await books.posted(org)).leased == 0


async def test_a_lease_charged_with_more_than_redis_knows_gives_nothing_back(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=CREDIT, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 10_000_000))
    assert await books.post(books.event(org)) == []
    assert await leases.revoke(org) == NOTHING
    assert await leases.close_idle(org, 0)
    lease, granted, _ = await state(books, org)
    assert (lease, granted) == ("doubt", CHUNK)
    assert await books.difference() is None


async def test_revoking_where_redis_is_lost_puts_the_lease_in_doubt(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=1000, leased=0)
    assert await leases.revoke(org) == NOTHING
    await leases.extend(LeaseRequest(org, SHARD, 1000))
    await lose(lender)
    assert await leases.revoke(org) == NOTHING
    assert await state(books, org) == ("doubt", 1000, 0)


async def test_a_frozen_org_gets_nothing_although_it_was_granted_more_than_redis_knows(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 100))
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.freeze(connection, org, "a dispute")
    assert await leases.extend(LeaseRequest(org, SHARD, 10)) == LeaseAnswer("frozen", 0)
    await leases.revoke(org)
    assert await hold(lender, org, 1, 1) == "need"
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, 400, f"promo:{org}", "test", "cust_plan")
        assert (await accounts.posted(connection, org)).frozen, "a new account of a frozen org is frozen"
        await accounts.freeze(connection, org, None)
    assert (await leases.extend(LeaseRequest(org, SHARD, 10))).state == "ready"
    assert isinstance(await hold(lender, org, 1, 1), Hold)


@pytest.mark.parametrize(
    ("lost", "change"),
    [
        ("UPDATE lease SET granted = 400", "UPDATE balance SET leased = 1400"),
        ("DELETE FROM lease", "UPDATE balance SET leased = 1000"),
    ],
)
async def test_a_ledger_that_came_back_from_a_backup_goes_on_with_a_lease_of_its_own(
    books: Books, leases: Leases, lender: Lender, lost: str, change: str
) -> None:
    org = await books.org(credit=1000, leased=0)
    await lose(lender)
    await leases.extend(LeaseRequest(org, SHARD, 1))
    await lose(lender)
    await books.credit(org, 500)
    await leases.extend(LeaseRequest(org, SHARD, 1))
    await books.tamper(f"{lost} WHERE org_id = {org} AND epoch = 2")
    await books.tamper(f"{change} WHERE leased = 1500")
    await books.credit(org, 70)
    assert (await leases.extend(LeaseRequest(org, SHARD, 70))).state == "ready"
    got = await hold(lender, org, 1, 70)
    assert isinstance(got, Hold)
    assert got.epoch == 3, "what was held in the lost one is never counted in another"
    assert await books.difference() is None


async def test_a_key_s_earlier_spending_is_told_to_the_lease(books: Books, leases: Leases, lender: Lender) -> None:
    org = await books.org(credit=CREDIT, leased=10_000_000)
    spent = books.event(org, key=71)
    assert await books.post(spent) == []
    left = 10_000_000 - spent.cost
    await leases.extend(LeaseRequest(org, SHARD, 1, key=71))  # the lease that the books began with is lost
    cap = 2 * spent.cost + left
    assert await hold(lender, org, 1, spent.cost + 1, key=71, cap=cap) == "keycap"
    assert isinstance(await hold(lender, org, 1, spent.cost, key=71, cap=cap), Hold)
    assert await hold(lender, org, 2, 1, key=72, cap=cap) == "keycold"
    await leases.extend(LeaseRequest(org, SHARD, 1, key=72))
    assert await hold(lender, org, 2, cap - left + 1, key=72, cap=cap) == "keycap"
    assert isinstance(await hold(lender, org, 2, cap - left, key=72, cap=cap), Hold)


async def test_doubt_that_has_ended_is_not_held_against_a_key_any_more(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=CREDIT, leased=1000)
    await leases.extend(LeaseRequest(org, SHARD, 1, key=70))
    refused = await lender.holds.take(Payer(org, 70, 900), UUID(int=1), 100, shard=SHARD)
    assert refused == NotTaken("keycap", 0, 1000)
    async with books.pool.acquire() as connection, connection.transaction():
        await store.close(connection, org, 1)
        await accounts.change_leased(connection, org, -1000)
    await leases.extend(LeaseRequest(org, SHARD, 1, key=70))
    assert isinstance(await hold(lender, org, 1, 900, cap=900), Hold)


async def test_opening_revoking_closing_and_posting_at_once_keep_the_books_right(
    books: Books, leases: Leases, lender: Lender
) -> None:
    org = await books.org(credit=CREDIT, leased=10**9)
    numbers = iter(range(1, 10_000))

    async def spend() -> None:
        for _ in range(25):
            number = next(numbers)
            if isinstance(await hold(lender, org, number, 1000), Hold):
                await end(lender, org, number, 400)
            else:
                await leases.extend(LeaseRequest(org, SHARD, 1000))

    async def disturb() -> None:
        for turn in range(12):
            does = (lambda: leases.close_idle(org, 0), lambda: leases.revoke(org), lambda: lose(lender))[turn % 3]
            await does()

    async def post() -> None:
        for _ in range(15):
            assert await books.post(books.event(org)) == []

    await asyncio.gather(spend(), spend(), disturb(), disturb(), post())
    there = await books.posted(org)
    assert 0 <= there.leased <= there.posted
    assert await books.difference() is None
