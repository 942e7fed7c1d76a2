"""F38: the same credit spent in two regions at once, each with its own Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local import ports
from libs import pricing
from tests.faults import asks
from tests.faults.matrix.callers import AT_ONCE, DEAR, ENOUGH_FOR, required
from tests.faults.scenario import Run, Scenario, must
from tests.faults.world import World
from tests.fixtures import servers as private
from tests.fixtures.servers import BASES

SECOND = ("billing2", "router2", "edge3", "edge4")


async def two_regions(run: Run) -> None:
    async with second_region(run.world):
        dear = asks.asked(f"{run.secret} {DEAR}")
        need = await required(run, dear)
        customer = await run.customer(pricing.usd(need * ENOUGH_FOR))
        async with run.load(30, asks.calm, run.customers[0], run.customers[1]):
            answers = await asyncio.gather(*(run.driver.ask(customer, dear) for _ in range(AT_ONCE)))
        accepted = sum(answer.accepted for answer in answers)
        must(1 <= accepted <= ENOUGH_FOR, f"{accepted} were accepted, {ENOUGH_FOR} were paid for")
        must({a.status for a in answers} <= {200, 402}, f"callers saw {run.statuses()}")
        must(not await run.drained(), "something is left")


@asynccontextmanager
async def second_region(world: World) -> AsyncIterator[None]:
    """Two more edges, a router and billing, at a Redis of their own; one PostgreSQL and one broker for all."""
    claim = ports.claim(BASES)
    folder = world.folder.parent / f"own-{claim.base}-{secrets.token_hex(2)}"
    servers = private.open_servers(folder, claim.base)
    try:
        await asyncio.to_thread(servers.need, "redis")
        world.shards["r1"] = servers.stack.stores
        await _serve(world)
        yield
    finally:
        await world.remove(*(name for name in reversed(SECOND) if name in world.services))
        world.shards.pop("r1", None)
        private.end(folder)
        claim.close()


async def _serve(world: World) -> None:
    stores = world.shards["r1"]
    shard = {"REDIS_SHARD": "r1"}
    world.add("billing2", "billing", REDIS_URL=stores.billing_redis_url, REVENUE_SHARD="1", **shard)
    billing = f"http://127.0.0.1:{world.gateway.ports['billing2']}"
    spool = str(world.folder / f"spool-{secrets.token_hex(2)}")
    own = {"REDIS_URL": stores.router_redis_url, "SPOOL_DIR": spool, "INSTANCE": "router-1"}
    world.add("router2", "router", BILLING_URL=billing, **own)
    near = {
        "REDIS_URL": stores.edge_redis_url,
        "ROUTER_URL": f"http://127.0.0.1:{world.gateway.ports['router2']}",
        "BILLING_URL": billing,
    }
    for name in ("edge3", "edge4"):
        world.add(name, "edge", **near, **shard)
    await world.start(*SECOND)


SCENARIOS = (Scenario("F38", "200 at once, four edges, two regions", "never more than was paid for", two_regions),)
