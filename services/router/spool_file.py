"""The spool's file: its layout, the lock on its folder, and what becomes of an older layout or of a damaged file."""

import fcntl
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from services.router import salvage

log = structlog.get_logger()

VERSION: Final = 2
NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
# state: 0 open, 1 over and waiting for the broker, 2 shipped: the broker has it, the books are not known to have it
TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS record (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL UNIQUE,
        partition INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0,
        event BLOB NOT NULL,
        price BLOB NOT NULL,
        authorized_at INTEGER NOT NULL DEFAULT 0,
        shipped_at INTEGER NOT NULL DEFAULT 0,
        shipments INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX IF NOT EXISTS record_waiting ON record (partition, seq) WHERE state = 1",
    "CREATE INDEX IF NOT EXISTS record_shipped ON record (seq) WHERE state = 2",
    "CREATE INDEX IF NOT EXISTS record_authorized ON record (authorized_at)",
    """
    CREATE TABLE IF NOT EXISTS meta (
        only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
        spool TEXT NOT NULL,
        floor INTEGER NOT NULL,
        standing TEXT NOT NULL,
        runs INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE TABLE IF NOT EXISTS trial (filler BLOB NOT NULL)",
)
# the layout before had `terminal` (0 or 1), and nothing that watermarks need
TAKE_OVER: Final = (
    "DROP INDEX IF EXISTS record_terminal",
    "ALTER TABLE record RENAME COLUMN terminal TO state",
    "ALTER TABLE record ADD COLUMN authorized_at INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE record ADD COLUMN shipped_at INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE record ADD COLUMN shipments INTEGER NOT NULL DEFAULT 0",
    "UPDATE record SET authorized_at = millisecond_of(request_id)",
)


class SpoolUnusable(SystemExit):
    """The folder cannot hold a spool, or holds another router's."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A second router would take the requests that the first one is serving for lost ones, and end them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpoolUnusable(f"another router uses the spool in {folder}: give each one its own folder") from error
        yield


def connect(folder: Path, give_up_reserve: Callable[[], bool]) -> sqlite3.Connection:
    """The spool's database, for the one thread that will use it. Raises SpoolUnusable. On a full disk the reserve is
    given up for it: there may be records that have to be shipped."""
    try:
        return _connect(folder)
    except SpoolUnusable as error:
        if not is_full(error.__cause__) or not give_up_reserve():
            raise
        return _connect(folder)


def is_full(error: BaseException | None) -> bool:
    """Whether a write failed that would succeed with more room."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in NO_ROOM


def _connect(folder: Path) -> sqlite3.Connection:
    try:
        salvage.finish(folder)
        try:
            return _opened(folder / salvage.FILE)
        except sqlite3.DatabaseError as error:
            if not salvage.is_damage(error):
                raise
            log.error("spool_damaged", folder=str(folder), error=str(error))  # noqa: TRY400 - a disk's fault, not a bug
        return _salvaged(folder)
    except (sqlite3.Error, OSError) as error:
        raise SpoolUnusable(f"the spool in {folder} cannot be used: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        salvage.check(db)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.NotSupportedError(
                f"its layout {version} was made by a newer program; this one knows {VERSION}"
            )
        if version < VERSION:  # else nothing is written, for which a full disk would have no room
            lay_out(db)
    except sqlite3.Error:
        db.close()
        raise
    return db


def lay_out(db: sqlite3.Connection) -> None:
    """Makes the tables, out of those of an older layout if there are any. All of it or nothing."""
    db.create_function("millisecond_of", 1, lambda digits: int(digits[:12], 16), deterministic=True)
    db.execute("BEGIN IMMEDIATE")
    try:
        if any(column[1] == "terminal" for column in db.execute("PRAGMA table_info(record)")):
            for statement in TAKE_OVER:
                db.execute(statement)
            log.info("spool_taken_over", version=VERSION)
        for statement in TABLES:
            db.execute(statement)
        db.execute(
            "INSERT OR IGNORE INTO meta (only_one, spool, floor, standing) VALUES (1, ?, 0, 'new')",
            (secrets.token_hex(16),),
        )
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _salvaged(folder: Path) -> sqlite3.Connection:
    """A new file with all that could be read of the damaged one, which stays beside it."""
    db = sqlite3.connect(salvage.new_draft(folder), isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = FULL")
        lay_out(db)
        saved, lost = salvage.save(folder, db)
    finally:
        db.close()
    kept = salvage.take(folder)
    log.error("spool_salvaged", records=saved, unreadable=lost, damaged_file=str(kept))
    return _opened(folder / salvage.FILE)
