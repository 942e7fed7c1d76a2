"""A part of the gateway is away: money fails closed, what is leased still serves, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
from redis.asyncio import Redis

from libs import pricing
from libs.contracts import usage
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.proxy import Proxy, proxied
from tests.fixtures.stores import Stores

CHAT = "/v1/chat/completions"
BODY = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
async def redis_proxy(stores: Stores) -> AsyncIterator[Proxy]:
    async with proxied(stores.redis_url) as proxy:
        yield proxy


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path, redis_proxy: Proxy) -> AsyncIterator[Gateway]:
    async with gateway_running(stores, tmp_path, redis_url=redis_proxy.url) as running:
        yield running


async def test_without_redis_nothing_is_served_on_credit(gateway: Gateway, redis_proxy: Proxy) -> None:
    customer = await gateway.customer()
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    await redis_proxy.down()
    status, body, headers = await gateway.post(CHAT, BODY, customer.bearer)
    assert (status, body["error"]["code"]) == (503, "unavailable")
    assert int(headers["retry-after"]) > 0
    await redis_proxy.up()

    async def served() -> bool:
        return (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200

    assert await until(served)
    assert gateway.faults() == []


async def test_a_flushed_redis_costs_a_moment_and_no_money(gateway: Gateway, stores: Stores) -> None:
    customer = await gateway.customer()
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    async with Redis.from_url(stores.redis_url) as client:
        await client.flushdb()
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    price = gateway.price_of("deepseek-chat")
    spent = sum(pricing.cost(price, r.usage, r.at) for r in gateway.simulator.served() if r.usage)
    expected = 10 * pricing.NANO - spent
    assert await customer.settled_balance(expected) == expected
    account = await customer.account()
    assert account["in_doubt"] != "0.000000000"
    assert await gateway.verify() is None


async def test_without_billing_leased_credit_still_serves(gateway: Gateway) -> None:
    customer, newcomer = await gateway.customer(), await gateway.customer()
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    await gateway.stop("billing")
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    status, body, _ = await gateway.post(CHAT, BODY, newcomer.bearer)
    assert (status, body["error"]["code"]) == (503, "unavailable")
    await gateway.start("billing")
    await gateway.ready("billing")
    assert (await gateway.post(CHAT, BODY, newcomer.bearer))[0] == 200
    assert gateway.faults() == []


async def test_without_a_router_the_hold_is_given_back(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await gateway.stop("router")
    status, body, _ = await gateway.post(CHAT, BODY, customer.bearer)
    assert (status, body["error"]["code"]) == (503, "unavailable")
    assert (await customer.account())["held"] == "0.000000000"
    assert gateway.faults() == []


async def test_a_new_price_reaches_edge_and_router_within_a_second(gateway: Gateway) -> None:
    dearer = gateway.shelf_with_price("deepseek-chat", factor=3)
    await gateway.publish(dearer)
    customer = await gateway.customer()

    async def listed() -> bool:
        async with gateway.session.get(f"{gateway.url}/v1/models/deepseek-chat") as response:
            found = await response.json()
        return bool(found["price_id"] == {m.id: m.price_id for m in dearer.models}["deepseek-chat"])

    assert await until(listed, 5)
    _, body, _ = await gateway.post(CHAT, BODY, customer.bearer)
    cost = pricing.NANO * 10 - int(body["usage"]["cost"].replace(".", ""))
    assert await customer.settled_balance(cost) == cost
    await gateway.publish(gateway.shelf)


async def test_the_catalog_may_go_once_its_snapshot_is_there(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await gateway.stop("catalog")
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    await gateway.start("catalog")
    await gateway.ready("catalog")
    assert gateway.faults() == []


async def test_holds_that_could_not_be_settled_are_settled_later(gateway: Gateway, redis_proxy: Proxy) -> None:
    customer = await gateway.customer()
    slow = {**BODY, "messages": [{"role": "user", "content": "[sim: delay=0.6]"}]}
    running = [asyncio.create_task(gateway.post(CHAT, slow, customer.bearer)) for _ in range(5)]

    async def all_held() -> bool:
        return float((await customer.account())["held"]) > 0 and len(gateway.simulator.records()) >= 5

    assert await until(all_held)
    await redis_proxy.down()
    assert {status for status, _, _ in await asyncio.gather(*running)} == {200}
    await asyncio.sleep(0.5)
    await redis_proxy.up()

    async def nothing_held() -> bool:
        async with gateway.session.get(f"{gateway.url}/v1/billing/balance", headers=customer.bearer) as response:
            return response.status == 200 and (await response.json())["held"] == "0.000000000"

    assert await until(nothing_held)


async def test_a_deleted_queue_is_noticed_and_made_again(gateway: Gateway, stores: Stores) -> None:
    customer = await gateway.customer()
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200

    async def booked() -> bool:
        return await customer.balance() < 10 * pricing.NANO

    assert await until(booked), "what is in a queue dies with it: this one has to be empty"
    async with await aio_pika.connect(stores.amqp_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(usage.queue_name(usage.partition_of(customer.org)))
    assert (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200
    price = gateway.price_of("deepseek-chat")
    spent = sum(pricing.cost(price, r.usage, r.at) for r in gateway.simulator.served() if r.usage)
    expected = 10 * pricing.NANO - spent
    assert await until(lambda: _is(customer, expected), 30)


async def _is(customer: Customer, balance: int) -> bool:
    return await customer.balance() == balance


async def test_a_router_that_does_not_know_the_edge_costs_nothing_and_looks_like_no_bad_key(
    stores: Stores, tmp_path: Path
) -> None:
    async with gateway_running(stores, tmp_path) as gateway:
        customer = await gateway.customer()
        await gateway.stop("router")
        gateway.overrides["internal_secret"] = "a-secret-after-its-rotation"
        await gateway.start("router")
        del gateway.overrides["internal_secret"]
        status, body, _ = await gateway.post(CHAT, BODY, customer.bearer)
        assert (status, body["error"]["code"]) == (503, "unavailable")
        assert (await customer.account())["held"] == "0.000000000"
