"""F13–F16: the broker dies, freezes, refuses, and loses its queues."""

from libs.contracts import usage
from tests.faults import asks
from tests.faults.scenario import Run, Scenario, must


async def killed(run: Run) -> None:
    async with run.load():
        await run.pause(2)
        await run.world.own.kill("rabbitmq")
        before = run.accepted()
        await run.pause(3)
        must(run.accepted() > before, "nothing was served without the broker")
        await run.world.own.start("rabbitmq")
        await run.pause(1)


async def frozen(run: Run) -> None:
    async with run.load():
        await run.pause(1)
        run.world.own.freeze("rabbitmq")
        await run.pause(8)
        run.world.own.thaw("rabbitmq")
        await run.pause(2)


async def blocks(run: Run) -> None:
    await run.world.rabbitmqctl("set_vm_memory_high_watermark", "0.0001")
    try:
        async with run.load(20, asks.calm, run.customers[0]):
            await run.pause(6)
        must(set(run.statuses()) == {200}, f"callers saw {run.statuses()}")
        must(await run.spooled(), "nothing waited in a spool: the broker was not blocked")
    finally:
        await run.world.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1GiB")


async def queues_deleted(run: Run) -> None:
    async with run.load():
        for _ in range(3):
            await run.pause(1)
            partition = run.rng.randrange(usage.PARTITIONS)
            await run.world.rabbitmqctl("delete_queue", usage.queue_name(partition))
        await run.pause(1)


SCENARIOS = (
    Scenario("F13", "broker kill -9, in flight", "served without it", killed, fast=True, soak=True),
    Scenario("F14", "broker frozen", "duplicates absorbed", frozen, soak=True),
    Scenario("F15", "broker blocks publishers", "all served, records wait in the spool", blocks, soak=True),
    Scenario("F16", "queues deleted", "declared again, nothing lost", queues_deleted, soak=True),
)
