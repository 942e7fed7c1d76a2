"""Books at rest beside the Redis that their credit is leased to: nothing is held, and what was spent was charged."""

from typing import Any, Final
from uuid import UUID

import pytest

from libs.contracts.account import LeaseRequest, lease_keys
from libs.contracts.dispatch import Hold
from libs.runtime.holds import Ended, Payer
from services.billing.leases import Leases
from services.billing.resting import Lender as Lent
from services.billing.resting import Seen, unsettled
from services.billing.store import accounts
from services.billing.verify import verify
from tests.fixtures.books import SHARD, Books
from tests.fixtures.lending import Lender

CHUNK: Final = 1_000_000_000
PLAN: Final = 10_000


@pytest.fixture
async def spent(books: Books, lender: Lender) -> int:
    """An org that has cash and plan credit in a lease of this Redis and spent of both; all of it is settled."""
    org = await books.org(leased=0)
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, PLAN, f"plan:{org}", "test", "cust_plan")
    leases = Leases(books.pool, lender.client, SHARD, CHUNK, 100 * CHUNK)
    await leases.extend(LeaseRequest(org, SHARD, CHUNK))
    await spend(books, lender, org)
    assert await at_rest(books, lender) is None
    return org


async def spend(books: Books, lender: Lender, org: int) -> None:
    event = books.event(org)
    held = await take(lender, org, event.request_id, 2 * event.cost)
    paid = books.event(org, request_id=event.request_id, hold=held)
    assert await books.post(paid) == []
    await lender.holds.end(Ended(org, event.request_id, paid.cost))


async def take(lender: Lender, org: int, request_id: UUID, need: int) -> Hold:
    held = await lender.holds.take(Payer(org, key=70), request_id, need, shard=SHARD)
    assert isinstance(held, Hold)
    return held


async def at_rest(books: Books, lender: Lender) -> str | None:
    """What C8 finds."""
    async with books.pool.acquire() as connection:
        lent = Lent(lender.client, SHARD)
        [(_, difference)] = [each async for each in verify(connection, at_rest=True, lender=lent, only=["C8"])]
    return difference and difference.what


async def test_a_hold_that_nobody_ended_is_found(books: Books, lender: Lender, spent: int) -> None:
    await take(lender, spent, UUID(int=5), 100)
    assert await at_rest(books, lender) == f"org {spent}: 1 requests still hold 100 cash and 0 plan"


async def test_a_hold_of_nothing_that_is_still_listed_is_found(books: Books, lender: Lender, spent: int) -> None:
    await lender.everything.hset(lease_keys(spent).holds, "x", "0:0:1:0:70")
    assert "1 requests still hold 0 cash" in str(await at_rest(books, lender))


@pytest.mark.parametrize("field", ["used", "pused"])
async def test_what_redis_spent_and_nobody_charged_is_found(
    books: Books, lender: Lender, spent: int, field: str
) -> None:
    await lender.everything.hincrby(lease_keys(spent).lease, field, 1)
    assert "the ledger charged" in str(await at_rest(books, lender))


@pytest.mark.parametrize("field", ["lim", "plim"])
async def test_a_limit_above_what_was_granted_is_found(books: Books, lender: Lender, spent: int, field: str) -> None:
    await lender.everything.hincrby(lease_keys(spent).lease, field, 1)
    assert "were granted" in str(await at_rest(books, lender))


@pytest.mark.parametrize(("field", "said"), [("70:h", "its keys hold 1"), ("70:u", "its keys hold 0 and spent")])
async def test_what_is_counted_for_keys_and_not_for_the_lease_is_found(
    books: Books, lender: Lender, spent: int, field: str, said: str
) -> None:
    await lender.everything.hincrby(lease_keys(spent).keys, field, 1)
    assert said in str(await at_rest(books, lender))


async def test_a_redis_that_lends_from_a_lease_that_is_closed_is_found(
    books: Books, lender: Lender, spent: int
) -> None:
    await books.pool.execute("UPDATE lease SET state = 'closed' WHERE org_id = $1", spent)
    assert "Redis lends from epoch 1, the ledger's newest is 1 and closed" in str(await at_rest(books, lender))


async def test_what_a_lost_redis_left_behind_counts_for_nothing(books: Books, lender: Lender, spent: int) -> None:
    await lender.everything.hset(lease_keys(spent).lease, mapping={"g": "0" * 40, "held": 5, "used": 0})
    assert await at_rest(books, lender) is None
    await lender.everything.flushdb()
    assert await at_rest(books, lender) is None


async def test_another_redis_is_not_compared(books: Books, lender: Lender, spent: int) -> None:
    await take(lender, spent, UUID(int=5), 100)
    async with books.pool.acquire() as connection:
        seen = [
            difference
            async for _, difference in verify(connection, at_rest=True, lender=Lent(lender.client, "r9"), only=["C8"])
        ]
    assert seen == [None]


ROW: dict[str, Any] = {
    "epoch": 3,
    "state": "open",
    "granted": 100,
    "consumed": 40,
    "plan_granted": 10,
    "plan_consumed": 4,
}
SETTLED = Seen(
    requests=0,
    by_keys_held=0,
    by_keys_used=44,
    epoch=3,
    limit=100,
    used=40,
    held=0,
    plan_limit=10,
    plan_used=4,
    plan_held=0,
)


def test_a_lease_that_is_settled_is_no_difference() -> None:
    assert unsettled(SETTLED, ROW) is None
    assert unsettled(SETTLED._replace(limit=90), ROW) is None, "a limit may come later than the grant"


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 2},
        {"held": 1},
        {"plan_held": 1},
        {"requests": 1},
        {"used": 41},
        {"plan_used": 3},
        {"plan_limit": 11},
        {"by_keys_held": 1},
        {"by_keys_used": 43},
    ],
)
def test_each_figure_counts(change: dict[str, int]) -> None:
    assert unsettled(SETTLED._replace(**change), ROW) is not None
