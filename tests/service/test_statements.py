"""Months are closed one after the other, once, and whoever changes one afterwards is found."""

import asyncio
from datetime import UTC, date, datetime
from typing import Final

import asyncpg
import pytest

from libs.contracts.statement import Movement
from libs.runtime import postgres
from services.billing import months, statements
from services.billing.months import NotYet
from services.billing.store import statements as store
from tests.fixtures.books import CREDIT, Books
from tests.fixtures.busy_books import NOVEMBER, PLAN, busy, close_old_month, failing

AUGUST, SEPTEMBER, OCTOBER, DECEMBER = (date(2026, month, 1) for month in (8, 9, 10, 12))
LATER: Final = datetime(2027, 1, 20, tzinfo=UTC)


async def closing(books: Books, month: date, now: datetime = NOVEMBER) -> int:
    async with books.pool.acquire() as connection:
        return await months.close_month(connection, month, now)


async def difference(books: Books) -> str:
    async with books.pool.acquire() as connection, connection.transaction():
        return str(await months.first_difference(connection))


async def move_to(books: Books, at: str, where: str = "TRUE") -> None:
    await books.tamper(f"UPDATE transfer SET posted_at = timestamptz '{at}' WHERE {where}")  # noqa: S608 - a test's own


async def test_every_month_since_the_first_transfer_is_closed_and_joins_the_one_before(books: Books) -> None:
    there = await busy(books)
    assert await close_old_month(books) > 0
    rows = await books.pool.fetch(
        """
        SELECT month, opening, debits, credits, closing, transfers FROM statement JOIN account USING (account_id)
        WHERE kind = 'cust_plan' AND org_id = $1 ORDER BY month
        """,
        there.both,
    )
    paid = await books.value("SELECT sum(plan) FROM charge WHERE org_id = $1", there.both)
    assert [tuple(row) for row in rows] == [
        (AUGUST, 0, 0, PLAN, PLAN, 1),
        (SEPTEMBER, PLAN, 0, 0, PLAN, 0),
        (OCTOBER, PLAN, paid, 0, PLAN - paid, 1),
    ]
    assert await books.value("SELECT count(*) FROM statement GROUP BY month ORDER BY month LIMIT 1") == 5
    assert await failing(books) == set()


async def test_a_month_is_closed_once_however_many_ask(books: Books) -> None:
    await busy(books)
    await move_to(books, "2026-08-15Z")
    made = await asyncio.gather(*(closing(books, AUGUST) for _ in range(4)))
    assert sorted(made)[:3] == [0, 0, 0]
    assert max(made) == await books.value("SELECT count(*) FROM statement")
    assert await closing(books, AUGUST) == 0
    assert await closing(books, date(2026, 7, 1)) == 0


async def test_a_month_waits_for_the_one_before_and_for_its_own_end(books: Books) -> None:
    await busy(books)
    await move_to(books, "2026-08-15Z")
    with pytest.raises(NotYet, match="2026-08 has to be closed first"):
        await closing(books, OCTOBER)
    with pytest.raises(NotYet, match="2026-08 is not over"):
        await closing(books, AUGUST, datetime(2026, 9, 1, 23, 59, tzinfo=UTC))
    assert await closing(books, AUGUST, datetime(2026, 9, 2, tzinfo=UTC)) > 0


async def test_books_without_transfers_have_no_months(books: Books) -> None:
    async with books.pool.acquire() as connection:
        assert await months.close_due(connection, LATER) == []
    assert await closing(books, AUGUST) == 0
    assert await books.value("SELECT count(*) FROM statement") == 0


async def test_months_are_utc_to_the_microsecond(books: Books) -> None:
    first, second = await books.org(), await books.org()
    await move_to(books, "2026-08-31 23:59:59.999999Z", f"idem_key = 'start:{first}'")
    await move_to(books, "2026-09-01Z", f"idem_key = 'start:{second}'")
    async with books.pool.acquire() as connection:
        await connection.execute("SET timezone = 'Pacific/Auckland'")
        assert await months.close_due(connection, NOVEMBER) == [AUGUST, SEPTEMBER, OCTOBER]
        async with connection.transaction():
            assert await months.first_difference(connection) is None
    assert await difference(books) == "None"
    opened = "SELECT min(month) FROM statement JOIN account USING (account_id) WHERE org_id = $1"
    assert (await books.value(opened, first), await books.value(opened, second)) == (AUGUST, SEPTEMBER)


async def test_more_accounts_than_are_written_at_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        await books.org()
    await move_to(books, "2026-08-15Z")
    monkeypatch.setattr(months, "AT_ONCE", 3)
    assert await closing(books, AUGUST) == 8
    assert await books.value("SELECT sum(closing) FROM statement") == 0
    assert await difference(books) == "None"


