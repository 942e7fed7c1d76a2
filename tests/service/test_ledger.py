"""The books in a real PostgreSQL: once each, never beyond the hold, never changed afterwards, and checkable."""

import asyncio

import asyncpg
import msgspec
import pytest

from libs.contracts.dispatch import Hold
from libs.pricing import Usage
from services.billing.store import accounts
from services.billing.verdict import Accepted
from tests.fixtures import samples
from tests.fixtures.books import CREDIT, LEASED, SHARD, Books


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


@pytest.mark.parametrize(
    ("check", "statement"),
    [
        ("C1", "UPDATE balance SET credits = credits + 1 WHERE account_id = (SELECT max(account_id) FROM balance)"),
        ("C1", "UPDATE transfer SET amount = amount + 1 WHERE transfer_id = (SELECT max(transfer_id) FROM transfer)"),
        ("C7", "UPDATE charge SET tok_output = tok_output + 1"),
        ("C7", "UPDATE charge SET cost = cost + 1, absorbed = absorbed + 1"),
        ("C5", "DELETE FROM charge"),
        (
            "C5",
            "UPDATE transfer SET debit_id = (SELECT max(account_id) FROM account) WHERE kind = 'usage';"
            "UPDATE balance b SET debits ="
            " (SELECT coalesce(sum(amount), 0) FROM transfer t WHERE t.debit_id = b.account_id)",
        ),
        (
            "C6",
            "UPDATE lease SET granted = granted + 20000000000;"
            "UPDATE balance SET leased = leased + 20000000000 WHERE leased > 0",
        ),
        ("I3", "UPDATE lease SET consumed = consumed - 1 WHERE consumed > 0"),
        ("I1", "UPDATE balance SET leased = leased - 1 WHERE leased > 0"),
    ],
)
async def test_verify_finds_whatever_is_changed_behind_its_back(books: Books, check: str, statement: str) -> None:
    org, _ = await books.org(), await books.org()
    await books.post(books.event(org))
    assert await books.difference() is None
    await books.tamper(statement)
    found = await books.difference()
    assert found is not None
    assert found.check == check


async def test_the_partitions_of_the_coming_months_are_there(books: Books) -> None:
    await books.pool.execute("SELECT ensure_partitions(6)")
    count = await books.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'charge'::regclass")
    assert count == 9


async def test_an_id_outside_every_partition_is_refused_not_lost(books: Books) -> None:
    org = await books.org()
    ancient = books.event(org)
    old = msgspec.structs.replace(ancient, request_id=type(ancient.request_id)(int=1))
    refused = await books.poster.post([Accepted(old, b"x")], {old.price_id: samples.price()})
    assert "no partition" in refused[0].reason
