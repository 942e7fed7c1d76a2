"""`make bench-ledger`: how fast usage becomes charges, and how fast Redis makes and settles holds, on its own servers.

Prints a line per measurement and writes all of them to a file as JSON. A shared machine makes every rate worse than it
is; the processor time beside it is what does not depend on the neighbours.

    python -m tests.bench.ledger [--out FILE] [--events N] [--backlog N] [WHAT…]
"""

import argparse
import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from deploy.local import ports
from tests.bench import ledger_drain, ledger_redis
from tests.fixtures import servers as private
from tests.fixtures.servers import Servers

MANY_ORGS: Final = 1000
WHAT: Final = ("redis", "many", "one", "singles", "backlog")


@asynccontextmanager
async def own_servers() -> AsyncIterator[Servers]:
    """PostgreSQL, Redis and RabbitMQ that nobody else uses; gone afterwards."""
    private.FOLDER.mkdir(exist_ok=True)
    claim, folder = ports.claim(private.BASES), private.begin()
    opened = private.open_servers(folder, claim.base)
    try:
        opened.need("postgres", "redis", "rabbitmq")
        await opened.migrated()
        yield opened
    finally:
        private.end(folder)
        shutil.rmtree(folder, ignore_errors=True)
        claim.close()


async def measure(wanted: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def tell(name: str, figures: dict[str, Any]) -> None:
        found[name] = figures
        print(f"{name:<28}" + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)

    loads = {
        "many": ledger_drain.Load(wanted.events, MANY_ORGS),
        "one": ledger_drain.Load(wanted.events, 1),
        "singles": ledger_drain.Load(wanted.events // 10, MANY_ORGS, in_message=1),
        "backlog": ledger_drain.Load(wanted.backlog, MANY_ORGS, repeats=10),
    }
    async with own_servers() as servers:
        if "redis" in wanted.what:
            for name, figures in await ledger_redis.measure(servers):
                tell(name, figures)
        for name, load in loads.items():
            if name in wanted.what:
                tell(f"drain: {name}", await ledger_drain.measure(servers, load))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(".run-test/bench-ledger.json"))
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], default=list(WHAT))
    wanted = parser.parse_args()
    found = asyncio.run(measure(wanted))
    wanted.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
