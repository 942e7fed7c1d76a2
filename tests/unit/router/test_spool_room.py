"""A disk without room: nothing new begins, and what has begun still gets its terminal record."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest

from services.router.room import MIB, RESERVE_BYTES, Room
from services.router.spool import Spool, opened
from services.router.spool_writer import SpoolFailed
from tests.fixtures.samples import request_id

ROOT: Final = Path(__file__).resolve().parents[3]
PRICE: Final = b'{"price":1}'
LARGE: Final = b"x" * 100_000
ON_A_SMALL_DISK: Final = """
import asyncio, sys
from pathlib import Path
from services.router.room import Room
from services.router.spool import opened
from services.router.spool_writer import SpoolFailed
from tests.fixtures.samples import request_id

def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as filler:  # somebody else's
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            pass

async def main():
    folder = Path(sys.argv[1])
    room = Room(folder)
    async with opened(folder, room) as spool:
        await room.look(0, spool.try_write)
        assert room.refusing is None, room.refusing
        for n in range(50):
            await spool.start(request_id(noise=n), 0, 1, b"start", b"price")
        fill(folder)
        refused = 0
        for n in range(50, 5000):
            try:
                await spool.start(request_id(noise=n), 0, 1, b"x" * 4096, b"price")
            except SpoolFailed:
                refused = n
                break
        assert refused, "the disk is not full: this shows nothing"
        assert room.refusing is not None and (folder / "reserve").exists()
        for n in range(refused):
            await spool.finish(request_id(noise=n), b"y" * 2000)
        assert not (folder / "reserve").exists(), "it was not needed: this shows nothing"
        assert await spool.depth() == refused
        await room.look(0, spool.try_write)
        assert room.refusing is not None
        (folder / "filler").unlink()
        await room.look(0, spool.try_write)
        assert room.refusing is None and (folder / "reserve").exists()
        await spool.start(request_id(noise=refused), 0, 1, b"start", b"price")
    room = Room(folder)
    room.prepare()
    fill(folder)
    async with opened(folder, room) as spool:
        assert await spool.depth() == refused + 1, "also on a full disk it comes up and has what it had"
        assert not (folder / "reserve").exists(), "it was not needed: this shows nothing"
    print("done", flush=True)

asyncio.run(main())
"""


def rid(number: int) -> UUID:
    return request_id(noise=number)


async def in_thread(spool: Spool, statement: str) -> Any:
    return await spool._writer.put(lambda db: db.execute(statement).fetchall(), durable=False)


async def fill(spool: Spool) -> None:
    """From here on the file cannot grow."""
    ((pages,),) = await in_thread(spool, "PRAGMA page_count")
    await in_thread(spool, f"PRAGMA max_page_count = {pages}")


def why(there: Room) -> str | None:
    return there.refusing


class PagesInReserve(Room):
    """Gives the spool's file leave to grow, where a real one gives the disk its space back."""

    spool: Spool
    given_up = 0

    def give_up(self) -> bool:
        if not super().give_up():
            return False
        self.given_up += 1
        self.spool._writer._db.execute("PRAGMA max_page_count = 100000")
        return True


class Free(NamedTuple):
    free: int


async def test_what_has_begun_is_recorded_out_of_the_reserve_and_nothing_new_begins(tmp_path: Path) -> None:
    there = PagesInReserve(tmp_path)
    async with opened(tmp_path, there) as spool:
        there.spool = spool
        await spool.start(rid(1), 0, 1, b"start", PRICE)
        await there.look(0, spool.try_write)
        await fill(spool)
        with pytest.raises(SpoolFailed, match="full"):
            await spool.start(rid(2), 0, 1, LARGE, PRICE)
        assert there.refusing == "database or disk is full"
        assert there.given_up == 0, "the reserve is for those who are owed a record"
        await spool.finish(rid(1), LARGE)
        assert (there.given_up, [row.event for row in await spool.waiting(0, 9)]) == (1, [LARGE])


