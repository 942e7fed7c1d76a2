"""What cannot be charged as it came is kept, word for word, until somebody decides; and nothing is lost on the way."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from pydantic import SecretStr

from libs import pricing
from libs.contracts import usage
from libs.contracts.usage import Envelope, UsageEvent
from libs.pricing import version_of
from libs.runtime import postgres, rabbit
from services.billing import commands
from tests.fixtures import samples
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.stores import Stores

ROOT: Final = Path(__file__).parents[2]
CHAT: Final = "/v1/chat/completions"
BODY: Final = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
SOLD: Final = samples.price()


@pytest.fixture(scope="module")
async def gateway(fresh_stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One without parked events of other tests."""
    async with gateway_running(fresh_stores, tmp_path_factory.mktemp("gateway")) as running:
        yield running


async def cli(gateway: Gateway, *words: str) -> tuple[int, Any]:
    """`tokenoutput usage parked … --json`: its exit code and what it said."""
    fields: dict[str, Any] = gateway.settings("billing").model_dump(exclude_none=True)
    shown = {n: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in fields.items()}
    environment = {**os.environ, **{f"TOKENOUTPUT_BILLING_{name.upper()}": value for name, value in shown.items()}}
    command = (sys.executable, "-m", "services.cli", "usage", "parked", *words, "--json")
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=pipe)
    said, _ = await asyncio.wait_for(run.communicate(), 60)
    return run.returncode or 0, json.loads(said)


async def value(gateway: Gateway, query: str, *arguments: object) -> Any:
    async with postgres.connected(gateway.stores.billing_url, "billing") as connection:
        return await connection.fetchval(query, *arguments)


async def parked(gateway: Gateway, where: str, *arguments: object, count: int = 1) -> list[Any]:
    """The rows, once there are so many."""
    found: list[Any] = []

    async def there() -> bool:
        async with postgres.connected(gateway.stores.billing_url, "billing") as connection:
            query = f"SELECT * FROM parked WHERE {where} ORDER BY parked_id"  # noqa: S608 - constants of this file
            found[:] = await connection.fetch(query, *arguments)
        return len(found) >= count

    assert await until(there), f"{len(found)} parked, not {count}"
    assert len(found) == count
    return found


async def send(gateway: Gateway, body: bytes, exchange: str = usage.EXCHANGE) -> None:
    async with rabbit.publisher(gateway.stores.amqp_url) as rude:
        await rude.publish(exchange, usage.routing_key(0), body, message_id="test")


async def all_read(gateway: Gateway, queue: str) -> bool:
    """Whether nothing of the queue waits, or is unacknowledged: then it can be deleted."""
    connection = await rabbit.connect(gateway.stores.amqp_url)
    async with connection:
        channel = await connection.channel()
        found = await channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count == 0


async def ask(gateway: Gateway, customer: Customer) -> None:
    """A real request, after which the customer has a lease of epoch 1."""
    status, _, _ = await gateway.post(CHAT, BODY, customer.bearer)
    assert status == 200

    async def booked() -> bool:
        return bool(await value(gateway, "SELECT count(*) FROM charge WHERE org_id = $1", customer.org))

    assert await until(booked)


def event(gateway: Gateway, customer: Customer, noise: int, **changes: Any) -> UsageEvent:
    now = time.time_ns() // 1_000_000
    times = {"accepted_at": now, "started_at": now, "ended_at": now}
    secret = gateway.settings("billing").hold_secret.get_secret_value().encode()
    given = {"request_id": samples.request_id(now, noise), "org": customer.org, **times, **changes}
    return samples.event(SOLD, secret, **given)


def message(*events: UsageEvent | bytes, prices: Any = None) -> bytes:
    raws = [msgspec.Raw(each if isinstance(each, bytes) else usage.encode_event(each)) for each in events]
    there = {version_of(SOLD): SOLD} if prices is None else prices
    return usage.encode_envelope(Envelope(usage.SCHEMA, "router-0", 1, there, raws))


