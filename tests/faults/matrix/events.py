"""F29–F32 and F34: messages that come again, that lie, that make no sense, and far too many of them."""

import asyncio
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import msgspec

from libs import ids
from libs.contracts import usage
from libs.contracts.dispatch import Hold
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT
from tests.faults import asks, mailbox
from tests.faults.driver import Answer
from tests.faults.mailbox import Mailbox
from tests.faults.scenario import Run, Scenario, long, must
from tests.fixtures.gateway import Customer, until

HOUR_MS = 3_600_000
NONSENSE = (
    b"nonsense",
    b"[]",
    b'{"schema":"usage.v9"}',
    b"\xff\xfe",
    b"x" * 1_000_000,
    b"[" * 100_000,
    b'{"schema":"usage.v1","producer":"p","sent_at":0,"prices":{},"events":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
)


async def repeated(run: Run) -> None:
    """Every message of the scenario three times more, in any order."""
    async with _mailbox(run) as box:
        async with run.load(40):
            await run.pause(4)
        must(not await run.drained(), "something is left")
        before = (await run.truths()).charges
        bodies = box.copies * 3
        run.rng.shuffle(bodies)
        must(bodies, "nothing was published")
        await mailbox.send_all(box, bodies)
        await _read(run)
    must((await run.truths()).charges == before, "repeated messages changed the books")


async def contradicted(run: Run) -> None:
    """The same requests with another cost: the first word stays."""
    customer, price = run.customers[0], run.world.gateway.price_of(mailbox.MODEL)
    async with _mailbox(run) as box:
        for _ in range(3):
            await run.ask(customer)
        must(not await run.drained(), "something is left")
        before = (await run.truths()).charges
        events = [event for event in box.events().values() if event.org == customer.org]
        must(len(events) == 3, f"{len(events)} events were published")
        await box.tell(customer.org, *(mailbox.dearer(event, price) for event in events))
        run.expected["same id, other payload"] = 3
        await _read(run)
    must((await run.truths()).charges == before, "the first word did not stay")


async def poisoned(run: Run) -> None:
    """What makes no sense is parked once, however often it comes; its neighbours are booked."""
    customer = run.customers[0]
    await run.ask(customer)
    epoch = await _epoch(run, customer)
    async with _mailbox(run) as box:
        bad = _bad_events(run, box, customer, epoch)
        good = box.event(customer.org, customer.key_id, epoch, outcome="void", reason="test", usage=Usage())
        run.driver.answers.append(
            Answer(customer.org, mailbox.MODEL, OPENAI_CHAT, stream=False, request=ids.public(good.request_id))
        )
        half = len(bad) // 2
        for _ in range(2):
            await box.tell(customer.org, *bad[:half], good, *bad[half:])
            for body in NONSENSE:
                await box.send(body, customer.org)
            await _read(run)
    run.expected["parked: "] = len(bad) + len(NONSENSE)
    must(await until(lambda: _booked(run, good.request_id)), "the neighbour was not booked")
    await _decide(run)


def _bad_events(run: Run, box: Mailbox, customer: Customer, epoch: int) -> list[usage.UsageEvent | msgspec.Raw]:
    def event(**changes: object) -> usage.UsageEvent:
        return box.event(customer.org, customer.key_id, epoch, **changes)

    good = event()
    later = good.accepted_at + HOUR_MS
    future = {"accepted_at": later, "started_at": later, "ended_at": later}
    text = usage.encode_event(good)
    return [
        msgspec.structs.replace(event(), cost=-5),
        msgspec.structs.replace(event(), cost=1 << 63),
        msgspec.structs.replace(event(), sig="0" * 64),
        event(request_id=UUID(int=later << 80 | 0x7000 << 64 | 1 << 63), **future),
        event(cost=1),
        mailbox.signed(event(hold=Hold(cash=-1_000, plan=0, epoch=epoch, shard="r0"))),
        box.event(999_999_999, 1, 1),
        msgspec.Raw(text.replace(b'"input":', b'"input":-', 1)),
        msgspec.Raw(b"17"),
        msgspec.Raw(b'{"request_id":"' + b"9" * 1000 + b'"}'),
    ]


