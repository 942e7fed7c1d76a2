"""The lowest state of a balance is noted, at every commit and only there."""

from libs.runtime import postgres
from tests.faults import truths
from tests.faults.truths import Account
from tests.fixtures.books import CREDIT, LEASED, Books

FIX = (
    "UPDATE balance SET debits = debits + $2 WHERE account_id = (SELECT min(account_id) FROM account WHERE org_id = $1)"
)


async def test_a_state_between_two_looks_is_not_missed(books: Books) -> None:
    await truths.install(books.owner_url)
    org = await books.org()
    async with postgres.connected(books.owner_url, "billing") as owner:
        await owner.execute(FIX, org, CREDIT + 5)
        await owner.execute(FIX, org, -(CREDIT + 5))
        found = (await truths.accounts_of(owner, [org]))[org]
    assert found == Account(CREDIT, LEASED, -5, -5 - LEASED)


async def test_what_no_commit_shows_is_not_noted(books: Books) -> None:
    await truths.install(books.owner_url)
    org = await books.org()
    async with postgres.connected(books.owner_url, "billing") as owner:
        async with owner.transaction():
            await owner.execute(FIX, org, CREDIT + 5)
            await owner.execute(FIX, org, -(CREDIT + 5))
        found = (await truths.accounts_of(owner, [org]))[org]
    assert (found.lowest_posted, found.lowest_free) == (CREDIT, CREDIT - LEASED)


async def test_billing_itself_may_not_touch_what_was_noted(books: Books) -> None:
    await truths.install(books.owner_url)
    async with books.pool.acquire() as connection:
        allowed = await connection.fetchval("SELECT has_table_privilege('billing.lowest', 'UPDATE')")
    assert allowed is False
