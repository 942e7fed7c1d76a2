"""The one thread that touches the spool's database. It commits whatever has gathered (a group) at once."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from services.router.room import Room

GROUP: Final = 500
NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
UNWRITABLE: Final = (
    *NO_ROOM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)


class SpoolFailed(Exception):
    """The record could not be written; the request must not go on."""


class AlreadyThere(SpoolFailed):
    """A record of this request is there: somebody else has begun it."""


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    owed: bool
    done: asyncio.Future[Any]


class Writer:
    """Made in the loop that asks; the thread runs until ``close``."""

    def __init__(self, db: sqlite3.Connection, room: Room) -> None:
        self._db = db
        self._room = room
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def put(
        self, work: Callable[[sqlite3.Connection], Any], *, durable: bool, owed: bool = False
    ) -> asyncio.Future[Any]:
        """The result of ``work`` once it is committed, or SpoolFailed. ``durable``: on the platter by then. ``owed``:
        it may take the reserve when the disk is full."""
        if self._closed:
            raise SpoolFailed("the spool is closed")
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, durable, owed, done))
        return done

    async def close(self) -> None:
        """What was asked before is still done."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = self._gather(job)
            self._commit(jobs)
            if last:
                break
        self._db.close()

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        jobs = [first]
        while len(jobs) < GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for the group; where that fails, one for each, so that one bad record fails alone."""
        try:
            results = _transaction(self._db, jobs)
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            if len(jobs) == 1:
                self._failed(jobs[0], error)
                return
            for job in jobs:
                self._commit([job])
            return
        for job, result in zip(jobs, results, strict=True):
            self._answer(job, result, None)

    def _failed(self, job: _Job, error: Exception) -> None:
        """Where there is no room, the reserve is given to a record that is owed, and the write is tried once more."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in UNWRITABLE:
            self._room.failed(str(error))
        if code in NO_ROOM and job.owed and self._room.give_up():
            self._commit([job])
            return
        there = isinstance(error, sqlite3.IntegrityError)
        self._answer(job, None, AlreadyThere(str(error)) if there else SpoolFailed(str(error)))

    def _answer(self, job: _Job, result: Any, error: SpoolFailed | None) -> None:
        def tell() -> None:
            if job.done.done():
                return
            if error is None:
                job.done.set_result(result)
            else:
                job.done.set_exception(error)

        self._loop.call_soon_threadsafe(tell)


def _transaction(db: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
    db.execute(f"PRAGMA synchronous = {'FULL' if any(job.durable for job in jobs) else 'NORMAL'}")
    db.execute("BEGIN IMMEDIATE")
    try:
        results = [job.work(db) for job in jobs]
        db.execute("COMMIT")
    except Exception:  # whatever it was, the next group needs a connection without a transaction
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return results
