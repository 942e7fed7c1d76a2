"""The durable spool: every request's start and terminal record, on this instance's own disk until billing has them.

A record is open, then over, then shipped (the broker confirmed it), and is forgotten once it is booked or parked. A
terminal record is on the platter when ``finish`` returns. A start record or a checkpoint only has to survive the
process, so it is not synced.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import structlog

from services.router import spool_file
from services.router.room import Room
from services.router.spool_writer import SpoolFailed, Writer

log = structlog.get_logger()

Standing = Literal["new", "known", "lost"]
TRIAL_BYTES: Final = 1 << 18


class BelowFloor(SpoolFailed):
    """The order was authorized before this router's watermark: it is too late to begin it. Nothing was written."""


class Row(NamedTuple):
    """A terminal record waiting for the broker."""

    seq: int
    event: bytes
    price: bytes


class Shipped(NamedTuple):
    """A record that the broker has, of which it is not known whether it is booked. ``shipments``: how often it went."""

    seq: int
    request_id: UUID
    shipped_at: int
    shipments: int


class Promise(NamedTuple):
    """``floor``: whatever was authorized before it is not in here and never will be. ``oldest``: the lowest
    ``authorized_at`` in here. Both Unix milliseconds."""

    floor: int
    oldest: int | None
    unbooked: int


