"""F18–F26: PostgreSQL and Redis die, freeze, fill up and forget."""

import asyncio
import shutil
from pathlib import Path

from tests.faults import asks
from tests.faults.scenario import Run, Scenario, long, must

REFUSE_INSERTS = """
CREATE OR REPLACE FUNCTION disk_is_full() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER disk_is_full BEFORE INSERT ON charge FOR EACH STATEMENT EXECUTE FUNCTION disk_is_full();
"""


async def postgres_killed(run: Run) -> None:
    async with run.load():
        for _ in range(2):
            await run.pause(2)
            await run.world.own.kill("postgres")
            await run.pause(1)
            await run.world.own.start("postgres")
        await run.pause(2)


async def postgres_away(run: Run) -> None:
    """Of its full length only when asked for."""
    seconds = long(600, 10, run)
    async with run.load(20, asks.calm, run.customers[0]):
        await run.pause(2)
        await run.world.own.stop("postgres")
        await asyncio.sleep(seconds)
        await run.world.own.start("postgres")
        await run.pause(3)
    seen = {status for status in run.statuses() if status}
    must(seen <= {200, 503}, f"callers saw {run.statuses()}")


async def balance_locked(run: Run) -> None:
    seconds = long(30, 8, run)
    async with run.load(20, asks.mixed, run.customers[0], run.customers[1]):
        await run.pause(1)
        async with run.world.books() as books, books.transaction():
            await books.execute("LOCK TABLE balance IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(seconds)
        await run.pause(2)


async def disk_full(run: Run) -> None:
    async with run.load(), run.world.books() as books:
        await run.pause(1)
        await books.execute(REFUSE_INSERTS)
        before = await books.fetchval("SELECT count(*) FROM charge")
        await run.pause(5)
        must(await books.fetchval("SELECT count(*) FROM charge") == before, "the disk was not full")
        await books.execute("DROP TRIGGER disk_is_full ON charge")
        await run.pause(1)


async def redis_killed(run: Run) -> None:
    """With its file, without it, and with an old copy of it."""
    data = run.world.own.stack.run_dir / "redis" / "data"
    copy = data.with_name("old-copy")
    async with run.load():
        await _copied(data, copy)
        for put_back in (None, Path(), copy):
            await run.pause(2)
            await run.world.own.kill("redis")
            if put_back is not None:
                shutil.rmtree(data)
            if put_back == copy:
                await _copied(copy, data)
            await run.world.own.start("redis")
        await run.pause(2)
    shutil.rmtree(copy)
    await run.served_again(run.customers[0])


async def _copied(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, source, target)


async def flushed(run: Run) -> None:
    async with run.load(), run.world.redis() as redis:
        for _ in range(4):
            await run.pause(2)
            await redis.flushall()
        await run.pause(1)
    await run.served_again(run.customers[0])


async def redis_frozen(run: Run) -> None:
    async with run.load(20, asks.mixed, run.customers[0], run.customers[1]):
        await run.pause(1)
        run.world.own.freeze("redis")
        answer = await run.ask(run.customers[0])
        await run.pause(4)
        run.world.own.thaw("redis")
        await run.pause(1)
    must(answer.status == 503, f"without Redis a caller saw {answer.status}")
    await run.served_again(run.customers[0])


async def redis_full(run: Run) -> None:
    async with run.load(), run.world.redis() as redis:
        await run.pause(1)
        before = await redis.config_get("maxmemory")
        await redis.config_set("maxmemory", "1mb")
        await run.pause(1)
        answer = await run.ask(run.customers[0])
        await run.pause(3)
        await redis.config_set("maxmemory", before["maxmemory"])
        await run.pause(1)
    must(answer.status == 503, f"with a full Redis a caller saw {answer.status}")
    await run.served_again(run.customers[0])


async def scripts_lost(run: Run) -> None:
    async with run.load(30, asks.calm, run.customers[0]), run.world.redis() as redis:
        for _ in range(10):
            await run.pause(0.4)
            await redis.script_flush()
    must(set(run.statuses()) == {200}, f"callers saw {run.statuses()}")


SCENARIOS = (
    Scenario("F18", "PostgreSQL killed during batches", "catches up", postgres_killed, soak=True),
    Scenario("F19", "PostgreSQL away", "served or 503, never 402", postgres_away, soak=True),
    Scenario("F20", "balance table locked", "waited for, nothing parked", balance_locked, soak=True),
    Scenario("F21", "PostgreSQL says its disk is full", "no ack, resumes", disk_full, soak=True),
    Scenario("F22", "Redis killed: file kept, lost, old copy", "served again", redis_killed, fast=True, soak=True),
    Scenario("F23", "FLUSHALL every two seconds", "doubt returns to nothing", flushed, fast=True, soak=True),
    Scenario("F24", "Redis frozen", "503", redis_frozen, soak=True),
    Scenario("F25", "Redis out of memory", "503, settled later", redis_full, soak=True),
    Scenario("F26", "scripts lost in Redis", "every request is served, none held twice", scripts_lost, soak=True),
)
