"""The books in a real PostgreSQL: once each, never beyond the hold, never changed afterwards, and checkable."""

import asyncio

import asyncpg
import msgspec
import pytest

from libs.contracts.dispatch import Hold
from libs.pricing import Usage
from services.billing.portion import Bucket
from services.billing.store import accounts, leases
from services.billing.verdict import Accepted
from tests.fixtures import samples
from tests.fixtures.books import CREDIT, LEASED, SHARD, Books, accepted


async def test_a_batch_moves_exactly_what_its_charges_cost(books: Books) -> None:
    first, second = await books.org(), await books.org()
    events = [books.event(first), books.event(first), books.event(second)]
    assert await books.post(*events) == []
    cost = events[0].cost
    assert (await books.posted(first)).posted == CREDIT - 2 * cost
    assert (await books.posted(first)).leased == LEASED - 2 * cost
    assert (await books.posted(second)).posted == CREDIT - cost
    assert await books.value("SELECT count(*) FROM transfer WHERE kind = 'usage'") == 2
    assert await books.difference() is None


async def test_copies_in_one_batch_and_in_later_ones_are_one_charge(books: Books) -> None:
    org = await books.org()
    event = books.event(org)
    await books.post(event, event, event)
    await books.post(event)
    assert (await books.posted(org)).posted == CREDIT - event.cost
    assert await books.value("SELECT count(*) FROM anomaly") == 0
    assert await books.difference() is None


async def test_parallel_batches_with_the_same_events_charge_once(books: Books) -> None:
    org = await books.org()
    events = [books.event(org) for _ in range(50)]
    await asyncio.gather(*(books.post(*events[start:]) for start in range(0, 50, 10)))
    assert (await books.posted(org)).posted == CREDIT - 50 * events[0].cost
    assert await books.difference() is None


async def test_the_same_id_with_another_payload_keeps_the_first_and_is_reported(books: Books) -> None:
    org = await books.org()
    event = books.event(org)
    dearer = msgspec.structs.replace(event, reason="another story")
    await books.post(event)
    await books.post(dearer)
    assert (await books.posted(org)).posted == CREDIT - event.cost
    assert await books.value("SELECT request_id FROM anomaly WHERE kind = 'same id, other payload'") == event.request_id


async def test_a_cost_above_the_hold_is_the_houses_loss(books: Books) -> None:
    org = await books.org()
    event = books.event(org, hold=Hold(cash=1000, plan=0, epoch=1, shard=SHARD))
    assert event.cost > 1000
    await books.post(event)
    assert (await books.posted(org)).posted == CREDIT - 1000
    assert await books.value("SELECT absorbed FROM charge WHERE org_id = $1", org) == event.cost - 1000
    assert await books.value("SELECT amount FROM transfer WHERE kind = 'absorbed'") == event.cost - 1000
    assert await books.difference() is None


async def test_a_void_event_is_kept_and_moves_nothing(books: Books) -> None:
    org = await books.org()
    await books.post(books.event(org, outcome="void", usage=Usage(), cost=0))
    assert (await books.posted(org)).posted == CREDIT
    assert await books.value("SELECT outcome FROM charge WHERE org_id = $1", org) == "void"


async def test_one_event_that_cannot_be_booked_does_not_hold_up_its_neighbours(books: Books) -> None:
    org, poor = await books.org(), await books.org(leased=10)
    good = [books.event(org) for _ in range(7)]
    stranger, overdrawn = books.event(999_999), books.event(poor)
    refused = await books.post(*good[:3], stranger, *good[3:], overdrawn)
    assert {item.event.event.request_id for item in refused} == {stranger.request_id, overdrawn.request_id}
    assert (await books.posted(org)).posted == CREDIT - 7 * good[0].cost
    assert (await books.posted(poor)).posted == CREDIT
    assert await books.difference() is None


async def test_a_charge_on_a_lease_that_was_never_made_is_refused(books: Books) -> None:
    org = await books.org()
    event = books.event(org, hold=Hold(cash=10_000_000, plan=0, epoch=99, shard=SHARD))
    [refused] = await books.post(event)
    assert "lease" in refused.reason
    assert (await books.posted(org)).posted == CREDIT


