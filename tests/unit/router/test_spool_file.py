"""Files of an older layout and damaged files: every record that can be read goes on."""

import sqlite3
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from structlog.testing import capture_logs

from libs import ids
from libs.contracts import usage
from services.router import salvage, spool_file
from services.router.spool import BelowFloor, Spool, opened
from services.router.spool_file import SpoolUnusable
from tests.fixtures.samples import NOW_MS, event, price, request_id

PAGE: Final = 4096
PRICE: Final = msgspec.json.encode(price())
BEFORE: Final = (
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


def body(number: int) -> bytes:
    return usage.encode_event(event(request_id=request_id(noise=number)))


def make_before(folder: Path, count: int) -> None:
    """A spool as the layout before made it: even numbers have ended."""
    db = sqlite3.connect(folder / "spool.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    for statement in BEFORE:
        db.execute(statement)
    for n in range(1, count + 1):
        given = (request_id(NOW_MS + n, n).hex, n % 2, 1 - n % 2, body(n), PRICE)
        db.execute("INSERT INTO record (request_id, partition, terminal, event, price) VALUES (?, ?, ?, ?, ?)", given)
    db.execute("DELETE FROM record WHERE seq = 1")
    db.close()


async def make_now(folder: Path, count: int) -> str:
    """A spool of today with as many open records; returns its name."""
    async with opened(folder) as spool:
        await spool.promise(NOW_MS - 10)
        await spool.stand("known")
        for n in range(1, count + 1):
            await spool.start(request_id(noise=n), 0, NOW_MS + n, body(n), PRICE)
        return spool.id


async def bodies(spool: Spool) -> list[bytes]:
    return [row.event for partition in (0, 1) for row in await spool.waiting(partition, 1000)]


def damage(folder: Path, *pages: int) -> None:
    """Overwrites pages of the file, counted from 0."""
    with (folder / "spool.sqlite").open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(b"\xa5" * PAGE)


def rows_in(path: Path, query: str) -> list[Any]:
    db = sqlite3.connect(path)
    found = db.execute(query).fetchall()
    db.close()
    return found


def kept_in(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name.startswith("damaged-")]


async def test_a_spool_of_the_layout_before_is_taken_over_whole(tmp_path: Path) -> None:
    make_before(tmp_path, 41)
    async with opened(tmp_path) as spool:
        assert sorted(await bodies(spool)) == sorted(body(n) for n in range(2, 42))
        assert (spool.standing, await spool.depth()) == ("new", 40)
        promised = await spool.promise(NOW_MS + 1000)
        assert promised == (NOW_MS + 2, NOW_MS + 2, 40), "by the millisecond of their ids"
        name = spool.id
    async with opened(tmp_path) as spool:
        assert (spool.id, await spool.depth()) == (name, 40)
        with pytest.raises(BelowFloor):
            await spool.start(request_id(noise=99), 0, NOW_MS + 1, b"start", PRICE)


async def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    name = await make_now(tmp_path, 3)
    db = sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)
    db.execute("PRAGMA user_version = 3")
    with pytest.raises(SpoolUnusable, match="newer program"):
        async with opened(tmp_path):
            pass
    db.execute("PRAGMA user_version = 2")
    db.close()
    async with opened(tmp_path) as spool:
        assert (spool.id, await spool.depth()) == (name, 3)


async def test_a_taking_over_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_before(tmp_path, 4)
    monkeypatch.setattr(spool_file, "TAKE_OVER", (*spool_file.TAKE_OVER, "SELECT nonsense"))
    with pytest.raises(SpoolUnusable, match="nonsense"):
        async with opened(tmp_path):
            pass
    monkeypatch.undo()
    async with opened(tmp_path) as spool:
        assert len(await bodies(spool)) == 3


async def test_a_taken_over_file_looks_like_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    make_before(tmp_path / "old", 2)
    shapes = []
    for name in ("old", "new"):
        async with opened(tmp_path / name):
            pass
        path = tmp_path / name / "spool.sqlite"
        columns = {(c[1], c[2], c[3], c[4]) for c in rows_in(path, "PRAGMA table_info(record)")}
        shapes.append((columns, rows_in(path, "SELECT name FROM sqlite_master ORDER BY name")))
    assert shapes[0] == shapes[1]


async def test_of_a_damaged_file_everything_readable_goes_on_and_the_file_is_kept(tmp_path: Path) -> None:
    name = await make_now(tmp_path, 60)
    root = rows_in(tmp_path / "spool.sqlite", "SELECT rootpage FROM sqlite_master WHERE name = 'record'")[0][0]
    leaves = (tmp_path / "spool.sqlite").stat().st_size // PAGE
    assert leaves > 20, "one page is a small part of it"
    damage(tmp_path, leaves // 2, leaves - 2)
    assert root < leaves // 2
    with capture_logs() as logs:
        async with opened(tmp_path) as spool:
            found = await bodies(spool)
            assert (spool.id, spool.standing) == (name, "known")
            assert (await spool.promise(0)).floor == NOW_MS - 10
    assert {one["event"] for one in logs if one["log_level"] == "error"} == {"spool_damaged", "spool_salvaged"}
    assert 40 <= len(found) < 60
    assert set(found) <= {body(n) for n in range(1, 61)}
    (kept,) = (file for file in kept_in(tmp_path) if file.suffix == ".sqlite")
    assert kept.read_bytes()[(leaves // 2) * PAGE :].startswith(b"\xa5" * PAGE)
    async with opened(tmp_path) as spool:
        assert await bodies(spool) == found


async def test_a_file_that_was_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    await make_now(tmp_path, 200)
    path = tmp_path / "spool.sqlite"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // PAGE * 3 // 4 * PAGE)
    async with opened(tmp_path) as spool:
        found = await bodies(spool)
    assert 100 <= len(found) < 200
    assert set(found) <= {body(n) for n in range(1, 201)}


async def test_a_damaged_file_of_the_layout_before_is_salvaged_too(tmp_path: Path) -> None:
    make_before(tmp_path, 60)
    damage(tmp_path, (tmp_path / "spool.sqlite").stat().st_size // PAGE - 2)
    async with opened(tmp_path) as spool:
        assert 40 <= len(await bodies(spool)) < 60
        assert (await spool.promise(NOW_MS + 1000)).oldest == NOW_MS + 2


async def test_what_is_no_record_any_more_spoils_no_message(tmp_path: Path) -> None:
    """SQLite does not notice when only the bytes of a record are wrong; the broker's reader would."""
    await make_now(tmp_path, 60)
    path = tmp_path / "spool.sqlite"
    raw = path.read_bytes()
    spot = raw.index(body(30)) + 20
    path.write_bytes(raw[:spot] + b"\x00\x01\x02" + raw[spot + 3 :])
    damage(tmp_path, path.stat().st_size // PAGE - 2)
    async with opened(tmp_path) as spool:
        found = await bodies(spool)
    assert body(29) in found
    assert set(found) <= {body(n) for n in range(1, 61)}


@pytest.mark.parametrize("moved", range(4))
async def test_a_salvage_that_was_interrupted_is_finished(tmp_path: Path, moved: int) -> None:
    """However many of the damaged parts had been moved, the salvaged file is the spool, and never beside a log that is
    not its own."""
    (tmp_path / "other").mkdir()
    await make_now(tmp_path / "other", 3)
    (tmp_path / "other" / "spool.sqlite").rename(tmp_path / "salvaged.sqlite")
    for part in salvage.PARTS[moved:]:
        (tmp_path / f"spool.sqlite{part}").write_bytes(b"damaged")
    async with opened(tmp_path) as spool:
        assert await bodies(spool) == [body(n) for n in (1, 2, 3)]
    assert not (tmp_path / "salvaged.sqlite").exists()
    assert len(kept_in(tmp_path)) == 3 - moved


async def test_a_draft_of_a_salvage_counts_for_nothing(tmp_path: Path) -> None:
    await make_now(tmp_path, 60)
    (tmp_path / "salvaged.sqlite.new").write_bytes(b"half of it")
    async with opened(tmp_path) as spool:
        assert len(await bodies(spool)) == 60
    damage(tmp_path, (tmp_path / "spool.sqlite").stat().st_size // PAGE - 2)
    async with opened(tmp_path) as spool:
        assert 40 <= len(await bodies(spool)) < 60


def test_request_ids_count_by_the_same_millisecond_everywhere() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    spool_file.lay_out(db)
    found = db.execute("SELECT millisecond_of(?)", (request_id().hex,)).fetchone()
    assert found == (ids.millisecond_of(request_id()),)
    db.close()