TAMPERED: Final = [
    (
        "UPDATE transfer SET reason = 'x' WHERE idem_key = 'start:1001'",
        "cust_cash of org 1001), 2026-08: its transfers",
    ),
    (
        "UPDATE transfer SET posted_at = posted_at + interval '1 microsecond' WHERE idem_key = 'start:1001'",
        "2026-08: its",
    ),
    ("UPDATE transfer SET posted_at = '2026-09-03Z' WHERE idem_key = 'start:1001'", "2026-08: credits"),
    ("UPDATE transfer SET amount = amount + 1 WHERE kind = 'usage' AND debit_id = {account}", "1001), 2026-10: debits"),
    ("DELETE FROM transfer WHERE kind = 'usage' AND debit_id = {account}", "1001), 2026-10: debits"),
    ("UPDATE statement SET digest = sha256('x') WHERE month = '2026-09-01' AND account_id = {account}", "2026-09: its"),
    (
        "UPDATE statement SET opening = opening + 1, closing = closing + 1"
        " WHERE month = '2026-10-01' AND account_id = {account}",
        "1001), 2026-10: opening",
    ),
    ("DELETE FROM statement WHERE month = '2026-08-01' AND account_id = {account}", "1001), 2026-08: there are"),
    ("DELETE FROM statement WHERE month = '2026-09-01' AND account_id = {account}", "1001), 2026-09: there is no"),
    ("DELETE FROM statement WHERE month = '2026-10-01' AND account_id = {account}", "1001), 2026-10: there are"),
    ("DELETE FROM statement WHERE month = '2026-10-01' AND account_id = {idle}", "1003), 2026-10: there is no"),
    ("DELETE FROM statement WHERE account_id = {account}", "1001), 2026-08: there are"),
    (
        "INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount, posted_at) VALUES"
        " ('adj:forged', 'adjustment', {account}, {idle}, 5, '2026-09-05Z')",
        "1003), 2026-09: credits",
    ),
]


@pytest.mark.parametrize(("statement", "said"), TAMPERED)
async def test_whoever_changes_a_closed_month_is_found_with_account_and_month(
    books: Books, statement: str, said: str
) -> None:
    there = await busy(books)
    await close_old_month(books)
    query = "SELECT account_id FROM account WHERE kind = 'cust_cash' AND org_id = $1"
    account, idle = await books.value(query, there.both), await books.value(query, there.closed)
    assert await difference(books) == "None"
    await books.tamper(statement.replace("{account}", str(account)).replace("{idle}", str(idle)))
    assert said in await difference(books)
    assert "C11" in await failing(books)


async def test_a_changed_month_that_keeps_its_sums_is_found_by_its_digest_alone(books: Books) -> None:
    await busy(books)
    await close_old_month(books)
    await books.tamper("UPDATE transfer SET reason = 'x' WHERE idem_key = 'start:1001'")
    assert await failing(books) == {"C11"}


async def test_whoever_forges_a_digest_has_to_forge_every_later_one(books: Books) -> None:
    await busy(books)
    await close_old_month(books)
    await books.tamper("UPDATE transfer SET reason = 'x' WHERE idem_key = 'start:1001'")
    async with books.pool.acquire() as connection, connection.transaction():
        rows = [row async for row in store.closed(connection) if row["month"] == AUGUST]
    for account in {row["account_id"] for row in rows}:
        tally = statements.Tally(account, AUGUST)
        for row in rows:
            if row["account_id"] == account and (line := store.line_of(row)):
                tally.add(line)
        forged = tally.statement().digest.hex()
        await books.tamper(
            f"UPDATE statement SET digest = '\\x{forged}' WHERE month = '2026-08-01' AND account_id = {account}"  # noqa: S608 - its own
        )
    assert "2026-09: its transfers are not those" in await difference(books)


async def test_an_org_is_shown_its_month_by_kind(books: Books) -> None:
    there = await busy(books)
    await close_old_month(books)
    async with books.pool.acquire() as connection:
        cash, plan = await months.shown(connection, there.both, OCTOBER)
        [august, _] = await months.shown(connection, there.both, AUGUST)
        [now, _] = await months.shown(connection, there.both, DECEMBER)
        assert await months.shown(connection, 5, OCTOBER) == []
    paid = await books.value("SELECT sum(cash) FROM charge WHERE org_id = $1", there.both)
    assert (cash.bucket, cash.opening, cash.closing) == ("cash", CREDIT, CREDIT - paid)
    assert cash.movements == (Movement("usage", 1, -paid),)
    assert (plan.bucket, plan.opening) == ("plan", PLAN)
    assert (august.opening, august.movements) == (0, (Movement("adjustment", 1, CREDIT),))
    assert (now.opening, now.movements, now.closing, now.digest) == (CREDIT - paid, (), CREDIT - paid, None)
    stored = await books.value(
        "SELECT encode(digest, 'hex') FROM statement JOIN account USING (account_id)"
        " WHERE kind = 'cust_cash' AND org_id = $1 AND month = $2",
        there.both,
        OCTOBER,
    )
    assert cash.digest == stored


async def test_billing_closes_months_by_itself(books: Books) -> None:
    await busy(books)
    await move_to(books, "2026-08-15Z")
    task = asyncio.create_task(months.keep_closing(books.owner_url))
    closed = "SELECT count(*) FROM statement WHERE month = $1"
    async with asyncio.timeout(60):
        while not await books.value(closed, OCTOBER):  # noqa: ASYNC110 - in another task's transaction
            await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await difference(books) == "None"


@pytest.mark.parametrize(
    "statement",
    ["UPDATE statement SET closing = closing, opening = opening", "DELETE FROM statement", "TRUNCATE statement"],
)
async def test_a_statement_cannot_be_changed_by_billing_nor_by_the_owner(books: Books, statement: str) -> None:
    await busy(books)
    await close_old_month(books)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await books.pool.execute(statement)
    async with postgres.connected(books.owner_url, "billing") as owner:
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await owner.execute(statement)


async def test_price_versions_cannot_be_truncated_either(books: Books) -> None:
    async with postgres.connected(books.owner_url, "billing") as owner:
        with pytest.raises(asyncpg.RaiseError, match="price_version is append-only"):
            await owner.execute("TRUNCATE price_version CASCADE")
