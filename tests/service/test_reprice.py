"""Repricing a period reproduces every charge of it, and lists those that it cannot."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest

from libs.pricing import Usage
from services.billing.reprice import MOST_LISTED, NotReproduced, Repriced, reprice
from tests.fixtures import samples
from tests.fixtures.books import Books
from tests.fixtures.busy_books import Busy, busy

DAY_MS: Final = 24 * 3600 * 1000


@pytest.fixture
async def there(books: Books) -> Busy:
    return await busy(books)


async def repriced(books: Books, days: int = 0, org: int | None = None) -> Repriced:
    """From yesterday until the day after tomorrow, moved by so many days: a test may run over midnight."""
    today = datetime.now(UTC).date() + timedelta(days=days)
    async with books.pool.acquire() as connection:
        return await reprice(connection, today - timedelta(days=1), today + timedelta(days=2), org)


async def test_every_charge_is_reproduced(books: Books, there: Busy) -> None:
    done = await repriced(books)
    assert done.charges == await books.value("SELECT count(*) FROM charge")
    assert done.booked == done.computed == await books.value("SELECT sum(cost) FROM charge")
    assert (done.differing, done.differences) == (0, ())


async def test_it_can_be_asked_of_one_org(books: Books, there: Busy) -> None:
    done = await repriced(books, org=there.cash)
    assert done.charges == await books.value("SELECT count(*) FROM charge WHERE org_id = $1", there.cash)
    assert 0 < done.booked < (await repriced(books)).booked


async def test_other_periods_are_left_out(books: Books, there: Busy) -> None:
    assert (await repriced(books, days=-7)).charges == (await repriced(books, days=7)).charges == 0


async def test_a_day_begins_at_midnight_utc_and_ends_before_the_next(books: Books) -> None:
    org, today = await books.org(), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight = int(today.timestamp() * 1000)
    for at in (midnight - 1, midnight, midnight + DAY_MS - 1, midnight + DAY_MS):
        event = books.event(org, request_id=samples.request_id(at), accepted_at=at, started_at=at, ended_at=at)
        assert await books.post(event) == []
    async with books.pool.acquire() as connection:
        done = await reprice(connection, today.date(), today.date() + timedelta(days=1))
    assert done.charges == 2


async def test_differences_are_listed_and_counted(books: Books, there: Busy) -> None:
    await books.post(*(books.event(there.cash, usage=Usage(input=1, output=1)) for _ in range(MOST_LISTED + 5)))
    await books.tamper("UPDATE charge SET tok_output = 1000001 WHERE tok_output = 1 AND tok_input = 1")
    done = await repriced(books)
    assert done.differing == MOST_LISTED + 5
    assert len(done.differences) == MOST_LISTED
    assert done.computed == done.booked + (MOST_LISTED + 5) * 1_100_000_000
    first = done.differences[0]
    cost = await books.value("SELECT min(cost) FROM charge WHERE tok_output = 1000001")
    assert (first.org, first.what) == (there.cash, f"cost {cost}, its tokens come to {cost + 1_100_000_000}")


async def test_a_price_that_was_changed_reproduces_nothing(books: Books, there: Busy) -> None:
    await books.tamper("UPDATE price_version SET content = jsonb_set(content, '{rates,output}', '1')")
    with pytest.raises(NotReproduced, match="its content is another price's"):
        await repriced(books)


async def test_a_price_that_is_gone_is_a_difference_of_each_charge(books: Books, there: Busy) -> None:
    await books.tamper("DELETE FROM price_version")
    done = await repriced(books)
    assert done.differing == await books.value("SELECT count(*) FROM charge WHERE price_id IS NOT NULL")
    assert done.computed == 0
    assert done.differences[0].what.startswith("there is no price pr_")


async def test_an_empty_period_is_reproduced(books: Books) -> None:
    async with books.pool.acquire() as connection:
        assert await reprice(connection, date(2026, 1, 1), date(2026, 1, 1)) == Repriced(0, 0, 0, 0, ())
