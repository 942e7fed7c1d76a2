"""The durable spool: a record that was acknowledged is there, whatever happens to the process or the disk."""

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from services.router.spool import Spool, opened
from services.router.spool_file import SpoolUnusable
from services.router.spool_writer import GROUP, AlreadyThere, SpoolFailed
from tests.fixtures.samples import request_id

ROOT: Final = Path(__file__).resolve().parents[3]
PRICE: Final = b'{"price":1}'
AT: Final = 1000
WORKER: Final = """
import asyncio, sys
from pathlib import Path
from services.router.spool import opened
from tests.fixtures.samples import request_id

async def main():
    async with opened(Path(sys.argv[1])) as spool:
        for n in range(20):
            await spool.start(request_id(noise=n), n % 8, 1000 + n, b"start", b"price")
        await asyncio.gather(*(spool.finish(request_id(noise=n), b"end") for n in range(10)))
        print("acknowledged", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def rid(number: int) -> UUID:
    return request_id(noise=number)


async def begin(spool: Spool, *numbers: int, partition: int = 0) -> None:
    for number in numbers:
        await spool.start(rid(number), partition, AT + number, b"start %d" % number, PRICE)


async def end(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        await spool.finish(rid(number), b"end %d" % number)


async def events(spool: Spool, partition: int = 0) -> list[bytes]:
    return [row.event for row in await spool.waiting(partition, 1000)]


async def run_in(spool: Spool, statement: str) -> Any:
    """A statement on the spool's own connection."""
    return await spool._writer.put(lambda db: db.execute(statement).fetchall(), durable=False)


async def test_only_what_has_ended_waits_for_the_broker(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2, 3)
        assert (await events(spool), await spool.depth()) == ([], 0)
        await end(spool, 3, 1)
        assert await events(spool) == [b"end 1", b"end 3"]
        assert await spool.depth() == 2
        (row,) = await spool.waiting(0, 1)
        assert (row.event, row.price) == (b"end 1", PRICE)


async def test_each_partition_has_its_own_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 3, partition=5)
        await begin(spool, 2, partition=6)
        await end(spool, 3, 2, 1)
        assert [await events(spool, partition) for partition in (5, 6, 0)] == [[b"end 1", b"end 3"], [b"end 2"], []]
        assert await spool.depth() == 3


async def test_what_the_broker_has_is_kept_until_it_is_booked(tmp_path: Path) -> None:
    """Or a broker that loses its disk would lose money."""
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2, 3)
        await end(spool, 1, 2, 3)
        first, second, _ = await spool.waiting(0, 10)
        await spool.mark_shipped([first.seq, second.seq], 5000)
        assert (await events(spool), await spool.unbooked()) == ([b"end 3"], 3)
        assert await spool.shipped(0, 10) == [(first.seq, rid(1), 5000, 1), (second.seq, rid(2), 5000, 1)]
    async with opened(tmp_path) as spool:
        assert [row.seq for row in await spool.shipped(0, 10)] == [first.seq, second.seq]
        assert [row.seq for row in await spool.shipped(first.seq, 10)] == [second.seq]
        await spool.drop([first.seq, second.seq])
        await spool.drop([])
        assert (await spool.shipped(0, 10), await events(spool)) == ([], [b"end 3"])


async def test_what_is_sent_again_is_counted(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        await end(spool, 1)
        (row,) = await spool.waiting(0, 10)
        await spool.mark_shipped([row.seq], 5000)
        spool.arrived.clear()
        await spool.ship_again([row.seq])
        assert (spool.arrived.is_set(), await events(spool), await spool.shipped(0, 10)) == (True, [b"end 1"], [])
        await spool.mark_shipped([row.seq], 9000)
        assert await spool.shipped(0, 10) == [(row.seq, rid(1), 9000, 2)]


async def test_only_what_has_ended_is_shipped_and_only_what_was_shipped_is_sent_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2)
        await end(spool, 2)
        await spool.mark_shipped([1], 5000)
        await spool.ship_again([1, 2])
        assert (await events(spool), await spool.shipped(0, 10)) == ([b"end 2"], [])