async def crash_loop(run: Run) -> None:
    """Billing dies again and again with all it may take in its hands. Messages that it gave back are not to blame."""
    times, world = int(long(50, 8, run)), run.world
    await world.restart("billing", TOKENOUTPUT_BILLING_LEASE_CHUNK_NANO="200000000")
    for customer in run.customers[:2]:
        await run.ask(customer)
    await world.services["billing"].kill()
    async with run.load(60, asks.calm, run.customers[0], run.customers[1]):
        await run.pause(3)
    must(run.accepted() > 20, f"leases did not serve without billing: {run.statuses()}")
    for number in range(times):
        place = ("before_insert", "inserted", "committed")[number % 3]
        await world.services["billing"].start(f"billing.{place}:kill@1")
        died = await world.services["billing"].died()
        if not died:
            must(number > 0, "billing never came to its failpoint")
            break
    await world.services["billing"].end()
    await world.start("billing")


async def backlog(run: Run) -> None:
    """More than anybody books at once, a tenth of it twice."""
    count = int(long(1_000_000, 20_000, run))
    customer = await run.world.gateway.customer("1")  # served by nobody: its truths are not compared
    await run.ask(customer)
    epoch = await _epoch(run, customer)
    must(not await run.drained(), "something is left")
    run.forget()
    held = Hold(cash=1, plan=0, epoch=epoch, shard="r0")
    async with _mailbox(run) as box:
        await run.world.services["billing"].kill()
        envelopes = await asyncio.to_thread(_envelopes, box, customer, held, count)
        await mailbox.send_all(box, [*envelopes, *run.rng.sample(envelopes, len(envelopes) // 10)])
        await run.world.start("billing")
        done = await until(lambda: _has(run, customer.org, count + 1), 600)
    must(done, f"{await _count(run, customer.org)} of {count + 1} rows")


def _envelopes(box: Mailbox, customer: Customer, held: Hold, count: int) -> list[bytes]:
    """Events that differ in nothing but their ids."""
    first = box.event(customer.org, customer.key_id, held.epoch, usage=Usage(input=1), hold=held)
    made: list[bytes] = []
    for start in range(0, count, usage.MAX_EVENTS):
        events: list[msgspec.Raw] = []
        for number in range(start, min(start + usage.MAX_EVENTS, count)):
            request_id = UUID(int=(first.request_id.int & ~((1 << 40) - 1)) | number)
            event = mailbox.signed(msgspec.structs.replace(first, request_id=request_id))
            events.append(msgspec.Raw(usage.encode_event(event)))
        made.append(box.envelope(*events))
    return made


def _mailbox(run: Run) -> AbstractAsyncContextManager[Mailbox]:
    return mailbox.opened(run.world.own.stores.amqp_url, run.world.gateway.price_of(mailbox.MODEL))


async def _epoch(run: Run, customer: Customer) -> int:
    async with run.world.books() as books:
        return int(await books.fetchval("SELECT max(epoch) FROM lease WHERE org_id = $1", customer.org))


async def _read(run: Run) -> None:
    """Until billing has taken everything from its queues."""

    async def empty() -> bool:
        return not await run.world.queued()

    must(await until(empty, 120), "billing does not come to the end of its queues")


async def _booked(run: Run, request_id: UUID) -> bool:
    async with run.world.books() as books:
        return bool(await books.fetchval("SELECT count(*) FROM charge WHERE request_id = $1", request_id))


async def _count(run: Run, org: int) -> int:
    async with run.world.books() as books:
        return int(await books.fetchval("SELECT count(*) FROM charge WHERE org_id = $1", org))


async def _has(run: Run, org: int, count: int) -> bool:
    return await _count(run, org) >= count


async def _decide(run: Run) -> None:
    """An operator looks at what was parked, so that it stands in nobody's way any more."""
    async with run.world.books() as books:
        await books.execute(
            "UPDATE parked SET state = 'void', decided_at = now(), decision = 'test' WHERE state = 'parked'"
        )


SCENARIOS = (
    Scenario("F29", "everything published again, three times, shuffled", "no row changes", repeated),
    Scenario("F30", "the same requests with another cost", "the first word stays, anomalies", contradicted),
    Scenario("F31", "poison of every kind, twice", "parked once, neighbours booked", poisoned, fast=True),
    Scenario("F32", "billing dies again and again", "nothing parked", crash_loop),
    Scenario("F34", "a backlog, a tenth of it twice", "booked exactly", backlog),
)
