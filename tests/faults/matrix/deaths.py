"""F1–F12 and F51: services that die, stand still and are restarted."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults import asks
from tests.faults.scenario import Run, Scenario, must

SLOW_STREAM = "[sim: words=40 gap=0.05]"


async def dies(run: Run, name: str, place: str) -> None:
    """The service dies at this failpoint, at one of its first times under load, and is started again."""
    async with run.load():
        await _die(run, name, place, 12)
        await run.pause(2)


async def _die(run: Run, name: str, place: str, within: int) -> None:
    service = await run.world.restart(name, f"{place}:kill@{run.rng.randint(1, within)}")
    must(await service.died(), f"{name} never came to {place}")
    await run.pause(0.5)
    await run.world.start(name)


async def edge_killed(run: Run) -> None:
    async with run.load(30, _streams):
        for _ in range(2):
            await run.pause(2)
            await run.world.services["edge"].kill()
            await run.world.start("edge")
        await run.pause(1)
    charged = [row for row in (await run.truths()).charges if row.outcome != "void"]
    must(charged, "nothing was charged")


def _streams(rng: object, secret: str) -> asks.Asked:
    return asks.asked(f"{secret} {SLOW_STREAM}", stream=True, cap=60)


async def orphaned(run: Run, name: str, place: str) -> None:
    """A hold whose request never began ends as a void row."""
    await dies(run, name, place)
    must(not await run.drained(), "holds stay")
    rows = (await run.truths()).charges
    must(any(row.outcome == "void" and row.reason == "orphaned" for row in rows), "no orphaned hold was found")


async def router_killed(run: Run) -> None:
    async with run.load(30, _streams):
        for _ in range(2):
            await run.pause(3)
            await run.world.services["router"].kill()
            await run.world.start("router")
        await run.pause(1)
    must(not await run.drained(), "something is left")
    rows = (await run.truths()).charges
    must(any(row.outcome == "estimated" for row in rows), "nobody was charged for what was delivered")


async def billing_dies(run: Run) -> None:
    """Before the insert, before the commit, before the ack, before holds are settled."""
    async with run.load():
        for place in ("before_insert", "inserted", "committed", "acked"):
            await _die(run, "billing", f"billing.{place}", 5)
            await run.pause(1)


async def dies_leasing(run: Run) -> None:
    """Between the lease in the books and the lease in Redis."""
    newcomer = await run.customer("1")
    service = await run.world.restart("billing", "billing.leased:kill@1")
    await run.ask(newcomer)
    must(await service.died(), "billing leased nothing")
    await run.world.start("billing")
    await run.served_again(newcomer)


async def late_create(run: Run) -> None:
    """Billing stands still between the commit of a lease and its making, for longer than a ticket lives."""
    newcomer = await run.customer("1")
    service = await run.world.restart("billing", "billing.leased:stop@1")
    async with run.load(10, asks.calm, newcomer):
        must(await run.until(lambda: stands_still(service.pid)), "billing leased nothing")
        await run.pause(9)
        service.thaw()
        await run.pause(2)
    await run.world.restart("billing")
    await run.served_again(newcomer)


def stands_still(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T"


async def catalog_away(run: Run) -> None:
    async with run.load(20, asks.calm, run.customers[0]):
        await run.world.services["catalog"].kill()
        await run.pause(5)
    must(set(run.statuses()) == {200}, f"callers saw {run.statuses()}")


async def rolling_restart(run: Run) -> None:
    """Every service in turn, as an upgrade does it; an edge is taken out of the balancer first."""
    async with run.load(20, asks.calm, run.customers[0], run.customers[1]):
        for name in tuple(run.world.services):
            run.world.resting.add(name)
            await run.pause(0.5)
            await run.world.restart(name)
            run.world.resting.discard(name)
            await run.pause(1)
    answers = run.driver.answers
    must(set(run.statuses()) <= {200, 503}, f"callers saw {run.statuses()}")
    cut = [answer.request for answer in answers if answer.accepted and not answer.whole]
    must(not cut, f"{len(cut)} accepted requests were dropped: {cut[:3]}")


def _at(how: Callable[[Run, str, str], Awaitable[None]], name: str, place: str) -> Callable[[Run], Awaitable[None]]:
    async def happens(run: Run) -> None:
        await how(run, name, place)

    return happens


SCENARIOS = (
    Scenario("F1", "edge dies before its hold", "nothing held", _at(dies, "edge", "edge.before_hold")),
    Scenario(
        "F2",
        "edge dies after its hold, before dispatch",
        "hold voided by evidence",
        _at(orphaned, "edge", "edge.held"),
        fast=True,
    ),
    Scenario("F3", "edge killed with streams under way", "charged by the router's usage", edge_killed),
    Scenario(
        "F4",
        "router dies before the start record",
        "hold voided by evidence",
        _at(orphaned, "router", "router.before_start"),
    ),
    Scenario("F5", "router dies after the start record", "void", _at(dies, "router", "router.started")),
    Scenario("F6", "router killed in the middle of streams", "estimated, once", router_killed, fast=True),
    Scenario(
        "F7",
        "router dies after the terminal record",
        "shipped on restart, settled by billing",
        _at(dies, "router", "router.committed"),
    ),
    Scenario("F8a", "router dies after the publish", "one charge", _at(dies, "router", "router.published")),
    Scenario(
        "F8b",
        "router dies before the confirm is noted",
        "one charge",
        _at(dies, "router", "router.confirmed"),
    ),
    Scenario("F9", "billing dies at four places of a batch", "one charge, nothing parked", billing_dies),
    Scenario("F10", "billing dies between lease and Redis", "served through a new epoch", dies_leasing),
    Scenario("F11", "billing stands still before it makes a lease", "the late one is refused", late_create),
    Scenario("F12", "catalog killed", "the last snapshot serves, the hold's price is charged", catalog_away),
    Scenario("F51", "rolling restart of every service", "no accepted request is dropped", rolling_restart),
)