class Spool:
    """Open one with ``opened``. ``standing``: whether billing knows this spool; ``run``: how often it was opened."""

    def __init__(self, writer: Writer, spool_id: str, standing: Standing, run: int) -> None:
        self.id = spool_id
        self.standing = standing
        self.run = run
        self.in_flight = 0
        self.checkpoints = 0
        self.arrived = asyncio.Event()
        self._writer = writer
        self._unended: set[str] = set()

    async def start(self, request_id: UUID, partition: int, authorized_at: int, event: bytes, price: bytes) -> None:
        """Raises BelowFloor, AlreadyThere, or SpoolFailed; nothing was written then."""
        given = (request_id.hex, partition, authorized_at, event, price, authorized_at)
        writing = self._writer.put(lambda db: db.execute(START, given).rowcount, durable=False)
        try:
            written = await asyncio.shield(writing)
        except asyncio.CancelledError:  # it may be written all the same, and nobody else would end it
            writing.add_done_callback(lambda done: self._abandoned(request_id, done))
            raise
        if written != 1:
            raise BelowFloor("authorized before the watermark")
        self.in_flight += 1

    def _abandoned(self, request_id: UUID, writing: asyncio.Future[int]) -> None:
        """Only what this call has written is its own to end: another call may have been there first."""
        if not writing.cancelled() and writing.exception() is None and writing.result() == 1:
            self._unended.add(request_id.hex)

    def checkpoint(self, request_id: UUID, event: bytes) -> asyncio.Future[int]:
        """From now on this is what stands if we die. The result, which nobody has to wait for, is 1 if it does."""
        given = (event, request_id.hex)
        self.checkpoints += 1
        return self._writer.put(lambda db: db.execute(CHECKPOINT, given).rowcount, durable=False)

    async def finish(self, request_id: UUID, event: bytes) -> None:
        """Commits the terminal record. Raises SpoolFailed; then the request ends the way its last record says."""
        given = (event, request_id.hex)
        self.in_flight -= 1
        try:
            updated = await self._writer.put(lambda db: db.execute(FINISH, given).rowcount, durable=True, owed=True)
        except SpoolFailed:
            self._unended.add(request_id.hex)
            raise
        self.arrived.set()
        if updated != 1:
            raise SpoolFailed(f"{request_id} has no start record that waits for its end")

    def leave(self, request_id: UUID) -> None:
        """Nobody will finish this request any more: it ends the way its last record says."""
        self.in_flight -= 1
        self._unended.add(request_id.hex)

    async def recover(self) -> int:
        """At start: what an earlier run left unfinished ends the way its last record says. Returns how many."""
        return int(
            await self._writer.put(
                lambda db: db.execute("UPDATE record SET state = 1 WHERE state = 0").rowcount, durable=True, owed=True
            )
        )

    async def waiting(self, partition: int, limit: int) -> list[Row]:
        """The oldest terminal records of a partition."""
        return [Row(*row) for row in await self._rows(WAITING, (partition, limit))]

    async def mark_shipped(self, seqs: Iterable[int], at_ms: int) -> None:
        """The broker has these. Losing this is harmless: they would be sent again."""
        given = [(at_ms, seq) for seq in seqs]
        await self._writer.put(lambda db: db.executemany(SHIPPED, given), durable=False)

    async def shipped(self, after: int, limit: int) -> list[Shipped]:
        """Records that the broker has, by their numbers, from above ``after``."""
        return [Shipped(row[0], UUID(hex=row[1]), *row[2:]) for row in await self._rows(ASK, (after, limit))]

    async def drop(self, seqs: Iterable[int]) -> None:
        """Forgets records that are booked. Losing this is harmless: they would be asked about again."""
        given = [(seq,) for seq in seqs]
        await self._writer.put(lambda db: db.executemany("DELETE FROM record WHERE seq = ?", given), durable=False)

    async def ship_again(self, seqs: Iterable[int]) -> None:
        given = [(seq,) for seq in seqs]
        await self._writer.put(lambda db: db.executemany(AGAIN, given), durable=False)
        self.arrived.set()

    async def depth(self) -> int:
        """Terminal records not yet with the broker."""
        return int((await self._rows("SELECT count(*) FROM record WHERE state = 1", ()))[0][0])

    async def unbooked(self) -> int:
        """All records."""
        return int((await self._rows("SELECT count(*) FROM record", ()))[0][0])

    async def promise(self, bound: int) -> Promise:
        """Raises the floor as far as ``bound`` and what is in here let it rise; it never falls. On the platter by the
        time that it returns. Also ends requests whose terminal record could not be written."""
        left = [(hex_id,) for hex_id in self._unended]

        def work(db: sqlite3.Connection) -> tuple[Any, ...]:
            if left:
                db.executemany("UPDATE record SET state = 1 WHERE request_id = ? AND state = 0", left)
            db.execute(RAISE_FLOOR, (bound, bound))
            found: tuple[Any, ...] = db.execute(LOOK).fetchone()
            return found

        found = Promise(*await self._writer.put(work, durable=True))
        if left:
            self._unended.difference_update(hex_id for (hex_id,) in left)
            self.arrived.set()
        return found

    async def stand(self, standing: Standing) -> None:
        """Remembers what billing said of this spool."""
        if standing == self.standing:
            return
        await self._writer.put(lambda db: db.execute("UPDATE meta SET standing = ?", (standing,)), durable=True)
        self.standing = standing

    async def try_write(self) -> None:
        """Writes something that takes room, and forgets it. Raises SpoolFailed."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO trial VALUES (randomblob(?))", (TRIAL_BYTES,))
            db.execute("DELETE FROM trial")

        await self._writer.put(work, durable=True)

    async def _rows(self, query: str, given: tuple[int, ...]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = await self._writer.put(
            lambda db: db.execute(query, given).fetchall(), durable=False
        )
        return found


START: Final = """
INSERT INTO record (request_id, partition, authorized_at, event, price)
SELECT ?, ?, ?, ?, ? WHERE ? >= (SELECT floor FROM meta)
"""
CHECKPOINT: Final = "UPDATE record SET event = ? WHERE request_id = ? AND state = 0"
FINISH: Final = "UPDATE record SET state = 1, event = ? WHERE request_id = ? AND state = 0"
WAITING: Final = "SELECT seq, event, price FROM record WHERE state = 1 AND partition = ? ORDER BY seq LIMIT ?"
SHIPPED: Final = "UPDATE record SET state = 2, shipped_at = ?, shipments = shipments + 1 WHERE seq = ? AND state = 1"
ASK: Final = (
    "SELECT seq, request_id, shipped_at, shipments FROM record WHERE state = 2 AND seq > ? ORDER BY seq LIMIT ?"
)
AGAIN: Final = "UPDATE record SET state = 1 WHERE seq = ? AND state = 2"
RAISE_FLOOR: Final = """
UPDATE meta SET floor = max(floor, min(?, coalesce((SELECT min(authorized_at) FROM record), ?)))
"""
LOOK: Final = """
SELECT (SELECT floor FROM meta), (SELECT min(authorized_at) FROM record), (SELECT count(*) FROM record)
"""


@asynccontextmanager
async def opened(folder: Path, room: Room | None = None) -> AsyncIterator[Spool]:
    """The spool of this instance, with what an earlier run left made ready to ship. Raises SpoolUnusable."""
    with spool_file.locked(folder):
        room = room or Room(folder)
        db = await asyncio.to_thread(spool_file.connect, folder, room.give_up)
        db.execute("UPDATE meta SET runs = runs + 1")
        known = db.execute("SELECT spool, standing, runs FROM meta").fetchone()
        writer = Writer(db, room)
        try:
            spool = Spool(writer, *known)
            left = await spool.recover()
            if left:
                log.warning("spool_recovered", requests=left)
            spool.arrived.set()
            yield spool
        finally:
            await writer.close()