async def test_without_a_reserve_the_record_fails_and_the_request_ends_as_it_stands(tmp_path: Path) -> None:
    there = Room(tmp_path)
    async with opened(tmp_path, there) as spool:
        await spool.start(rid(1), 0, 1, b"start 1", PRICE)
        await spool.start(rid(2), 0, 1, b"start 2", PRICE)
        await fill(spool)
        with pytest.raises(SpoolFailed, match="full"):
            await spool.finish(rid(1), LARGE)
        assert spool.in_flight == 1
        assert (await spool.promise(5)).unbooked == 2
        assert [row.event for row in await spool.waiting(0, 9)] == [b"start 1"], "or it would block the watermark"
        await spool.finish(rid(2), b"end 2")
        assert [row.event for row in await spool.waiting(0, 9)] == [b"start 1", b"end 2"]


async def test_requests_are_taken_again_once_a_write_succeeds(tmp_path: Path) -> None:
    there = Room(tmp_path)
    async with opened(tmp_path, there) as spool:
        await fill(spool)
        with pytest.raises(SpoolFailed):
            await spool.start(rid(1), 0, 1, LARGE, PRICE)
        await there.look(0, spool.try_write)
        assert why(there) == "database or disk is full"
        await in_thread(spool, "PRAGMA max_page_count = 100000")
        await there.look(0, spool.try_write)
        assert why(there) is None
        await spool.start(rid(1), 0, 1, LARGE, PRICE)


@pytest.mark.parametrize(
    ("free", "in_flight", "refuses"),
    [(300, 0, False), (255, 0, True), (300, 4096, False), (255, 4096, True), (300, 5000, True), (400, 5000, False)],
)
async def test_nothing_begins_where_little_room_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, in_flight: int, refuses: bool
) -> None:
    """The least that has to be free, or twice what those who are being served may still write."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: Free(free * MIB))
    there = Room(tmp_path, 256 * MIB)
    async with opened(tmp_path, there) as spool:
        await there.look(in_flight, spool.try_write)
        assert (there.refusing is not None) is refuses
        monkeypatch.setattr("shutil.disk_usage", lambda _: Free(1000 * MIB))
        await there.look(in_flight, spool.try_write)
        assert there.refusing is None


async def test_a_reserve_that_cannot_be_set_aside_is_why_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    there = Room(tmp_path)
    async with opened(tmp_path, there) as spool:
        await there.look(0, spool.try_write)
        assert "No space left" in str(there.refusing)
        monkeypatch.undo()
        await there.look(0, spool.try_write)
        assert (there.refusing, (tmp_path / "reserve").stat().st_size) == (None, RESERVE_BYTES)


async def test_a_bad_record_is_no_reason_to_refuse_others(tmp_path: Path) -> None:
    there = Room(tmp_path)
    async with opened(tmp_path, there) as spool:
        await spool.start(rid(1), 0, 1, b"start", PRICE)
        for bad in (spool.start(rid(1), 0, 1, b"start", PRICE), spool.start(rid(2), 2**70, 1, b"start", PRICE)):
            with pytest.raises(SpoolFailed):
                await bad
        assert there.refusing is None


async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system of 24 MiB, of which 16 are the reserve."""
    script = 'mount -t tmpfs -o size=24m none "$0" && exec "$1" -c "$2" "$0"'
    if not await allowed(tmp_path):
        pytest.skip("nobody may mount anything here")
    worker = await asyncio.create_subprocess_exec(
        *("unshare", "-Urm", "sh", "-c", script, str(tmp_path), sys.executable, ON_A_SMALL_DISK),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(worker.communicate(), 100)
    assert told.endswith(b"done\n"), told.decode()


async def allowed(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    asked = await asyncio.create_subprocess_exec(
        *("unshare", "-Urm", "mount", "-t", "tmpfs", "none", str(folder)), stderr=asyncio.subprocess.DEVNULL
    )
    return await asked.wait() == 0
