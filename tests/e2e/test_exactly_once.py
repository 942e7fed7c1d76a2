"""Each request is charged once, whatever is delivered twice, dies, or goes away in between."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from pydantic import SecretStr

from libs import pricing
from libs.contracts import usage
from libs.runtime import rabbit
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.proxy import proxied
from tests.fixtures.stores import Stores

ROOT = Path(__file__).parents[2]
CHAT = "/v1/chat/completions"
BODY = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


def spent(gateway: Gateway) -> int:
    """What the provider's own log comes to at the catalog's price."""
    price = gateway.price_of("deepseek-chat")
    return sum(pricing.cost(price, r.usage, r.at) for r in gateway.simulator.served() if r.usage)


async def charges(gateway: Gateway, customer: Customer) -> int:
    connection = await asyncpg.connect(gateway.stores.billing_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM billing.charge WHERE org_id = $1", customer.org))
    finally:
        await connection.close()


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway of its own: these tests stop its parts."""
    async with gateway_running(stores, tmp_path) as running:
        yield running


async def first_of(queue: AbstractQueue) -> AbstractIncomingMessage:
    async with asyncio.timeout(10), queue.iterator() as messages:
        return await anext(messages)


async def ask(gateway: Gateway, customer: Customer) -> str:
    status, _, headers = await gateway.post(CHAT, BODY, customer.bearer)
    assert status == 200
    return headers["x-request-id"]


async def test_the_same_event_delivered_five_times_is_one_charge(gateway: Gateway) -> None:
    customer = await gateway.customer()
    async with await aio_pika.connect(gateway.stores.amqp_url) as connection:
        channel = await connection.channel()
        copies = await channel.declare_queue(exclusive=True)
        for partition in range(usage.PARTITIONS):
            await copies.bind(usage.EXCHANGE, usage.routing_key(partition))
        await ask(gateway, customer)
        message = await first_of(copies)
        async with rabbit.publisher(gateway.stores.amqp_url) as again:
            for number in range(4):
                key = usage.routing_key(usage.partition_of(customer.org))
                await again.publish(usage.EXCHANGE, key, message.body, message_id=f"again:{number}")
    last = await ask(gateway, customer)
    expected = 10 * pricing.NANO - spent(gateway)
    assert await customer.settled_balance(expected) == expected
    assert last
    assert await charges(gateway, customer) == 2
    assert await gateway.verify() is None


def environment_of_billing(gateway: Gateway) -> dict[str, str]:
    fields: dict[str, Any] = gateway.settings("billing").model_dump(exclude_none=True)
    shown = {n: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in fields.items() if v}
    return {**os.environ, **{f"TOKENOUTPUT_BILLING_{name.upper()}": value for name, value in shown.items()}}


async def test_billing_killed_between_commit_and_ack_charges_once(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await ask(gateway, customer)
    assert await until(lambda: _has(gateway, customer, 1))
    await gateway.stop("billing")
    await ask(gateway, customer)
    program = "tests.fixtures.billing_dies_before_ack"
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-m", program, cwd=ROOT, env=environment_of_billing(gateway), stdout=asyncio.subprocess.DEVNULL
    )
    assert await asyncio.wait_for(doomed.wait(), 30) == -signal.SIGKILL
    assert await charges(gateway, customer) == 2, "it died before its commit: this test shows nothing"
    await gateway.start("billing")
    await gateway.ready("billing")
    await ask(gateway, customer)
    expected = 10 * pricing.NANO - spent(gateway)
    assert await customer.settled_balance(expected) == expected
    assert await charges(gateway, customer) == 3
    assert await gateway.verify() is None


async def _has(gateway: Gateway, customer: Customer, count: int) -> bool:
    return await charges(gateway, customer) == count


async def test_200_requests_are_served_without_a_broker_and_charged_when_it_is_back(
    stores: Stores, tmp_path: Path
) -> None:
    async with proxied(stores.amqp_url) as broker, gateway_running(stores, tmp_path, amqp_url=broker.url) as gateway:
        customer = await gateway.customer()
        await broker.down()
        for _ in range(10):
            await asyncio.gather(*(ask(gateway, customer) for _ in range(20)))
        assert await charges(gateway, customer) == 0
        await broker.up()
        expected = 10 * pricing.NANO - spent(gateway)
        assert await customer.settled_balance(expected) == expected
        assert await charges(gateway, customer) == 200
        assert await gateway.verify() is None


async def test_a_router_that_stops_leaves_its_records_for_the_next_run(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await ask(gateway, customer)
    await gateway.stop("billing")
    await ask(gateway, customer)
    await gateway.stop("router")
    await gateway.start("router")
    await gateway.start("billing")
    await gateway.ready()
    expected = 10 * pricing.NANO - spent(gateway)
    assert await customer.settled_balance(expected) == expected
    assert await charges(gateway, customer) == 2


async def test_credit_for_five_requests_buys_at_most_five_at_once(gateway: Gateway) -> None:
    """The hold bounds what can be spent, however many requests come at the same moment."""
    customer = await gateway.customer("0.000500000")
    slow = {**BODY, "messages": [{"role": "user", "content": "[sim: delay=1]"}]}
    answers = await asyncio.gather(*(gateway.post(CHAT, slow, customer.bearer) for _ in range(40)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 402}
    assert await until(lambda: _has(gateway, customer, statuses.count(200)))
    assert 0 <= await customer.balance() < 500_000
    assert await gateway.verify() is None


async def test_what_makes_no_sense_is_parked_alone(gateway: Gateway, stores: Stores) -> None:
    customer = await gateway.customer()
    await ask(gateway, customer)
    async with rabbit.publisher(stores.amqp_url) as rude:
        for number, body in enumerate((b"nonsense", b"[]", b'{"schema":"usage.v9"}', b"\xff")):
            key = usage.routing_key(usage.partition_of(customer.org))
            await rude.publish(usage.EXCHANGE, key, body, message_id=str(number))
    await ask(gateway, customer)
    expected = 10 * pricing.NANO - spent(gateway)
    assert await customer.settled_balance(expected) == expected
    connection = await asyncpg.connect(stores.billing_url)
    try:
        reasons = await connection.fetch("SELECT reason FROM billing.parked")
    finally:
        await connection.close()
    assert sum("malformed envelope" in row["reason"] for row in reasons) == 4
