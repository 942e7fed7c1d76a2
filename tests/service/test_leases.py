"""Leased credit between a real PostgreSQL and a real Redis."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from libs import pricing
from libs.contracts.account import LeaseAnswer, LeaseRequest, lease_keys
from libs.runtime import redis
from libs.runtime.holds import Ended, Holds
from services.billing.leases import Leases
from services.billing.store import accounts
from services.billing.store import leases as store
from services.edge.admission import HOLD_SCRIPT
from tests.fixtures.books import CREDIT, SHARD, Books
from tests.fixtures.stores import Stores

CHUNK = pricing.NANO // 4


@pytest.fixture
async def client(stores: Stores) -> AsyncIterator[redis.Client]:
    async with redis.client(stores.redis_url, seconds=2, retries=0) as opened:
        await opened.flushdb()
        yield opened


@pytest.fixture
def leases(books: Books, client: redis.Client) -> Leases:
    return Leases(books.pool, client, SHARD, CHUNK)


async def hold(client: redis.Client, org: int, number: int, need: int) -> list[str]:
    keys = lease_keys(org)
    answer: list[str] = await client.register_script(HOLD_SCRIPT)(
        keys=[keys.lease, keys.holds], args=[UUID(int=number).hex, need]
    )
    return answer


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


async def test_holds_live_inside_the_lease_and_never_beyond_it(
    books: Books, leases: Leases, client: redis.Client
) -> None:
    org = await books.org(credit=1000, leased=0)
    assert await hold(client, org, 0, 100) == ["COLD"]
    await leases.extend(LeaseRequest(org, SHARD, 100))
    answers = await asyncio.gather(*(hold(client, org, n, 300) for n in range(1, 9)))
    assert sorted(answer[0] for answer in answers) == ["NEED"] * 5 + ["OK"] * 3
    assert await leases.held(org) == (900, 0)


async def test_the_same_request_is_held_once(books: Books, leases: Leases, client: redis.Client) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 100))
    assert (await hold(client, org, 1, 100))[0] == "OK"
    assert await hold(client, org, 1, 100) == ["DUP", "100", "1"]
    assert await leases.held(org) == (100, 0)


async def test_settling_counts_what_was_spent_once_and_never_more_than_was_held(
    books: Books, leases: Leases, client: redis.Client
) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 100))
    await hold(client, org, 1, 100)
    await hold(client, org, 2, 100)
    holds = Holds(client)
    assert await holds.end(Ended(org, UUID(int=1), 40)) is True
    assert await holds.end(Ended(org, UUID(int=1), 40)) is False
    assert await holds.end(Ended(org, UUID(int=2), 5000)) is True
    assert await leases.held(org) == (0, 140)


async def test_a_lost_redis_puts_its_lease_in_doubt_and_never_makes_the_same_again(
    books: Books, leases: Leases, client: redis.Client
) -> None:
    org = await books.org(credit=1000, leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 600))
    await client.flushdb()
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


async def test_a_grant_that_redis_never_saw_is_given_again(books: Books, leases: Leases, client: redis.Client) -> None:
    org = await books.org(leased=0)
    await leases.extend(LeaseRequest(org, SHARD, 100))
    async with books.pool.acquire() as connection, connection.transaction():
        await store.grant(connection, org, 1, CHUNK)
        await accounts.change_leased(connection, org, CHUNK)
    assert (await leases.extend(LeaseRequest(org, SHARD, CHUNK + 1))).available == 2 * CHUNK
    assert await client.hget(lease_keys(org).lease, "lim") == str(2 * CHUNK)


async def test_a_late_create_changes_nothing(books: Books, leases: Leases, client: redis.Client) -> None:
    org = await books.org(leased=0)
    keys = lease_keys(org)
    seen = await leases._look(keys=[keys.lease, keys.ticket], args=["mine"])
    await leases.extend(LeaseRequest(org, SHARD, 100))
    late = await leases._create(keys=[keys.lease, keys.holds, keys.ticket], args=["mine", seen[1], 9, 10**12])
    assert late == "STALE"
    assert await client.hget(keys.lease, "e") == "1"


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


async def test_posting_and_opening_leases_do_not_lock_each_other_out(books: Books, leases: Leases) -> None:
    org = await books.org()

    async def open_again() -> None:
        for _ in range(10):
            await leases._client.flushdb()
            await leases.extend(LeaseRequest(org, SHARD, 1))

    async def post() -> None:
        for _ in range(20):
            assert await books.post(books.event(org)) == []

    await asyncio.gather(open_again(), post())
    assert await books.difference() is None
