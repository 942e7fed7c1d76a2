"""Saving what can be read of a damaged spool.

The new file is complete before it bears a name that counts (`salvaged.sqlite`); from then on it is the spool, and
what is left to do is moving files. So a process that dies in between loses nothing.
"""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from libs.contracts import usage
from libs.pricing import Price
from libs.runtime.clock import now_ms

log = structlog.get_logger()

FILE: Final = "spool.sqlite"
DRAFT: Final = "salvaged.sqlite.new"
SALVAGED: Final = "salvaged.sqlite"
PARTS: Final = (
    "-wal",
    "-shm",
    "",
)  # the log first: without its database it is nothing, beside another one it is poison
AT_ONCE: Final = 1000
COLUMNS: Final = ("seq", "request_id", "partition", "event", "price")
_price = msgspec.json.Decoder(Price)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether parts of the file may still be good. A file that is no database at all is not ours to replace."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT


def check(db: sqlite3.Connection) -> None:
    """Reads every page. Raises DatabaseError, as SQLite itself does where it stumbles."""
    (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def new_draft(folder: Path) -> Path:
    """The name of the new file while it is being written."""
    for part in ("", "-journal"):
        (folder / f"{DRAFT}{part}").unlink(missing_ok=True)
    return folder / DRAFT


def save(folder: Path, into: sqlite3.Connection) -> tuple[int, int]:
    """Copies every good record, and who the spool is. Returns how many were saved, and how many numbers were not
    readable or not a record. Raises sqlite3.Error when nothing can be read at all."""
    damaged = sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, isolation_level=None)
    damaged.row_factory = sqlite3.Row
    try:
        damaged.execute("PRAGMA writable_schema = ON")  # or a file that was cut short is not read at all
        into.execute("BEGIN IMMEDIATE")
        _save_meta(damaged, into)
        saved, lost = 0, 0
        for found in _readable(damaged, 1, _highest(damaged)):
            if found is None or not _is_record(found):
                lost += 1
                continue
            saved += _insert(found, into)
        into.execute("COMMIT")
    finally:
        damaged.close()
    return saved, lost


def take(folder: Path) -> Path:
    """Puts the draft in the place of the damaged file. Returns where that is kept."""
    with (folder / DRAFT).open("rb") as file:
        os.fsync(file.fileno())
    (folder / DRAFT).rename(folder / SALVAGED)
    return finish(folder) or folder


def finish(folder: Path) -> Path | None:
    """Does what an earlier ``take`` had left to do. Returns where the damaged file is kept, if there was one."""
    if not (folder / SALVAGED).exists():
        return None
    kept = folder / f"damaged-{now_ms()}.sqlite"
    for part in PARTS:
        if (moved := folder / f"{FILE}{part}").exists():
            moved.rename(f"{kept}{part}")
    (folder / SALVAGED).rename(folder / FILE)
    return kept


def _highest(db: sqlite3.Connection) -> int:
    try:
        found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    except sqlite3.DatabaseError:
        found = db.execute("SELECT max(seq) FROM record").fetchone()
    return int(found[0] or 0) if found else 0


def _readable(db: sqlite3.Connection, low: int, high: int) -> Iterator[sqlite3.Row | None]:
    """The records of a range; None for a number that cannot be read. A range that fails is read in halves."""
    spans = [(first, min(first + AT_ONCE - 1, high)) for first in range(low, high + 1, AT_ONCE)][::-1]
    while spans:
        first, last = spans.pop()
        if first > last:
            continue
        try:
            yield from db.execute("SELECT * FROM record WHERE seq BETWEEN ? AND ?", (first, last)).fetchall()
        except sqlite3.DatabaseError:
            if first == last:
                yield None
                continue
            middle = (first + last) // 2
            spans += [(middle + 1, last), (first, middle)]


def _is_record(row: sqlite3.Row) -> bool:
    """What makes no sense would spoil the message it goes out with."""
    try:
        usage.decode_event(row["event"])
        _price.decode(row["price"])
    except (msgspec.DecodeError, TypeError):
        log.error("spool_record_unreadable", seq=row["seq"])  # noqa: TRY400 - a disk's fault, not a bug
        return False
    return True


def _insert(row: sqlite3.Row, into: sqlite3.Connection) -> int:
    had = dict(zip(row.keys(), row, strict=True))
    state = had["terminal"] if "terminal" in had else had["state"]
    authorized_at = had.get("authorized_at") or int(had["request_id"][:12], 16)
    values: list[Any] = [*(had[name] for name in COLUMNS), state, authorized_at]
    values += [had.get("shipped_at", 0), had.get("shipments", 0)]
    return into.execute(
        """INSERT OR IGNORE INTO record
        (seq, request_id, partition, event, price, state, authorized_at, shipped_at, shipments)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        values,
    ).rowcount


def _save_meta(damaged: sqlite3.Connection, into: sqlite3.Connection) -> None:
    """A spool whose name is lost goes on under a new one, and billing has to be told that the old one is."""
    try:
        found = damaged.execute("SELECT spool, floor, standing, runs FROM meta").fetchone()
    except sqlite3.DatabaseError as error:
        log.error("spool_name_unreadable", error=str(error))  # noqa: TRY400 - a disk's fault, not a bug
        return
    if found is None:
        return
    into.execute("UPDATE meta SET spool = ?, floor = ?, standing = ?, runs = ?", tuple(found))