async def test_a_message_that_makes_no_sense_is_kept_once_and_word_for_word(gateway: Gateway) -> None:
    for _ in range(2):
        await send(gateway, b"nonsense\xff\x00")
    [row] = await parked(gateway, "body = $1", b"nonsense\xff\x00")
    assert row["reason"].startswith("malformed envelope: ")
    assert (row["state"], row["request_id"], row["org_id"]) == ("parked", None, None)
    assert await until(lambda: all_read(gateway, usage.queue_name(0)))


async def test_a_bad_event_is_parked_alone_and_its_neighbours_are_charged(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await ask(gateway, customer)
    before = await customer.balance()
    good = [event(gateway, customer, number) for number in (1, 2)]
    bad = [
        event(gateway, customer, 3, cost=1),
        event(gateway, customer, 4, sig="0" * 64),
        event(gateway, customer, 5, org=987_654_321),
        event(gateway, customer, 6, hold=samples.hold(epoch=99)),
        event(gateway, customer, 7, provider="n\0l"),
        event(gateway, customer, 8, provider_request_id="\0"),
    ]
    strange = msgspec.json.encode({"request_id": str(samples.request_id(noise=77)), "org": 1})
    await send(gateway, message(good[0], *bad, strange, b"17", good[1]))
    rows = await parked(gateway, "request_id = ANY($1)", [each.request_id for each in bad], count=len(bad))
    reasons = {row["request_id"]: row["reason"] for row in rows}
    said = [reasons[each.request_id] for each in bad]
    assert said[:4] == [
        "the cost is not what the usage comes to",
        "bad signature",
        "unknown org 987654321",
        "a charge names a lease that was never made",
    ]
    assert [(row["org_id"], row["lease_epoch"]) for row in rows] == [(each.org, each.hold.epoch) for each in bad]
    await parked(gateway, "request_id = $1", samples.request_id(noise=77))
    after = before - good[0].cost - good[1].cost
    assert await customer.settled_balance(after) == after
    assert await gateway.verify() is None


async def test_what_the_broker_gave_up_on_is_brought_to_the_others_event_by_event(gateway: Gateway) -> None:
    customer = await gateway.customer()
    both = [event(gateway, customer, number) for number in (1, 2)]
    await send(gateway, message(*both), exchange=usage.PARKING_EXCHANGE)
    rows = await parked(gateway, "org_id = $1", customer.org, count=2)
    assert [row["request_id"] for row in rows] == [each.request_id for each in both]
    assert {row["reason"] for row in rows} == {"dead letter: no reason given"}
    assert await until(lambda: all_read(gateway, usage.PARKED_QUEUE))


async def test_nothing_is_acknowledged_that_could_not_be_kept(gateway: Gateway) -> None:
    """While nobody can write into the table, the message stays in the queue, also when billing goes away."""
    async with postgres.connected(gateway.stores.owner_url, "billing") as owner:
        async with owner.transaction():
            await owner.execute("LOCK TABLE parked IN ACCESS EXCLUSIVE MODE")
            await send(gateway, b"not to be kept")
            await send(gateway, b"nor this", exchange=usage.PARKING_EXCHANGE)
            await asyncio.sleep(1)
            await gateway.stop("billing")
        await gateway.start("billing")
        await gateway.ready("billing")
    await parked(gateway, "body = ANY($1)", [b"not to be kept", b"nor this"], count=2)


async def test_a_parked_event_is_charged_once_when_it_can_be(gateway: Gateway) -> None:
    """It came for an org that had no account, which was our mistake; now it has one."""
    customer = await gateway.customer("0")
    early = event(gateway, customer, 1)
    await send(gateway, message(early))
    [row] = await parked(gateway, "org_id = $1", customer.org)
    number = str(row["parked_id"])
    code, said = await cli(gateway, "replay", number)
    assert (code, said["data"][0]["state"]) == (1, "parked")
    assert said["data"][0]["result"] == f"unknown org {customer.org}"
    await credit(gateway, customer)
    await ask(gateway, customer)
    before = await customer.balance()
    code, said = await cli(gateway, "replay", number)
    assert (code, said["data"]) == (
        0,
        [
            {
                "id": row["parked_id"],
                "state": "replayed",
                "result": f"1 booked, ${pricing.usd(early.cost)} paid by the org",
            }
        ],
    )
    assert await customer.balance() == before - early.cost
    code, said = await cli(gateway, "replay", number)
    assert code == 1
    assert "is decided: replayed" in said["error"]
    await send(gateway, message(early))
    await ask(gateway, customer)
    assert await value(gateway, "SELECT count(*) FROM charge WHERE request_id = $1", early.request_id) == 1
    assert await gateway.verify() is None


async def credit(gateway: Gateway, customer: Customer) -> None:
    await commands.credit_org(gateway.settings("billing"), customer.org, pricing.NANO, f"late-{customer.org}")


async def test_an_event_is_judged_at_the_time_at_which_it_was_parked(gateway: Gateway) -> None:
    """One from the future does not become good by waiting, and a good one does not grow too old."""
    customer = await gateway.customer()
    await ask(gateway, customer)
    ahead = time.time_ns() // 1_000_000 + 700_000
    times = {"accepted_at": ahead, "started_at": ahead, "ended_at": ahead}
    await send(gateway, message(event(gateway, customer, 1, request_id=samples.request_id(ahead), **times)))
    [row] = await parked(gateway, "org_id = $1", customer.org)
    code, said = await cli(gateway, "replay", str(row["parked_id"]))
    assert (code, said["data"][0]["result"]) == (1, "time out of range")
    async with postgres.connected(gateway.stores.owner_url, "billing") as owner:
        await owner.execute(
            "UPDATE parked SET parked_at = now() + interval '10 minutes' WHERE org_id = $1", customer.org
        )
    code, said = await cli(gateway, "replay", str(row["parked_id"]))
    assert (code, said["data"][0]["state"]) == (0, "replayed")


async def test_giving_an_event_up_takes_two_people(gateway: Gateway) -> None:
    await send(gateway, b"to be given up")
    [row] = await parked(gateway, "body = $1", b"to be given up")
    number = str(row["parked_id"])
    for by, other in (("ann", "ann"), ("Ann", " ann "), ("", "ben"), ("ann", "")):
        code, _ = await cli(gateway, "void", number, "--by", by, "--approved-by", other, "--reason", "r")
        assert code == 1
    assert await value(gateway, "SELECT state FROM parked WHERE parked_id = $1", row["parked_id"]) == "parked"
    code, said = await cli(gateway, "void", number, "--by", "ann", "--approved-by", "ben", "--reason", "noise")
    assert (code, said["decision"]) == (0, "by ann, approved by ben: noise")
    for again in (("replay", number), ("void", number, "--by", "ann", "--approved-by", "ben", "--reason", "x")):
        assert (await cli(gateway, *again))[0] == 1
    await send(gateway, b"to be given up")
    await send(gateway, b"after it")
    await parked(gateway, "body = $1", b"after it")
    assert (await parked(gateway, "body = $1", b"to be given up"))[0]["state"] == "void", "and it stays so"


async def test_an_operator_sees_what_waits_and_reads_its_words(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await send(gateway, message(event(gateway, customer, 1, sig="0" * 64)))
    [row] = await parked(gateway, "org_id = $1", customer.org)
    code, said = await cli(gateway, "list")
    assert code == 0
    assert {each["state"] for each in said["data"]} == {"parked"}
    [mine] = [each for each in said["data"] if each["id"] == row["parked_id"]]
    assert (mine["org"], mine["request_id"]) == (customer.org, f"req_{row['request_id'].hex}")
    code, said = await cli(gateway, "show", str(row["parked_id"]))
    assert (code, said["body"].encode(), said["reason"]) == (0, row["body"], "bad signature")
    assert (await cli(gateway, "show", "999999"))[0] == 1
    _, everything = await cli(gateway, "list", "--all", "--limit", "1000")
    assert len(everything["data"]) == await value(gateway, "SELECT count(*) FROM parked")


async def test_what_waits_is_counted(gateway: Gateway) -> None:
    await send(gateway, b"one more to count")
    await parked(gateway, "body = $1", b"one more to count")
    waiting = await value(gateway, "SELECT count(*) FROM parked WHERE state = 'parked'")

    async def shown() -> bool:
        url = f"http://127.0.0.1:{gateway.admin_ports['billing']}/metrics"
        async with gateway.session.get(url) as response:
            return f"tokenoutput_parked_events {float(waiting)}\n" in await response.text()

    assert await until(shown)
