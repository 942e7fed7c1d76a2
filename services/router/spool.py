"""The durable spool: every request's start and terminal record, on this instance's own disk until the broker has them.

SQLite in WAL mode behind one writer thread that commits whatever has gathered (a group). A terminal record is on the
platter when ``finish`` returns. A start record only has to survive the process, so it is not synced.
"""

import asyncio
import fcntl
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog

log = structlog.get_logger()

SETUP: Final = (
    "PRAGMA journal_mode = WAL",
    """
    CREATE TABLE IF NOT EXISTS record (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE,
        partition INTEGER NOT NULL,
        terminal INTEGER NOT NULL DEFAULT 0,
        event BLOB NOT NULL,
        price BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS record_terminal ON record (terminal, partition, seq)",
)
GROUP: Final = 500


class SpoolFailed(Exception):
    """The record could not be written; the request must not go on."""


class SpoolUnusable(SystemExit):
    """The folder cannot hold a spool, or holds another router's."""


class Row(NamedTuple):
    """A terminal record waiting for the broker."""

    seq: int
    event: bytes
    price: bytes


class _Job(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: asyncio.Future[Any]


class Spool:
    """Open one with ``opened``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self.arrived = asyncio.Event()

    async def start(self, request_id: UUID, partition: int, event: bytes, price: bytes) -> None:
        """Raises SpoolFailed; nothing was written then."""
        await self._do(
            lambda db: db.execute(
                "INSERT INTO record (request_id, partition, event, price) VALUES (?, ?, ?, ?)",
                (request_id.hex, partition, event, price),
            ),
            durable=False,
        )

    async def finish(self, request_id: UUID, event: bytes) -> None:
        """Commits the terminal record. Raises SpoolFailed."""
        updated = await self._do(
            lambda db: (
                db.execute(
                    "UPDATE record SET terminal = 1, event = ? WHERE request_id = ? AND terminal = 0",
                    (event, request_id.hex),
                ).rowcount
            ),
            durable=True,
        )
        self.arrived.set()
        if updated != 1:
            raise SpoolFailed(f"{request_id} has no start record that waits for its end")

    async def recover(self) -> int:
        """At start: what an earlier run left unfinished ends the way its start record says. Returns how many."""
        return int(
            await self._do(
                lambda db: db.execute("UPDATE record SET terminal = 1 WHERE terminal = 0").rowcount, durable=True
            )
        )

    async def waiting(self, partition: int, limit: int) -> list[Row]:
        """The oldest terminal records of a partition."""
        rows = await self._do(
            lambda db: db.execute(
                "SELECT seq, event, price FROM record WHERE terminal = 1 AND partition = ? ORDER BY seq LIMIT ?",
                (partition, limit),
            ).fetchall(),
            durable=False,
        )
        return [Row(*row) for row in rows]

    async def drop(self, seqs: list[int]) -> None:
        """Forgets records that the broker has. Losing this is harmless: they would be sent again."""
        await self._do(
            lambda db: db.executemany("DELETE FROM record WHERE seq = ?", [(seq,) for seq in seqs]), durable=False
        )

    async def depth(self) -> int:
        """Terminal records not yet with the broker."""
        found = await self._do(
            lambda db: db.execute("SELECT count(*) FROM record WHERE terminal = 1").fetchone(), durable=False
        )
        return int(found[0])

    async def _do(self, work: Callable[[sqlite3.Connection], Any], *, durable: bool) -> Any:
        if self._closed:
            raise SpoolFailed("the spool is closed")
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put(_Job(work, durable, done))
        return await done

    def _open(self) -> None:
        self._thread.start()

    async def _close(self) -> None:
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
            if len(jobs) > 1:
                for job in jobs:
                    self._commit([job])
                return
            self._answer(jobs[0], None, SpoolFailed(str(error)))
            return
        for job, result in zip(jobs, results, strict=True):
            self._answer(job, result, None)

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


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for the one thread that will use it."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for statement in SETUP:
            db.execute(statement)
    except sqlite3.Error:
        db.close()
        raise
    return db


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A second router would take the requests that the first one is serving for lost ones, and end them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolUnusable(f"another router uses the spool in {folder}: give each one its own folder") from error
        yield


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Spool]:
    """The spool of this instance, with what an earlier run left made ready to ship. Raises SpoolUnusable."""
    with _locked(folder):
        try:
            db = await asyncio.to_thread(_connect, folder / "spool.sqlite")
        except sqlite3.Error as error:
            raise SpoolUnusable(f"the spool in {folder} cannot be used: {error}") from error
        spool = Spool(db)
        spool._open()  # noqa: SLF001 - this is its constructor
        try:
            left = await spool.recover()
            if left:
                log.warning("spool_recovered", requests=left)
            spool.arrived.set()
            yield spool
        finally:
            await spool._close()  # noqa: SLF001 - and this its destructor
