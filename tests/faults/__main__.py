"""`python -m tests.faults [NUMBER…]`: the whole fault matrix, or these rows of it; `soak` for a random hour of it.

Environment: ``SEEDS=1,2,3``; ``LONG=1`` for outages of their full length; ``SECONDS`` of a soak.
"""

import asyncio
import os
import random
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from deploy.local import ports
from deploy.local.stack import ROOT
from libs.runtime import logging
from tests.faults import report, world
from tests.faults.matrix import SCENARIOS
from tests.faults.scenario import Scenario, Verdict, judge
from tests.faults.world import World
from tests.fixtures import servers as private
from tests.fixtures.servers import BASES
from tests.fixtures.stores import OwnStack

BUILD: Final = ROOT / "build"
SOAK_PACE: Final = 2  # most rows load with 25 requests a second


@asynccontextmanager
async def new_world(home: Path) -> AsyncIterator[World]:
    """Servers and services of our own. The folder stays behind when something failed in it."""
    claim = ports.claim(BASES)
    folder = home / f"own-{claim.base}-{secrets.token_hex(2)}"
    servers = private.open_servers(folder, claim.base)
    try:
        await asyncio.to_thread(servers.need, "postgres", "redis", "rabbitmq")
        await servers.migrated()
        async with world.opened(OwnStack(servers)) as made:
            yield made
    finally:
        private.end(folder)
        claim.close()


async def matrix(home: Path, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> list[Verdict]:
    """All of them with all seeds. After one that failed, the others get a new world."""
    waiting = [(scenario, seed) for seed in seeds for scenario in scenarios]
    verdicts: list[Verdict] = []
    while waiting:
        async with new_world(home) as made:
            folder = made.folder
            while waiting:
                verdicts.append(await judge(waiting[0][0], made, waiting.pop(0)[1]))
                print(report.line(verdicts[-1]), flush=True)
                report.write(verdicts, BUILD / "faults.json")
                if not verdicts[-1].passed:
                    break
        if verdicts[-1].passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"       logs: {folder}", flush=True)
    return verdicts


async def soak(home: Path, seconds: float) -> list[Verdict]:
    """Faults at random until the time is over, or until something is wrong."""
    seed = int(os.environ.get("SEEDS", "0").split(",")[0]) or secrets.randbelow(1_000_000)
    print(f"soak of {seconds:.0f} s with seed {seed}", flush=True)
    rng, end, verdicts = random.Random(seed), time.monotonic() + seconds, []
    candidates = [scenario for scenario in SCENARIOS if scenario.soak]
    async with new_world(home) as made:
        while time.monotonic() < end:
            verdicts.append(await judge(rng.choice(candidates), made, rng.randrange(1_000_000), SOAK_PACE))
            print(report.line(verdicts[-1]), flush=True)
            if not verdicts[-1].passed:
                break
    report.write(verdicts, BUILD / "soak.json")
    return verdicts


def main(arguments: list[str]) -> int:
    logging.configure("console", "error")
    home = private.begin()
    if arguments == ["soak"]:
        verdicts = asyncio.run(soak(home, float(os.environ.get("SECONDS") or 1800)))
    else:
        seeds = [int(seed) for seed in os.environ.get("SEEDS", "1,2,3").split(",")]
        chosen = [scenario for scenario in SCENARIOS if not arguments or scenario.number in arguments]
        verdicts = asyncio.run(matrix(home, chosen, seeds))
    print()
    print(report.table(verdicts))
    passed = bool(verdicts) and all(verdict.passed for verdict in verdicts)
    if passed:
        shutil.rmtree(home, ignore_errors=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
