"""What each key was charged out of each lease: kept beside its charges, so that a cap needs no sum over its life."""

import asyncio
import shutil
from pathlib import Path
from typing import Final

import pytest

from libs.contracts.account import LeaseRequest
from libs.contracts.dispatch import Hold
from libs.pricing import Usage
from libs.runtime import postgres
from libs.runtime.migrate import migrate
from services.billing.leases import Leases
from services.billing.poster import Poster
from services.billing.store import accounts
from services.billing.store import leases as store
from services.migrations import owners
from tests.fixtures import samples
from tests.fixtures.books import LEASED, SHARD, Books, accepted
from tests.fixtures.busy_books import failing
from tests.fixtures.databases import migrated_database
from tests.fixtures.lending import Lender, hold, lose
from tests.fixtures.servers import Database

ONE: Final = 71
OTHER: Final = 72
HELD: Final = 10_000_000


async def spending(books: Books) -> dict[tuple[int, int, int], int]:
    """By org, key and epoch."""
    rows = await books.pool.fetch("SELECT org_id, key_id, epoch, nano FROM key_spend")
    return {(org, key, epoch): nano for org, key, epoch, nano in rows}


async def spent_before(books: Books, org: int, key: int, epoch: int) -> tuple[int, int]:
    async with books.pool.acquire() as connection:
        return await store.spent_before(connection, org, key, epoch)


def held(epoch: int = 1, *, cash: int = HELD, plan: int = 0) -> Hold:
    return Hold(cash=cash, plan=plan, epoch=epoch, shard=SHARD)


async def next_lease(books: Books, org: int) -> None:
    """The open lease is lost, and there is another."""
    async with books.pool.acquire() as connection, connection.transaction():
        await store.doubt(connection, org, SHARD, 0)
        await store.create(connection, org, SHARD, "gen", LEASED)
        await accounts.change_leased(connection, org, LEASED)


async def end_doubt(books: Books, org: int) -> None:
    async with books.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            """
            UPDATE lease SET state = 'closed', closed_at = now() WHERE org_id = $1 AND state = 'doubt'
            RETURNING granted - consumed, plan_granted - plan_consumed
            """,
            org,
        )
        await accounts.change_leased(connection, org, *(-sum(column) for column in zip(*rows, strict=True)))


