"""Room on the spool's disk: how much is left, and a reserve for the records of those who are being served already."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

MIB: Final = 1 << 20
RESERVE_BYTES: Final = 16 * MIB
REQUEST_BYTES: Final = 32 << 10  # what one running request may still write: its records, and the pages around them
LOOK_SECONDS: Final = 1.0


class Room:
    """Of the folder of one spool. ``refusing`` is why no new request may begin, or None."""

    def __init__(self, folder: Path, least_free: int = 0) -> None:
        """``least_free``: bytes."""
        self._folder = folder
        self._reserve = folder / "reserve"
        self._least_free = least_free
        self._faults = 0
        self._fault: str | None = None
        self._short: str | None = None

    @property
    def refusing(self) -> str | None:
        return self._fault or self._short

    def prepare(self) -> None:
        """Sets the reserve aside, if it is not. Raises OSError when there is no room for it."""
        if self._reserve.exists():
            return
        draft = self._reserve.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        draft.rename(self._reserve)

    def give_up(self) -> bool:
        """Gives the reserve's space to whoever writes now; False when it is gone already. For the writer's thread."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        return True

    def failed(self, why: str) -> None:
        """A write has failed. For the writer's thread; nothing new begins until ``look`` has seen one succeed."""
        self._faults += 1
        self._fault = why

    async def look(self, in_flight: int, try_write: Callable[[], Awaitable[object]]) -> None:
        """Looks again. ``try_write`` raises when the spool cannot be written to; it is asked only after a failure."""
        needed, faults = max(self._least_free, 2 * in_flight * REQUEST_BYTES), self._faults
        try:
            free = shutil.disk_usage(self._folder).free
            self._short = None if free >= needed else f"{free // MIB} MiB of its disk are left, not {needed // MIB}"
            if self._short is not None:
                return
            if self._fault is not None:
                await try_write()
            await asyncio.to_thread(self.prepare)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is why nothing new may begin
            self._fault = self._fault or str(error)
        else:
            if faults == self._faults:
                self._fault = None

    async def watch(
        self,
        in_flight: Callable[[], int],
        try_write: Callable[[], Awaitable[object]],
        tell: Callable[[str | None], None],
    ) -> None:
        """Looks every second and tells why nothing may begin, or None."""
        before: str | None = None
        while True:
            await self.look(in_flight(), try_write)
            if self.refusing is not None and before is None:
                log.error("spool_has_no_room", why=self.refusing)
            before = self.refusing
            tell(before)
            await asyncio.sleep(LOOK_SECONDS)