async def test_the_plan_pays_before_cash_and_the_house_what_passes_the_hold(books: Books) -> None:
    org = await books.org(plan=LEASED)
    cost = books.event(org).cost
    for plan, cash in ((cost, 0), (cost // 2, cost), (100, 50), (0, cost)):
        event = books.event(org, hold=Hold(cash=cash, plan=plan, epoch=1, shard=SHARD))
        assert await books.post(event) == []
    from_plan, from_cash, absorbed = cost + cost // 2 + 100, cost - cost // 2 + 50 + cost, cost - 150
    there = await books.posted(org)
    assert (there.plan.posted, there.plan.leased) == (LEASED - from_plan, LEASED - from_plan)
    assert (there.cash.posted, there.cash.leased) == (CREDIT - from_cash, LEASED - from_cash)
    assert await books.value("SELECT (plan_consumed, consumed) FROM lease WHERE org_id = $1", org) == (
        from_plan,
        from_cash,
    )
    assert await books.value("SELECT sum(amount) FROM transfer WHERE kind = 'absorbed'") == absorbed
    assert await books.difference() is None


async def test_an_account_for_plan_credit_may_be_made_while_the_org_spends(books: Books) -> None:
    """What was remembered of the org is looked up again when an event takes from an account that was not there."""
    org = await books.org()
    first = books.event(org)
    assert await books.post(first) == []
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.credit_org(connection, org, LEASED, "plan:later", "test", "cust_plan")
        await leases.grant(connection, org, 1, 0, LEASED)
        await accounts.change_leased(connection, org, 0, LEASED)
    assert await books.post(books.event(org, hold=Hold(cash=0, plan=first.cost, epoch=1, shard=SHARD))) == []
    there = await books.posted(org)
    assert (there.cash.posted, there.plan.posted) == (CREDIT - first.cost, LEASED - first.cost)
    assert await books.difference() is None


async def test_a_hold_on_a_plan_that_the_org_does_not_have_is_refused(books: Books) -> None:
    org = await books.org()
    [refused] = await books.post(books.event(org, hold=Hold(cash=0, plan=10_000_000, epoch=1, shard=SHARD)))
    assert refused.reason == f"org {org} has no plan account"
    assert (await books.posted(org)).posted == CREDIT


async def test_what_a_lease_did_not_grant_is_not_taken_out_of_it(books: Books) -> None:
    """Neither bucket of a lease can be consumed beyond what it was given, whatever the other one has."""
    org = await books.org(plan=10)
    [refused] = await books.post(books.event(org, hold=Hold(cash=0, plan=10_000_000, epoch=1, shard=SHARD)))
    assert "lease_plan_check" in refused.reason or "leased" in refused.reason
    assert (await books.posted(org)).plan.posted == 10
    assert await books.difference() is None


async def close(books: Books, org: int) -> None:
    """Closes the org's lease as it is when all watermarks have passed: its rest is free again."""
    async with books.pool.acquire() as connection, connection.transaction():
        await accounts.posted(connection, org, lock=True)
        [(cash, plan)] = await connection.fetch(
            """
            UPDATE lease SET state = 'closed', closed_at = now() WHERE org_id = $1
            RETURNING granted - consumed, plan_granted - plan_consumed
            """,
            org,
        )
        await accounts.change_leased(connection, org, -cash, -plan)


async def test_an_event_whose_lease_is_closed_is_the_houses_loss_and_somebody_hears_of_it(books: Books) -> None:
    org, other = await books.org(plan=LEASED), await books.org()
    await close(books, org)
    held = Hold(cash=10_000_000, plan=1000, epoch=1, shard=SHARD)
    late, timely = books.event(org, hold=held), books.event(other)
    assert await books.post(timely, late) == []
    there = await books.posted(org)
    assert (there.cash.posted, there.plan.posted, there.leased) == (CREDIT, LEASED, 0)
    assert (await books.posted(other)).posted == CREDIT - timely.cost
    split = await books.value("SELECT (cash, plan, absorbed, held) FROM charge WHERE request_id = $1", late.request_id)
    assert split == (0, 0, late.cost, held.amount)
    assert await books.value("SELECT amount FROM transfer WHERE kind = 'absorbed'") == late.cost
    assert await books.value("SELECT request_id FROM anomaly WHERE kind = 'lease was closed'") == late.request_id
    await books.post(late)
    assert await books.value("SELECT count(*) FROM anomaly") == 1, "a second delivery is no second anomaly"
    assert await books.difference() is None


async def test_a_lease_in_doubt_still_pays_for_what_it_was_spent_on(books: Books) -> None:
    org = await books.org()
    await books.pool.execute("UPDATE lease SET state = 'doubt', doubt_at = now() WHERE org_id = $1", org)
    event = books.event(org)
    assert await books.post(event) == []
    assert (await books.posted(org)).posted == CREDIT - event.cost
    assert await books.value("SELECT count(*) FROM anomaly") == 0


async def test_events_booked_while_their_lease_is_being_closed_are_paid_by_one_or_the_other(books: Books) -> None:
    """Whichever comes first: what the org pays and what it gets back of the lease add up to the lease."""
    org = await books.org()
    events = [books.event(org) for _ in range(40)]
    posting = [books.post(event) for event in events]
    await asyncio.gather(*posting[:20], close(books, org), *posting[20:])
    paid = await books.value("SELECT sum(cash) FROM charge WHERE org_id = $1", org)
    absorbed = await books.value("SELECT sum(absorbed) FROM charge WHERE org_id = $1", org)
    assert paid + absorbed == 40 * events[0].cost
    assert (await books.posted(org)).cash == Bucket(CREDIT - paid, 0, 0)
    assert await books.difference() is None


async def test_a_void_event_of_a_closed_lease_moves_nothing_and_alarms_nobody(books: Books) -> None:
    org = await books.org()
    await close(books, org)
    assert await books.post(books.event(org, outcome="void", usage=Usage(), cost=0)) == []
    assert await books.value("SELECT count(*) FROM anomaly") == 0


async def test_a_batch_says_what_was_paid_for_each_of_its_requests(books: Books) -> None:
    """Holds are settled with that, also when an event with another cost comes after the one that was booked."""
    org = await books.org()
    first, over = books.event(org), books.event(org, hold=Hold(cash=1000, plan=0, epoch=1, shard=SHARD))
    prices = {first.price_id: samples.price()}
    await books.post(first)
    free = msgspec.structs.replace(first, outcome="void", usage=Usage(), cost=0)
    posted = await books.poster.post([accepted(free, prices), accepted(over, prices), accepted(over, prices)], prices)
    assert {item.event.event.request_id: item.paid for item in posted.booked} == {
        first.request_id: first.cost,
        over.request_id: 1000,
    }
    assert posted.odd == ["same id, other payload"]


async def test_books_that_were_put_back_from_a_backup_do_not_make_billing_park_what_is_good(books: Books) -> None:
    """What billing remembers of accounts and prices is not there any more; it looks again before it refuses."""
    org = await books.org()
    await books.post(books.event(org))
    await books.tamper("DELETE FROM charge; DELETE FROM price_version")
    assert await books.post(books.event(org)) == []
    assert await books.value("SELECT count(*) FROM price_version") == 1


async def test_the_producer_of_an_event_is_written_down(books: Books) -> None:
    org = await books.org()
    await books.post(books.event(org))
    assert await books.value("SELECT producer FROM charge WHERE org_id = $1", org) == "router-0"


async def test_credit_is_given_once_per_key_however_many_ask(books: Books) -> None:
    org = await books.org()

    async def give() -> bool:
        async with books.pool.acquire() as connection, connection.transaction():
            return await accounts.credit_org(connection, org, 5, "adj:same", "same")

    assert sorted(await asyncio.gather(*(give() for _ in range(8)))) == [False] * 7 + [True]
    assert (await books.posted(org)).posted == CREDIT + 5
    other = await books.org()
    async with books.pool.acquire() as connection:
        for wrong in ((other, 5), (org, 6)):
            with pytest.raises(accounts.KeyUsed):
                await accounts.credit_org(connection, *wrong, "adj:same", "same")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET amount = 1",
        "DELETE FROM transfer",
        "TRUNCATE transfer CASCADE",
        "UPDATE charge SET cost = 0",
        "DELETE FROM charge",
        "TRUNCATE charge",
        "UPDATE price_version SET content = '{}'",
        "DELETE FROM price_version",
    ],
)
async def test_history_cannot_be_changed_by_billing_nor_by_the_owner(books: Books, statement: str) -> None:
    org = await books.org()
    await books.post(books.event(org))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await books.pool.execute(statement)
    owner = await asyncpg.connect(books.owner_url, server_settings={"search_path": "billing"})
    try:
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await owner.execute(statement)
    finally:
        await owner.close()


async def test_billing_sees_no_table_but_its_own(books: Books) -> None:
    for table in ("edge.api_key", "edge.org", "catalog.model"):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError)):
            await books.pool.execute(f"SELECT * FROM {table}")  # noqa: S608 - three constants


async def test_the_partitions_of_the_coming_months_are_there(books: Books) -> None:
    await books.pool.execute("SELECT ensure_partitions(6)")
    count = await books.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'charge'::regclass")
    assert count == 9


async def test_an_id_outside_every_partition_is_refused_not_lost(books: Books) -> None:
    org = await books.org()
    ancient = books.event(org)
    old = msgspec.structs.replace(ancient, request_id=type(ancient.request_id)(int=1))
    posted = await books.poster.post([Accepted(old, b"x")], {old.price_id: samples.price()})
    assert "no partition" in posted.refused[0].reason