async def test_each_key_s_charges_are_summed_by_lease(books: Books) -> None:
    first, second = await books.org(plan=LEASED), await books.org()
    cost = books.event(first).cost
    await books.post(
        books.event(first, key=ONE),
        books.event(first, key=ONE, hold=held(plan=cost // 2)),
        books.event(first, key=OTHER, hold=held(cash=100, plan=50)),
        books.event(second, key=ONE),
    )
    await next_lease(books, first)
    await books.post(books.event(first, key=ONE, hold=held(2)), books.event(first, key=ONE))
    assert await spending(books) == {
        (first, ONE, 1): 3 * cost,
        (first, ONE, 2): cost,
        (first, OTHER, 1): 150,
        (second, ONE, 1): cost,
    }
    assert await books.difference() is None


async def test_what_is_booked_again_is_not_spent_again(books: Books) -> None:
    org = await books.org()
    event = books.event(org, key=ONE)
    for _ in range(3):
        await books.post(event, event)
    await books.post(books.event(org, key=ONE, request_id=event.request_id, reason="another story"))
    assert await spending(books) == {(org, ONE, 1): event.cost}
    assert await books.difference() is None


async def test_what_the_house_pays_is_not_the_key_s_spending(books: Books) -> None:
    """A late event, in one batch with one of an open lease, and a void one."""
    org, other = await books.org(), await books.org()
    await next_lease(books, org)
    await end_doubt(books, org)
    late, timely = books.event(org, key=ONE), books.event(other, key=OTHER)
    void = books.event(other, key=ONE, outcome="void", usage=Usage(), cost=0)
    assert await books.post(late, timely, void) == []
    assert await books.value("SELECT absorbed FROM charge WHERE request_id = $1", late.request_id) == late.cost
    assert await spending(books) == {(other, OTHER, 1): timely.cost}
    assert await spent_before(books, org, ONE, 2) == (0, 0)
    assert await books.difference() is None


async def test_a_cap_counts_what_was_spent_in_every_lease_before(books: Books, leases: Leases, lender: Lender) -> None:
    org, stranger = await books.org(leased=0), await books.org()
    cost = books.event(org).cost
    await books.post(books.event(stranger, key=ONE))
    for epoch in (1, 2, 3):
        await lose(lender)
        assert (await leases.extend(LeaseRequest(org, SHARD, HELD, key=ONE))).state == "ready"
        await books.post(books.event(org, key=ONE, hold=held(epoch)), books.event(org, key=OTHER, hold=held(epoch)))
    granted = await books.value("SELECT sum(granted) FROM lease WHERE org_id = $1 AND epoch < 3", org)
    assert await spent_before(books, org, ONE, 3) == (2 * cost, granted - 4 * cost)
    assert await spent_before(books, org, ONE, 0) == (
        3 * cost,
        await books.value("SELECT sum(granted - consumed)::bigint FROM lease WHERE org_id = $1", org),
    )
    await end_doubt(books, org)
    assert await spent_before(books, org, ONE, 3) == (2 * cost, 0)
    await leases.extend(LeaseRequest(org, SHARD, HELD, key=ONE))
    assert await hold(lender, org, 1, cost + 1, key=ONE, cap=3 * cost) == "keycap"
    assert isinstance(await hold(lender, org, 1, cost, key=ONE, cap=3 * cost), Hold)


async def test_a_charge_moves_from_what_is_in_doubt_to_what_is_spent(books: Books) -> None:
    """Together they stay what they were: a key never has more left for a moment."""
    org = await books.org()
    await next_lease(books, org)
    assert await spent_before(books, org, ONE, 2) == (0, LEASED)
    event = books.event(org, key=ONE)
    await books.post(event)
    assert await spent_before(books, org, ONE, 2) == (event.cost, LEASED - event.cost)


async def test_batches_of_the_same_keys_at_once_lose_nothing(books: Books) -> None:
    """In either order, by two instances of billing, out of either bucket."""
    org = await books.org(plan=LEASED)
    posters = [Poster(books.pool, shard) for shard in (0, 1)]
    cost = books.event(org).cost
    batches = [
        [books.event(org, key=key, hold=held(cash=cash, plan=cost - cash)) for key in keys]
        for keys in (range(1, 21), range(20, 0, -1))
        for cash in (0, cost)
        for _ in range(3)
    ]
    prices = {books.event(org).price_id: samples.price()}
    await asyncio.gather(
        *(
            posters[number % 2].post([accepted(event, prices) for event in batch], prices)
            for number, batch in enumerate(batches)
        )
    )
    assert await spending(books) == {(org, key, 1): len(batches) * cost for key in range(1, 21)}
    assert await books.difference() is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE key_spend SET nano = nano + 1 WHERE epoch = 1",
        "UPDATE key_spend SET key_id = key_id + 1",
        "UPDATE key_spend SET epoch = 2",
        "DELETE FROM key_spend",
        "INSERT INTO key_spend VALUES (5, 70, 1, 10)",
        "UPDATE charge SET key_id = key_id + 1",
    ],
)
async def test_spending_that_its_charges_do_not_come_to_is_found(books: Books, statement: str) -> None:
    await books.post(books.event(await books.org(), key=ONE))
    assert await failing(books) == set()
    await books.tamper(statement)
    assert await failing(books) == {"K1"}


async def test_what_was_charged_before_it_was_kept_is_counted(database: Database, tmp_path: Path) -> None:
    """Books of the two migrations before, brought up to date."""
    found = owners(database.edge_url, database.billing_url, database.catalog_url)
    billing = next(owner for owner in found if owner.name == "billing")
    before, through = tmp_path / "before", tmp_path / "through"
    for folder, files in ((before, "000[12]_*.sql"), (through, "000[123]_*.sql")):
        folder.mkdir()
        for path in billing.folder.glob(files):
            shutil.copy(path, folder)
    async with (
        migrated_database(database.owner_url, [billing._replace(folder=before)]) as url,
        postgres.connected(url, "billing") as connection,
    ):
        await connection.execute(
            """
            INSERT INTO price_version (price_id, content) VALUES ('p', '{}');
            INSERT INTO charge (request_id, org_id, key_id, outcome, reason, model, offer, provider, provider_model,
                price_id, tok_input, tok_cache_read, tok_cache_write, tok_cache_write_1h, tok_output, tok_reasoning,
                cost, cash, plan, absorbed, held, lease_epoch, stream, client_gone, accepted_at, started_at, ended_at,
                attempts, batch_id, ev_hash)
            SELECT overlay(first_uuid(now())::text PLACING lpad(i::text, 12, '0') FROM 25)::uuid, 7, 70 + i % 2,
                'usage', '', '', '', '', '', 'p', 0, 0, 0, 0, 0, 0, 3 * c, c, c, c, 2 * c, 1 + i / 4, FALSE, FALSE,
                0, 0, 0, '[]', 1, ''
            FROM generate_series(0, 8) i, LATERAL (SELECT CASE i WHEN 8 THEN 0 ELSE i + 1 END AS c) AS cost
            """
        )
        assert await migrate(url, [billing._replace(folder=through)]) == ["billing/0003_key_spend.sql"]
        rows = await connection.fetch("SELECT key_id, epoch, nano FROM key_spend WHERE org_id = 7 ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [(70, 1, 8), (70, 2, 24), (71, 1, 12), (71, 2, 28)]
