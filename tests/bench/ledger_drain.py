"""From the broker to the books: messages that wait in RabbitMQ, and one billing in a process of its own that is started
when all of them are there."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from deploy.local import processes
from deploy.local.stack import ROOT, Stores
from libs.contracts import dispatch, usage
from libs.contracts.dispatch import Hold
from libs.contracts.usage import Attempt
from libs.pricing import NANO, version_of
from libs.runtime import postgres, rabbit
from tests.bench import ledger_redis
from tests.bench.ledger_redis import Connection
from tests.bench.spent import Spent, children, spent
from tests.fixtures import samples
from tests.fixtures.gateway import free_port
from tests.fixtures.servers import Name, Servers

FIRST_ORG: Final = 1000
REVENUE: Final = """
    SELECT b.credits FROM balance b JOIN account a USING (account_id) WHERE a.kind = 'revenue' AND a.shard = 0
"""
NAMES: Final[tuple[Name, ...]] = ("postgres", "redis", "rabbitmq")
LOOK_SECONDS: Final = 0.05
REPEATED_AFTER: Final = 500  # others that are there twice: so that the second is in another batch
PUBLISHING: Final = 16  # messages on their way at once


class Load(NamedTuple):
    """So many different events over so many orgs; every ``repeats``-th of them is there twice."""

    events: int
    orgs: int
    in_message: int = usage.MAX_EVENTS
    repeats: int = 0


def events(load: Load) -> Iterator[bytes]:
    """Like those of a busy router: streams with a first token, one attempt, an id of the provider's."""
    now, sold = time.time_ns() // 1_000_000, samples.price()
    again: deque[bytes] = deque()
    like = samples.event(sold, provider_request_id="chatcmpl-0123456789abcdef", stream=True, first_token_at=now + 300)
    tried = (Attempt("deepseek-chat@deepseek", 200, "complete", 1895),)
    for number in range(load.events):
        org = FIRST_ORG + number % load.orgs
        request_id = samples.request_id(now, number)
        held = Hold(cash=10_000_000, plan=0, epoch=1, shard="r0", authorized_at=now)
        sig = dispatch.sign_hold(request_id, org, 70, like.price_id, held, secret=samples.HOLD_SECRET)
        times = {"accepted_at": now, "started_at": now + 5, "ended_at": now + 1900, "first_token_at": now + 300}
        said = {"request_id": request_id, "org": org, "hold": held, "sig": sig, "attempts": tried, **times}
        raw = usage.encode_event(msgspec.structs.replace(like, **said))
        yield raw
        if load.repeats and number % load.repeats == 0:
            again.append(raw)
        if len(again) > REPEATED_AFTER:
            yield again.popleft()
    yield from again


def messages(load: Load) -> Iterator[bytes]:
    sold, each = samples.price(), events(load)
    prices = {version_of(sold): sold}
    while raws := [msgspec.Raw(raw) for raw in islice(each, load.in_message)]:
        yield usage.encode_envelope(usage.Envelope(usage.SCHEMA, "router-0", 1, prices, raws))


async def fill(stores: Stores, load: Load) -> int:
    """Publishes all of it; the number of messages. Partitions take turns, which correctness does not depend on."""
    waiting = enumerate(messages(load))
    count = 0

    async def work(publisher: rabbit.Publisher) -> None:
        nonlocal count
        for number, body in waiting:
            key = usage.routing_key(number % usage.PARTITIONS)
            while True:
                try:
                    await publisher.publish(usage.EXCHANGE, key, body, message_id=str(number))
                    break
                except rabbit.Failed:  # on a machine that stalls; once more is once more, which is what this measures
                    await asyncio.sleep(1)
            count += 1

    async with rabbit.publisher(stores.amqp_url) as first, asyncio.TaskGroup() as group:
        for _ in range(PUBLISHING):
            group.create_task(work(first))
    return count


