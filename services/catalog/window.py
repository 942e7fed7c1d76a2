"""The shelf's present edition, and those who wait for the next one."""

import asyncio
from collections.abc import Container
from contextlib import suppress
from typing import NamedTuple

from libs import errors
from libs.contracts import catalog
from services.catalog.rules import digest_of


class Edition(NamedTuple):
    """A snapshot ready to be sent."""

    version: int
    etag: str
    body: bytes


def edition_of(snapshot: catalog.Snapshot) -> Edition:
    """The tag names the version and the content, so that it is right across restarts and restored databases."""
    return Edition(snapshot.version, f"{snapshot.version}-{digest_of(snapshot)[:32]}", catalog.encode(snapshot))


class Window:
    """Where the present edition hangs. Empty until the tables were read once."""

    def __init__(self) -> None:
        self.edition: Edition | None = None
        self._changed = asyncio.Event()
        self._closing = False

    def show(self, edition: Edition) -> None:
        self.edition = edition
        self._wake()

    def close(self) -> None:
        """Sends everybody home who waits, now and from here on."""
        self._closing = True
        self._wake()

    async def other_than(self, known: Container[str], seconds: float) -> Edition:
        """The edition, as soon as its tag is not a known one, or when the time is over. Raises Unavailable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.edition is not None and self.edition.etag in known and not self._closing:
                    _ = await self._changed.wait()
        if self.edition is None:
            raise errors.Unavailable("The shelf has not been read yet.", retry_after=1)
        return self.edition

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
