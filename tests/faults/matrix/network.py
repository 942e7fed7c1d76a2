"""F17, F27, F28, F33: links that are cut, slow or lose what they carried, and providers of every kind."""

import random

from tests.faults import asks
from tests.faults.asks import Asked
from tests.faults.scenario import Run, Scenario, long, must
from tests.fixtures.proxy import DROP_REPLY, PASS, Mode

PROVIDERS = (
    "",
    "status=429 retry_after=1",
    "status=500",
    "status=503",
    "status=400 message='no'",
    "garbage",
    "garbage=json",
    "body=error200",
    "body=empty",
    "usage=none",
    "usage=in:100000,out:90000",
    "usage=every",
    "cut",
    "cut=3",
    "cut=9",
    "end=4",
    "error_after=4",
    "done=off",
)


async def broker_away(run: Run) -> None:
    seconds, rate = long(600, 12, run), long(200, 40, run)
    async with run.load(rate, asks.calm, run.customers[0], run.customers[1]):
        await run.world.links["router_broker"].down()
        await run.pause(seconds)
        waiting = await run.spooled()
        await run.world.links["router_broker"].up()
    must(waiting > seconds * rate / 4, f"only {waiting} records waited")
    must(set(run.statuses()) == {200}, f"callers saw {run.statuses()}")


async def replies_lost(run: Run) -> None:
    """Redis has done what it was told, and the edge never hears of it; the router has the order, and so on."""
    router = run.world.links["edge_router"].url
    await run.world.restart("edge", TOKENOUTPUT_EDGE_ROUTER_URL=router)
    async with run.load():
        for _ in range(3):
            for name in ("edge_redis", "edge_router", "router_broker"):
                link = run.world.links[name]
                link.treat(DROP_REPLY)
                await run.pause(0.3)
                link.treat(PASS)
                await run.pause(0.5)
    await run.world.restart("edge")
    await run.served_again(run.customers[0])


async def providers(run: Run) -> None:
    """Every kind of answer, and a link that breaks at any byte of it."""
    link = run.world.links["router_provider"]
    async with run.load(40, _any_provider, run.customers[0], run.customers[1]):
        for _ in range(6):
            await run.pause(1)
            link.treat(Mode(reply_bytes=run.rng.choice((0, 20, 150, 400, 900)), delay=run.rng.choice((0.0, 0.01))))
            await run.pause(0.5)
            link.treat(PASS)
            link.cut()
        await run.pause(1)
    rows = (await run.truths()).charges
    must(not run.driver.answers or any(row.absorbed for row in rows), "no usage above the hold was absorbed")


def _any_provider(rng: random.Random, secret: str) -> Asked:
    protocol = rng.choice(asks.PROTOCOLS)
    said = f"{secret} [sim: {rng.choice(PROVIDERS)}]".replace("[sim: ]", "")
    return asks.asked(said, protocol=protocol, stream=rng.random() < 0.6, cap=rng.randint(10, 60))


async def slow_consumer(run: Run) -> None:
    """Billing is slow at booking; holds end through Redis, so nobody runs out of credit that is there."""
    seconds = long(300, 10, run)
    async with run.load(40, asks.calm, run.customers[0], run.customers[1]):
        run.world.links["billing_postgres"].treat(Mode(delay=0.15))
        await run.pause(seconds)
        run.world.links["billing_postgres"].treat(PASS)
    must(set(run.statuses()) <= {200, 503}, f"callers saw {run.statuses()}")


SCENARIOS = (
    Scenario("F17", "broker away under load", "served from the spool, which drains", broker_away, soak=True),
    Scenario(
        "F27", "replies of Redis, router and broker lost", "one hold, one charge", replies_lost, fast=True, soak=True
    ),
    Scenario("F28", "providers of every kind, links cut at any byte", "overrun absorbed", providers),
    Scenario("F33", "slow consumer", "nobody runs out of credit", slow_consumer),
)