async def test_a_checkpoint_stands_until_the_end_and_nobody_has_to_wait_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2)
        _ = spool.checkpoint(rid(1), b"half of 1")
        kept = [spool.checkpoint(rid(n), b"half of 2") for n in (2, 3)]
        assert [await one for one in kept] == [1, 0], "what never began has nothing to replace"
        await end(spool, 1)
        assert await spool.checkpoint(rid(1), b"too late") == 0
        assert spool.checkpoints == 4
    async with opened(tmp_path) as spool:
        assert await events(spool) == [b"end 1", b"half of 2"]


async def test_a_dropped_number_is_never_given_again(tmp_path: Path) -> None:
    """Or a late drop would forget a record that was never sent."""
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        await end(spool, 1)
        (row,) = await spool.waiting(0, 1)
        await spool.drop([row.seq])
        await begin(spool, 2)
        await end(spool, 2)
        await spool.drop([row.seq])
        assert await events(spool) == [b"end 2"]


async def test_the_first_end_stands(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        await spool.finish(rid(1), b"usage")
        with pytest.raises(SpoolFailed, match="no start record"):
            await spool.finish(rid(1), b"void")
        assert await events(spool) == [b"usage"]


async def test_nothing_ends_that_never_began(tmp_path: Path) -> None:
    """An end that was written nowhere must not be taken for one that was."""
    async with opened(tmp_path) as spool:
        with pytest.raises(SpoolFailed, match="no start record"):
            await spool.finish(rid(1), b"usage")
        assert await spool.depth() == 0


async def test_a_request_begins_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        with pytest.raises(AlreadyThere, match="UNIQUE"):
            await begin(spool, 1)
        assert spool.in_flight == 1


async def test_the_shipper_is_told_of_an_end_and_of_what_was_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        assert spool.arrived.is_set()
        spool.arrived.clear()
        await begin(spool, 1)
        assert not spool.arrived.is_set()
        await end(spool, 1)
        assert spool.arrived.is_set()


async def test_what_was_open_when_it_closed_ends_as_its_start_record_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2)
        await end(spool, 1)
    async with opened(tmp_path) as spool:
        assert await events(spool) == [b"end 1", b"start 2"]
        with pytest.raises(SpoolFailed, match="no start record"):
            await spool.finish(rid(2), b"too late")
        assert await events(spool) == [b"end 1", b"start 2"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_process_loses_no_record_that_was_acknowledged(tmp_path: Path, number: int) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"acknowledged\n"
    worker.send_signal(number)
    assert await worker.wait() == -number
    async with opened(tmp_path) as spool:
        found = [await events(spool, partition) for partition in range(8)]
    assert [sorted(rows) for rows in found] == [
        sorted(b"end" if n < 10 else b"start" for n in range(20) if n % 8 == partition) for partition in range(8)
    ]


async def test_two_processes_never_share_a_spool(tmp_path: Path) -> None:
    """The second would take the first one's running requests for lost ones and end them."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    try:
        assert await worker.stdout.readline() == b"acknowledged\n"
        with pytest.raises(SpoolUnusable, match="another router"):
            async with opened(tmp_path):
                pass
    finally:
        worker.kill()
        await worker.wait()
    async with opened(tmp_path) as spool:
        assert await spool.depth() == 20


async def test_one_bad_record_of_a_group_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 5)
        numbers = [1, 2, 5, 3, 5, 4]
        results = await asyncio.gather(
            *(spool.start(rid(n), 0, AT, b"start", PRICE) for n in numbers), return_exceptions=True
        )
        failed = [isinstance(result, SpoolFailed) for result in results]
        assert failed == [False, False, True, False, True, False]
        await end(spool, 1, 2, 3, 4, 5)
        assert await spool.depth() == 5


async def test_a_job_that_fails_in_an_unknown_way_fails_alone_and_the_thread_lives(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        odd = spool.start(rid(1), 2**70, AT, b"start", PRICE)  # more than SQLite can hold
        results = await asyncio.gather(begin(spool, 2), odd, begin(spool, 3), return_exceptions=True)
        assert [type(result) for result in results] == [type(None), SpoolFailed, type(None)]
        await end(spool, 2, 3)
        assert await spool.depth() == 2


async def test_more_than_a_group_at_once_is_all_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        numbers = range(GROUP * 2 + 7)
        await asyncio.gather(*(begin(spool, n) for n in numbers))
        await asyncio.gather(*(end(spool, n) for n in numbers))
        assert await spool.depth() == len(numbers)
        assert len(await spool.waiting(0, 10)) == 10


async def test_a_caller_that_gave_up_waiting_does_not_lose_the_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        waiter = asyncio.create_task(spool.finish(rid(1), b"end 1"))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert await events(spool) == [b"end 1"]


async def test_an_end_is_synced_and_a_start_need_not_be(tmp_path: Path) -> None:
    statements: list[str] = []
    async with opened(tmp_path) as spool:
        assert await run_in(spool, "PRAGMA journal_mode") == [("wal",)]
        spool._writer._db.set_trace_callback(statements.append)
        await begin(spool, 1, 2)
        assert {s for s in statements if "synchronous" in s} == {"PRAGMA synchronous = NORMAL"}
        statements.clear()
        await end(spool, 1)
        assert (statements[0], statements[-1]) == ("PRAGMA synchronous = FULL", "COMMIT")
        statements.clear()
        await asyncio.gather(begin(spool, 3), end(spool, 2), begin(spool, 4))
        assert [s for s in statements if "synchronous" in s] == ["PRAGMA synchronous = FULL"]
        assert statements.count("COMMIT") == 1, "what comes together is written together"


async def test_a_file_that_is_no_spool_is_said_to_be_one_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite").write_bytes(b"this is no database " * 500)
    with pytest.raises(SpoolUnusable, match="not a database"):
        async with asyncio.timeout(20), opened(tmp_path):
            pass


async def test_a_folder_that_cannot_be_used_is_said_to_be_one_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite").mkdir()
    with pytest.raises(SpoolUnusable, match="unable to open"):
        async with asyncio.timeout(20), opened(tmp_path):
            pass


async def test_a_closed_spool_refuses_instead_of_never_answering(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
    for late in (spool.finish(rid(1), b"end"), spool.depth()):
        with pytest.raises(SpoolFailed, match="closed"):
            async with asyncio.timeout(20):
                await late


async def test_what_was_asked_before_the_close_is_still_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1)
        last = asyncio.create_task(end(spool, 1))
        await asyncio.sleep(0)
    await last
    db = sqlite3.connect(tmp_path / "spool.sqlite")
    assert db.execute("SELECT event FROM record WHERE state = 1").fetchall() == [(b"end 1",)]
    db.close()


async def test_a_start_that_was_given_up_is_ended_all_the_same(tmp_path: Path) -> None:
    """It is on disk, nobody knows of it, and it would hold the watermark back for ever."""
    async with opened(tmp_path) as spool:
        waiter = asyncio.create_task(begin(spool, 1))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert (await spool.promise(0)).oldest == AT + 1
        await spool.promise(0)  # by now it is known that it was written
        assert await events(spool) == [b"start 1"]


async def test_a_request_that_is_left_ends_as_its_last_record_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        await begin(spool, 1, 2)
        await spool.checkpoint(rid(1), b"half of 1")
        spool.arrived.clear()
        spool.leave(rid(1))
        await spool.promise(0)
        assert (spool.arrived.is_set(), spool.in_flight, await events(spool)) == (True, 1, [b"half of 1"])


async def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    async with opened(tmp_path / "a" / "spool"):
        assert (tmp_path / "a" / "spool").stat().st_mode & 0o077 == 0
