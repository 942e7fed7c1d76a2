"""The floor: what a router has promised not to begin, it does not begin, whoever asks at the same moment."""

import asyncio
import random
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import ids
from services.router import watermark
from services.router.spool import BelowFloor, Spool, opened
from tests.fixtures.samples import NOW_MS, hold, request_id
from tests.fixtures.strategies import quick

FAR: Final = 1 << 50


def rid(number: int) -> UUID:
    return request_id(noise=number)


async def begin(spool: Spool, number: int, authorized_at: int) -> None:
    await spool.start(rid(number), 0, authorized_at, b"start", b"price")


async def promised(spool: Spool, bound: int) -> None:
    await spool.promise(bound)


async def book(spool: Spool, number: int) -> None:
    await spool.finish(rid(number), b"end")
    rows = await spool.waiting(0, 10)
    await spool.mark_shipped([row.seq for row in rows], 1)
    await spool.drop([row.seq for row in rows])


async def test_an_empty_spool_promises_what_it_may_and_nothing_below_begins(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        assert await spool.promise(500) == (500, None, 0)
        with pytest.raises(BelowFloor):
            await begin(spool, 1, 499)
        await begin(spool, 2, 500)
        assert (spool.in_flight, await spool.unbooked()) == (1, 1)


async def test_whatever_is_not_booked_holds_the_floor_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 300)
        await begin(spool, 2, 200)
        assert await spool.promise(500) == (200, 200, 2)
        await book(spool, 2)
        assert await spool.promise(500) == (300, 300, 1)
        await spool.finish(rid(1), b"end")
        assert (await spool.promise(500)).floor == 300, "it has ended and is not shipped"
        (row,) = await spool.waiting(0, 10)
        await spool.mark_shipped([row.seq], 1)
        assert (await spool.promise(500)).floor == 300, "it is shipped and not booked"
        await spool.drop([row.seq])
        assert await spool.promise(500) == (500, None, 0)


async def test_the_floor_never_falls_not_even_over_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await spool.promise(500)
        assert (await spool.promise(100)).floor == 500
    async with opened(tmp_path) as spool:
        with pytest.raises(BelowFloor):
            await begin(spool, 1, 499)
        assert (await spool.promise(0)).floor == 500


async def test_a_promise_is_synced_before_it_is_told(tmp_path: Path) -> None:
    statements: list[str] = []
    async with opened(tmp_path) as spool:
        spool._writer._db.set_trace_callback(statements.append)
        await spool.promise(500)
        assert (statements[0], statements[-1]) == ("PRAGMA synchronous = FULL", "COMMIT")


async def test_starts_and_promises_in_any_order_never_break_the_word(tmp_path: Path) -> None:
    """Each start is there when the promise is made, or is not below it, or is refused."""
    chance, refused = random.Random(5), 0  # noqa: S311 - the same every time
    async with opened(tmp_path) as spool:
        for turn in range(30):
            at = 1000 * (turn + 1)
            when = {turn * 10 + n: at - 5 + n for n in range(10)}
            calls = [(n, begin(spool, n, when[n])) for n in when]
            chance.shuffle(calls)
            tried = await asyncio.gather(
                *(call for _, call in calls[:3]),
                promised(spool, at),
                *(call for _, call in calls[3:]),
                return_exceptions=True,
            )
            del tried[3]
            floor = (await spool.promise(0)).floor
            begun = [n for (n, _), result in zip(calls, tried, strict=True) if result is None]
            left = [n for n in when if n not in begun]
            refused += len(left)
            assert floor <= min(when[n] for n in begun)
            assert all(when[n] < floor for n in left)
            for n in begun:
                await book(spool, n)
    assert refused


async def test_a_spool_has_a_name_that_outlives_the_process_and_is_new_to_billing(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        name = one.id
        assert (name != other.id, one.standing) == (True, "new")
        await one.stand("known")
    async with opened(tmp_path / "a") as one:
        assert (one.id, one.standing) == (name, "known")


def test_a_hold_that_does_not_say_when_counts_by_its_id() -> None:
    assert watermark.authorized_at(hold(authorized_at=77), request_id()) == 77
    assert watermark.authorized_at(hold(), request_id()) == ids.millisecond_of(request_id()) == NOW_MS


@pytest.mark.parametrize(("age", "stale"), [(0, False), (12_000, False), (12_001, True), (-600_000, False)])
def test_an_order_is_stale_after_twelve_seconds(age: int, stale: bool) -> None:
    assert watermark.is_stale(hold(authorized_at=NOW_MS - age), NOW_MS) is stale
    assert not watermark.is_stale(hold(), NOW_MS)


@given(st.integers(NOW_MS, FAR), st.integers(NOW_MS, FAR))
@quick
def test_no_order_that_may_begin_is_below_what_is_promised(now: int, billings: int) -> None:
    """An order that is not stale is above a watermark of the same moment, whatever billing's clock says."""
    floor = watermark.bound(now, billings)
    assert floor <= min(now, billings) - 15_000
    assert watermark.is_stale(hold(authorized_at=floor - 1), now)


def test_nothing_is_promised_by_the_own_clock_alone() -> None:
    """A clock that is a year ahead would stop this router for a year."""
    assert watermark.bound(NOW_MS, None) == 0
    assert watermark.bound(NOW_MS + FAR, NOW_MS) == NOW_MS - 15_000


@pytest.mark.parametrize(
    ("shipments", "after", "overdue"),
    [(1, 599, False), (1, 600, True), (2, 1199, False), (2, 1200, True), (5, 9599, False), (5, 9600, True)],
)
def test_each_time_is_given_twice_as_long(shipments: int, after: int, overdue: bool) -> None:
    assert watermark.is_overdue(NOW_MS, shipments, NOW_MS + after, 600) is overdue


async def test_a_call_that_is_given_up_ends_only_what_it_has_begun_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 500)
        twice = asyncio.ensure_future(begin(spool, 1, 500))
        alone = asyncio.ensure_future(begin(spool, 2, 500))
        await asyncio.sleep(0)
        for each in (twice, alone):
            each.cancel()
        await asyncio.wait({twice, alone})
        await spool.promise(0)
        await spool.promise(0)
        await spool.finish(rid(1), b"end")
        assert [row.event for row in await spool.waiting(0, 10)] == [b"end", b"start"]


async def test_every_opening_of_a_spool_is_a_run_of_its_own(tmp_path: Path) -> None:
    runs = []
    for _ in range(3):
        async with opened(tmp_path) as spool:
            runs.append(spool.run)
    assert runs == [1, 2, 3]
