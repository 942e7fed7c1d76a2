"""Keeps the window true to the tables: at once when a publication is announced, and now and then without being told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from libs.runtime import postgres
from libs.runtime.health import Health
from libs.runtime.postgres import Pool
from libs.runtime.tasks import running
from services.catalog import store
from services.catalog.store import tables
from services.catalog.window import Window, edition_of

log = structlog.get_logger()

RETRY_SECONDS: Final = 1.0


class Announcements:
    """Tells of publications for as long as its connection lives."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()
        self._lost = False

    def hear(self, *_: object) -> None:
        self._heard.set()

    def lose(self, *_: object) -> None:
        self._lost = True
        self._heard.set()

    async def wait(self, seconds: float) -> None:
        """Returns at the next announcement or when the time is over. Raises OSError once the connection is gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                _ = await self._heard.wait()
        self._heard.clear()
        if self._lost:
            raise ConnectionResetError("the connection that listened for publications is gone")


@asynccontextmanager
async def following(pool: Pool, window: Window, health: Health, poll_seconds: float) -> AsyncIterator[None]:
    """Shows what the tables hold until the context ends; while they cannot be read, what they held last."""
    health.report("shelf", "not read yet")
    async with running(health, "follow the tables", _follow(pool, window, health, poll_seconds)):
        yield


async def _follow(pool: Pool, window: Window, health: Health, poll_seconds: float) -> None:
    seen: str | None = None
    while True:
        try:
            async with _listening(pool) as announcements:
                while True:
                    seen = await _look(pool, window, seen)
                    health.report("shelf", None)
                    await announcements.wait(poll_seconds)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the last edition stays and we look again
            log.warning("shelf_not_read", error=repr(error))
            if not isinstance(error, postgres.TRANSIENT):  # those are the database's own reason for not being ready
                health.report("shelf", f"{type(error).__name__}: {error}")
            await asyncio.sleep(RETRY_SECONDS)


@asynccontextmanager
async def _listening(pool: Pool) -> AsyncIterator[Announcements]:
    announcements = Announcements()
    async with pool.acquire() as connection:
        await connection.add_listener(tables.CHANNEL, announcements.hear)
        connection.add_termination_listener(announcements.lose)
        try:
            yield announcements
        finally:
            with suppress(*store.FAILED):  # a connection that is gone has nothing to take back
                connection.remove_termination_listener(announcements.lose)
                await connection.remove_listener(tables.CHANNEL, announcements.hear)


async def _look(pool: Pool, window: Window, seen: str | None) -> str:
    """Shows the tables' content unless their mark is the one seen last. Returns the mark."""
    async with pool.acquire() as connection:
        mark = await store.mark(connection)
        if mark == seen:
            return mark
        edition = edition_of(await store.snapshot(connection))
    window.show(edition)
    log.info("shelf_shown", version=edition.version)
    return mark
