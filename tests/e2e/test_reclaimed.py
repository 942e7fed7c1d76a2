"""Credit that was lost on its way comes back by itself: within seconds here, because routers stay less far behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import redis.asyncio

from libs import pricing
from libs.contracts.evidence import Report
from libs.runtime import postgres
from libs.runtime.clock import now_ms
from services.billing import router_commands
from services.billing.store import routers
from tests.fixtures.gateway import Customer, Gateway, gateway_running, nano, until
from tests.fixtures.own_process import own_process
from tests.fixtures.stores import Stores

CHAT: Final = "/v1/chat/completions"
BODY: Final = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
CHUNK: Final = "0.25"  # the least that is leased at a time, in dollars: all that a customer with this much has
SECONDS: Final = 60
SOON: Final = {
    "watermark_lag_seconds": 3,
    "reclaim_seconds": 0.2,
    "reclaim_margin_seconds": 1,
    "skew_seconds": 1,
}


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway_running(stores, tmp_path, **SOON) as running:
        yield running


async def served(gateway: Gateway, customer: Customer) -> bool:
    return (await gateway.post(CHAT, BODY, customer.bearer))[0] == 200


async def flush(gateway: Gateway) -> None:
    async with redis.asyncio.Redis.from_url(gateway.stores.redis_url) as store:
        await store.flushdb()


async def aside(gateway: Gateway, customer: Customer) -> int:
    """Credit in doubt and credit held, nano-USD."""
    account = await customer.account()
    return nano(account["in_doubt"]) + nano(account["held"])


async def nothing_is_aside(gateway: Gateway, customer: Customer) -> bool:
    return await aside(gateway, customer) == 0


async def assert_whole(gateway: Gateway, customer: Customer, started_with: int) -> None:
    """Nothing is aside, and what is missing is what the provider served."""
    assert await until(partial(nothing_is_aside, gateway, customer), SECONDS)
    price = gateway.price_of("deepseek-chat")
    spent = sum(pricing.cost(price, r.usage, r.at) for r in gateway.simulator.served() if r.usage)
    assert await customer.settled_balance(started_with - spent) == started_with - spent
    assert await gateway.verify() is None
    assert gateway.faults() == []


async def rows(gateway: Gateway, query: str, *arguments: object) -> list[Any]:
    async with postgres.connected(gateway.stores.billing_url, "billing") as connection:
        return list(await connection.fetch(query, *arguments))


async def lease_states(gateway: Gateway, customer: Customer) -> list[str]:
    query = "SELECT state FROM lease WHERE org_id = $1 ORDER BY epoch"
    return [row["state"] for row in await rows(gateway, query, customer.org)]


async def test_a_flushed_redis_is_forgotten_once_the_watermark_has_passed(gateway: Gateway) -> None:
    customer = await gateway.customer()
    assert await served(gateway, customer)
    await flush(gateway)
    assert await served(gateway, customer), "out of a new epoch"
    assert await aside(gateway, customer) > 0
    await assert_whole(gateway, customer, 10 * pricing.NANO)
    assert await lease_states(gateway, customer) == ["closed", "open"]


async def test_who_had_all_his_credit_in_the_lost_lease_can_buy_again(gateway: Gateway) -> None:
    customer = await gateway.customer(CHUNK)
    assert await served(gateway, customer)
    await flush(gateway)
    status, body, _ = await gateway.post(CHAT, BODY, customer.bearer)
    assert (status, body["error"]["code"]) == (503, "billing_recovering")
    assert await until(partial(served, gateway, customer), SECONDS)
    await assert_whole(gateway, customer, nano(CHUNK))


async def test_credit_of_a_lost_redis_comes_back_to_a_customer_who_does_not_ask(gateway: Gateway) -> None:
    customer = await gateway.customer(CHUNK)
    assert await served(gateway, customer)
    await flush(gateway)

    async def closed() -> bool:
        return await lease_states(gateway, customer) == ["closed"]

    assert await until(closed, SECONDS)
    assert await served(gateway, customer)
    await assert_whole(gateway, customer, nano(CHUNK))


async def test_the_hold_of_an_edge_that_died_right_after_it_becomes_a_void_charge(gateway: Gateway) -> None:
    customer = await gateway.customer()
    async with own_process(gateway, "edge", failpoint="edge.held:kill@2") as edge:
        assert await served(gateway, customer)
        with suppress(aiohttp.ClientError):
            await gateway.post(CHAT, BODY, customer.bearer)
        await edge.wait()
    await gateway.start("edge")
    await gateway.ready("edge")
    await assert_whole(gateway, customer, 10 * pricing.NANO)
    charged = await rows(gateway, "SELECT outcome, reason FROM charge WHERE org_id = $1", customer.org)
    assert sorted((row["outcome"], row["reason"]) for row in charged) == [("usage", "complete"), ("void", "orphaned")]
    assert await served(gateway, customer)


async def test_a_request_that_runs_keeps_its_hold_and_its_lease(gateway: Gateway) -> None:
    """Longer than everything else has to wait: it is charged in full, also out of a lease that was lost meanwhile."""
    customer = await gateway.customer()
    slow = {**BODY, "messages": [{"role": "user", "content": "[sim: delay=12]"}]}
    running = asyncio.create_task(gateway.post(CHAT, slow, customer.bearer))

    async def asked() -> bool:
        return len(gateway.simulator.records()) > 0

    assert await until(asked, SECONDS)
    await flush(gateway)
    assert await served(gateway, customer)
    while (states := await lease_states(gateway, customer)) and not running.done():
        assert states == ["doubt", "open"]
        await asyncio.sleep(0.1)
    assert (await running)[0] == 200
    await assert_whole(gateway, customer, 10 * pricing.NANO)
    assert await rows(gateway, "SELECT 1 FROM anomaly") == []
    charged = await rows(gateway, "SELECT absorbed FROM charge WHERE org_id = $1", customer.org)
    assert [row["absorbed"] for row in charged] == [0, 0]


async def test_a_router_that_never_comes_back_is_waited_for_until_somebody_decides(gateway: Gateway) -> None:
    now = now_ms()
    said = Report(instance="burnt", watermark=now - 60_000, unbooked=4, sent_at=now)
    async with postgres.connected(gateway.stores.billing_url, "billing") as connection:
        await routers.hear(connection, "burnt", said, 0)
    customer = await gateway.customer()
    assert await served(gateway, customer)
    await flush(gateway)
    assert await served(gateway, customer)
    await asyncio.sleep(6)
    assert await aside(gateway, customer) > 0
    settings = gateway.settings("billing")
    known = {each.spool: each for each in await router_commands.listed(settings)}
    assert known["burnt"].watermark < now - 59_000
    lost = await router_commands.declare_lost(settings, "burnt", "ops", "its disk burnt")
    assert lost is not None
    await assert_whole(gateway, customer, 10 * pricing.NANO)