async def prepare(stores: Stores, load: Load) -> None:
    """Orgs that can pay, with one lease each that covers all, in Redis too."""
    run_id = ledger_redis.lease_out(Connection(stores.redis_url), range(FIRST_ORG, FIRST_ORG + load.orgs))
    async with postgres.connected(stores.owner_url, "billing") as owner, owner.transaction():
        await owner.execute(
            "INSERT INTO account (kind, org_id) SELECT 'cust_cash', $1 + n FROM generate_series(0, $2 - 1) AS n",
            FIRST_ORG,
            load.orgs,
        )
        await owner.execute(
            """
            INSERT INTO balance (account_id, credits, leased)
            SELECT account_id, $1, $1 FROM account WHERE kind = 'cust_cash'
            """,
            1_000_000 * NANO,
        )
        await owner.execute(
            """
            INSERT INTO lease (org_id, epoch, shard, gen, granted)
            SELECT org_id, 1, 'r0', $2, $1 FROM account WHERE kind = 'cust_cash'
            """,
            1_000_000 * NANO,
            run_id,
        )


@asynccontextmanager
async def billing(stores: Stores) -> AsyncIterator[int]:
    """The service as it is run, without asserts; its pid."""
    told = {
        "env": "dev",
        "log_level": "warning",
        "port": free_port(),
        "admin_port": free_port(),
        "database_url": stores.billing_url,
        "redis_url": stores.redis_url,
        "amqp_url": stores.billing_amqp_url,
        "hold_secret": samples.HOLD_SECRET.decode(),
        "internal_secret": "internal-secret-of-the-bench",
        "redis_seconds": 5,
    }
    environment = {**os.environ, **{f"TOKENOUTPUT_BILLING_{name.upper()}": str(value) for name, value in told.items()}}
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-O", "-m", "services", "billing", cwd=ROOT, env=environment
    )
    try:
        yield service.pid
    finally:
        service.kill()
        await service.wait()


async def measure(servers: Servers, load: Load) -> dict[str, Any]:
    async with servers.new_stores() as stores:
        await prepare(stores, load)
        published = await fill(stores, load)
        async with postgres.connected(stores.owner_url, "billing") as owner, billing(stores) as pid:
            figures = await drain(owner, pid, servers, load)
            charges, cash = await owner.fetchrow("SELECT count(*), sum(cash) FROM charge") or (0, 0)
        assert (charges, cash) == (load.events, load.events * samples.event().cost), f"not exact: {charges}, {cash}"
        return {**figures, "messages": published, "exact": True}


async def drain(owner: postgres.Connection, pid: int, servers: Servers, load: Load) -> dict[str, Any]:
    """From the first charge to the last."""
    last, cost = load.events, samples.event().cost
    first = 0
    while not first:
        first = await charged(owner, cost)
        await asyncio.sleep(LOOK_SECONDS / 5)
    began, before = time.perf_counter(), parts(servers, pid)
    now = first
    while now < last:
        await asyncio.sleep(LOOK_SECONDS)
        now = await charged(owner, cost)
    seconds = time.perf_counter() - began
    booked = last - first
    after = parts(servers, pid)
    each = {name: round((after[name].seconds - before[name].seconds) / booked * 1e6, 1) for name in after}
    return {
        "events": last,
        "events/s": round(booked / seconds),
        "seconds": round(seconds, 1),
        "billing_peak_MiB": after["billing"].peak,
        **{f"{name}_cpu_µs": cost_ for name, cost_ in each.items()},
    }


async def charged(owner: postgres.Connection, cost: int) -> int:
    """How many events are in the books, by what revenue they made."""
    return int(await owner.fetchval(REVENUE)) // cost


def parts(servers: Servers, billing_pid: int) -> dict[str, Spent]:
    """What each program took. PostgreSQL is many processes: one for each connection, and some of its own."""
    found = {"billing": spent(billing_pid)}
    for name in NAMES:
        pid = processes.running(servers.part(name).record)
        assert pid is not None
        below = [spent(child) for child in children(pid)] if name == "postgres" else []
        own = spent(pid)
        found[name] = Spent(own.seconds + sum(each.seconds for each in below), own.peak)
    return found
