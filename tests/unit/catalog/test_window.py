"""Who waits for the next edition gets it at once; who waits in vain is sent home in time."""

import asyncio

import pytest

from libs.contracts import catalog
from libs.errors import Unavailable
from services.catalog.rules import read
from services.catalog.window import Edition, Window, edition_of
from tests.unit.catalog.shelf_text import SHELF, edited

LONG = 60.0
FIRST, SECOND = edition_of(read(SHELF)), edition_of(read(edited("8_000", "9_000")))


async def waiting(window: Window, known: Edition, seconds: float = LONG) -> asyncio.Task[Edition]:
    task = asyncio.create_task(window.other_than({known.etag}, seconds))
    await asyncio.sleep(0)
    return task


def test_the_tag_stands_for_the_content_and_the_version() -> None:
    assert FIRST.etag != SECOND.etag
    assert edition_of(read(SHELF)) == FIRST
    assert catalog.decode(FIRST.body) == read(SHELF)


async def test_an_empty_window_is_no_empty_shelf() -> None:
    with pytest.raises(Unavailable):
        await Window().other_than((), LONG)


async def test_an_edition_that_the_caller_does_not_know_is_given_at_once() -> None:
    window = Window()
    window.show(SECOND)
    assert await window.other_than({FIRST.etag}, LONG) == SECOND


async def test_all_who_wait_get_the_next_edition() -> None:
    window = Window()
    window.show(FIRST)
    tasks = [await waiting(window, FIRST) for _ in range(3)]
    assert not any(task.done() for task in tasks)
    window.show(SECOND)
    assert await asyncio.gather(*tasks) == [SECOND] * 3


async def test_the_same_edition_again_wakes_nobody() -> None:
    window = Window()
    window.show(FIRST)
    task = await waiting(window, FIRST)
    window.show(FIRST)
    await asyncio.sleep(0.01)
    assert not task.done()
    window.show(SECOND)
    assert await task == SECOND


async def test_who_waits_in_vain_gets_what_there_is() -> None:
    window = Window()
    window.show(FIRST)
    assert await window.other_than({FIRST.etag}, 0.01) == FIRST
    assert await window.other_than({FIRST.etag}, 0) == FIRST


async def test_nobody_waits_at_a_window_that_closes() -> None:
    window = Window()
    window.show(FIRST)
    task = await waiting(window, FIRST)
    window.close()
    assert await task == FIRST
    assert await window.other_than({FIRST.etag}, LONG) == FIRST
