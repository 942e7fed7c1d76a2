"""F35 and F36: a router whose disk is full or damaged, and services whose clocks are wrong."""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from deploy.local import processes
from deploy.local.processes import Program
from deploy.local.stack import ROOT
from libs.runtime import postgres
from services.billing import replay
from services.billing.poster import Poster
from tests.faults import asks
from tests.faults.scenario import Run, Scenario, must
from tests.fixtures.gateway import until

SMALL: Final = "48m"
COUNT: Final = (
    "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM record').fetchone()[0])"
)
AWAY_SECONDS: Final = 600


async def spool_full(run: Run) -> None:
    """New requests are refused while the spool's disk is full, and what is under way is recorded."""
    run.allowed.add('"shipping_failed"')  # what was shipped cannot be noted on a full disk, and is shipped again
    async with _small_disk(run) as disk:
        async with run.load(20, asks.calm, run.customers[0], run.customers[1]):
            await run.pause(2)
            filler = disk / "filler"
            await asyncio.to_thread(_fill, filler)
            refused = await until(lambda: _refused(run), 30)
            await run.pause(2)
            filler.unlink()
            await run.pause(1)
        must(refused, f"nobody was refused: {run.statuses()}")
        await run.served_again(run.customers[0])
        must(not await run.drained(), "something is left")


async def _refused(run: Run) -> bool:
    return (await run.ask(run.customers[0])).status == 503


def _fill(filler: Path) -> None:
    """To the last byte."""
    for size in (1 << 16, 1 << 10, 1):
        try:
            with filler.open("ab", buffering=0) as file:
                while file.write(b"\0" * size):
                    pass
        except OSError:
            continue


@asynccontextmanager
async def _small_disk(run: Run) -> AsyncIterator[Path]:
    """The router with its spool on a disk of 48 MB, in a namespace that outlives it."""
    world, mounted = run.world, run.world.folder / f"small-{secrets.token_hex(2)}"
    mounted.mkdir()
    script = f"mount -t tmpfs -o size={SMALL} none {mounted} && exec sleep 100000"
    keeper = Program(["unshare", "-Urm", "sh", "-c", script], os.environ, mounted / "log", mounted / "pid")
    pid = await asyncio.to_thread(processes.spawn, keeper, ROOT)
    disk = Path(f"/proc/{pid}/root{mounted}")
    must(await run.until(lambda: os.path.ismount(disk), 20), "the namespace has no disk")
    must(not await run.drained(), "something is left")
    inside = ("nsenter", "--target", str(pid), "--user", "--mount", "--preserve-credentials", f"--wd={ROOT}")
    router = world.services["router"]
    await router.end()
    file = mounted / "spool" / "spool.sqlite"
    settings = {"SPOOL_DIR": str(file.parent), "SPOOL_LEAST_FREE_MB": "1", "INSTANCE": "router-small"}
    world.elsewhere = (*inside, sys.executable, "-c", COUNT, str(file))
    names = {f"TOKENOUTPUT_ROUTER_{name}": value for name, value in settings.items()}
    try:
        await router.start(settings=names, wrapper=inside)
        await router.ready()
        yield disk
    finally:
        await router.end()
        world.elsewhere = ()
        await asyncio.to_thread(processes.kill, keeper.record)


async def spool_damaged(run: Run) -> None:
    """A router killed with a full spool whose file then is damaged at its end: what was committed is shipped."""
    router = run.world.services["router"]
    await run.world.links["router_broker"].down()
    async with run.load(30, asks.calm, run.customers[0], run.customers[1]):
        await run.pause(3)
    must(await run.spooled(), "nothing waited in the spool")
    await router.kill()
    for log in run.world.folder.glob("spool/spool.sqlite-wal"):
        with log.open("ab") as file:
            file.write(run.rng.randbytes(5_000))
    await run.world.links["router_broker"].up()
    await run.world.start("router")


async def clocks(run: Run) -> None:
    """Ten minutes ahead or behind, each by itself and all of the serving path, and back in the middle of a stream."""
    library = await asyncio.to_thread(_library)
    if library is None:
        run.note = "not run: there is no libfaketime here"
        return
    file = run.world.folder / "clock"
    wrong = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    for names in (("edge", "edge2"), ("router",), ("billing",), ("edge", "edge2", "router")):
        file.write_text("+0\n", encoding="ascii")
        for name in names:
            await run.world.restart(name, **wrong)
        async with run.load(15, asks.mixed, run.customers[0], run.customers[1]):
            for seconds in run.rng.sample((-AWAY_SECONDS, AWAY_SECONDS, 0), 3):
                file.write_text(f"{seconds:+d}\n", encoding="ascii")
                await run.pause(2)
        for name in names:
            await run.world.restart(name)
    await _replay(run)


async def _replay(run: Run) -> None:
    """What was parked because of a clock is booked now that the clocks are right."""
    settings = run.world.gateway.settings("billing")
    async with postgres.pool(run.world.own.stores.billing_url, "billing", 2) as pool:
        numbers = [row[0] for row in await pool.fetch("SELECT parked_id FROM parked WHERE state = 'parked'")]
        poster = Poster(pool, settings.revenue_shard)
        results = [await replay.replay(pool, poster, settings.judge(), number) for number in numbers]
    run.expected["parked: "] = len(results)


def _library() -> Path | None:
    """libfaketime: the machine's, or fetched by its name and unpacked beside the other packages."""
    home = ROOT / ".run-packages" / "faketime"
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *home.glob("usr/lib/*/faketime/libfaketime.so.1")]
    if found or shutil.which("apt-get") is None:
        return found[0] if found else None
    home.mkdir(parents=True, exist_ok=True)
    processes.run(["apt-get", "download", "libfaketime"], os.environ, cwd=home, seconds=120)
    for package in home.glob("*.deb"):
        processes.run(["dpkg-deb", "-x", str(package), str(home)], os.environ, seconds=60)
    return next(home.glob("usr/lib/*/faketime/libfaketime.so.1"), None)


SCENARIOS = (
    Scenario("F35a", "spool's disk full", "new requests refused, the others recorded", spool_full),
    Scenario("F35b", "spool damaged at its end", "all that was committed is shipped", spool_damaged),
    Scenario("F36", "clocks ten minutes off, and set back", "no early release, nothing lost", clocks),
)
