"""A router that is killed, or whose neighbours lose what it told them: each request has one end, no more, no fewer."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aio_pika
import aiohttp
import asyncpg
import pytest
import redis.asyncio

from libs import pricing
from libs.contracts import dispatch, usage
from libs.contracts.account import lease_keys
from libs.runtime.clock import now_ms
from libs.runtime.identity import Identity
from services.router.room import MIB
from tests.fixtures import samples
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.own_process import own_process
from tests.fixtures.stores import Stores

CHAT: Final = "/v1/chat/completions"
PLAIN: Final = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
SLOW: Final = {
    "model": "deepseek-chat",
    "stream": True,
    "max_tokens": 2000,
    "messages": [{"role": "user", "content": "[sim: words=600 gap=0.05]"}],
}
SECONDS: Final = 60


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway of its own: these tests end its parts."""
    async with gateway_running(stores, tmp_path, reship_seconds=1) as running:
        yield running


async def charges(gateway: Gateway, customer: Customer) -> list[Any]:
    connection = await asyncpg.connect(gateway.stores.billing_url)
    try:
        return list(await connection.fetch("SELECT * FROM billing.charge WHERE org_id = $1", customer.org))
    finally:
        await connection.close()


async def has_charges(gateway: Gateway, customer: Customer, count: int) -> bool:
    return len(await charges(gateway, customer)) == count


async def one_charge(gateway: Gateway, customer: Customer) -> Any:
    assert await until(partial(has_charges, gateway, customer, 1), SECONDS)
    await asyncio.sleep(1)  # a second one would have time to come
    (charge,) = await charges(gateway, customer)
    return charge


async def held(gateway: Gateway, customer: Customer) -> dict[str, str]:
    async with redis.asyncio.Redis.from_url(gateway.stores.redis_url, decode_responses=True) as store:
        return {
            str(request): str(hold) for request, hold in (await store.hgetall(lease_keys(customer.org).holds)).items()
        }


async def assert_nothing_is_held(gateway: Gateway, customer: Customer) -> None:
    async def free() -> bool:
        return not await held(gateway, customer)

    assert await until(free, SECONDS)
    async with redis.asyncio.Redis.from_url(gateway.stores.redis_url, decode_responses=True) as store:
        assert set(await store.hmget(lease_keys(customer.org).lease, "held", "pheld")) <= {"0", None}
    assert await gateway.verify() is None


async def state_of_routers(gateway: Gateway) -> list[str]:
    connection = await asyncpg.connect(gateway.stores.billing_url)
    try:
        return [row["state"] for row in await connection.fetch("SELECT state FROM billing.router ORDER BY heard_at")]
    finally:
        await connection.close()


async def read_until(response: aiohttp.ClientResponse, words: int) -> bytes:
    got = b""
    while got.count(b"data: ") < words:
        got += await response.content.readany()
    return got


async def ask_in_vain(gateway: Gateway, customer: Customer, body: dict[str, Any]) -> None:
    """The router dies meanwhile: what the caller sees of that is not the point here."""
    with suppress(aiohttp.ClientError):
        await gateway.post(CHAT, body, customer.bearer)


async def test_killed_in_the_middle_of_a_stream_it_is_charged_for_what_was_delivered(gateway: Gateway) -> None:
    customer = await gateway.customer()
    async with (
        own_process(gateway, "router") as router,
        gateway.session.post(f"{gateway.url}{CHAT}", json=SLOW, headers=customer.bearer) as response,
    ):
        await read_until(response, 60)
        (hold,) = (await held(gateway, customer)).values()
        router.kill()
        with suppress(aiohttp.ClientError):
            await response.read()
    await gateway.start("router")
    charge = await one_charge(gateway, customer)
    assert (charge["outcome"], charge["reason"]) == ("estimated", "router_lost")
    used = pricing.Usage(input=charge["tok_input"], output=charge["tok_output"])
    price = gateway.price_of("deepseek-chat")
    assert used.input > 0
    assert 20 <= used.output <= 600, "about three seconds of it"
    assert charge["cost"] == pricing.cost(price, used, charge["started_at"])
    paid = charge["cash"] + charge["plan"]
    assert pricing.cost(price, pricing.Usage(input=used.input), charge["started_at"]) < paid
    assert paid <= sum(map(int, hold.split(":")[:2]))
    assert await customer.settled_balance(10 * pricing.NANO - paid) == 10 * pricing.NANO - paid
    await assert_nothing_is_held(gateway, customer)


async def test_killed_while_a_plain_answer_is_awaited_it_is_void(gateway: Gateway) -> None:
    customer = await gateway.customer()
    body = {**PLAIN, "messages": [{"role": "user", "content": "[sim: delay=20]"}]}
    async with own_process(gateway, "router") as router:
        asking = asyncio.create_task(ask_in_vain(gateway, customer, body))
        assert await until(partial(has_arrived, gateway))
        router.kill()
        await asking
    await gateway.start("router")
    charge = await one_charge(gateway, customer)
    assert (charge["outcome"], charge["reason"], charge["cost"]) == ("void", "router_lost", 0)
    await assert_nothing_is_held(gateway, customer)


async def has_arrived(gateway: Gateway) -> bool:
    return bool(gateway.simulator.records())


async def test_killed_between_its_start_record_and_the_provider_it_is_void(gateway: Gateway) -> None:
    customer = await gateway.customer()
    async with own_process(gateway, "router", "router.started:kill") as router:
        await ask_in_vain(gateway, customer, PLAIN)
        assert await asyncio.wait_for(router.wait(), SECONDS) == -signal.SIGKILL
    assert not await has_arrived(gateway)
    assert len(await held(gateway, customer)) == 1
    await gateway.start("router")
    charge = await one_charge(gateway, customer)
    assert (charge["outcome"], charge["reason"], charge["cost"]) == ("void", "router_lost", 0)
    await assert_nothing_is_held(gateway, customer)


@pytest.mark.parametrize("place", ["committed", "published", "confirmed"])
async def test_killed_after_its_terminal_record_it_is_charged_in_full_and_once(gateway: Gateway, place: str) -> None:
    """Before the hold is settled; with the message under way; and with the broker's word for it in hand."""
    customer = await gateway.customer()
    async with own_process(gateway, "router", f"router.{place}:kill") as router:
        await ask_in_vain(gateway, customer, PLAIN)
        assert await asyncio.wait_for(router.wait(), SECONDS) == -signal.SIGKILL
    await gateway.start("router")
    charge = await one_charge(gateway, customer)
    assert (charge["outcome"], charge["reason"]) == ("usage", "complete")
    (served,) = gateway.simulator.served()
    assert served.usage is not None
    exact = pricing.cost(gateway.price_of("deepseek-chat"), served.usage, charge["started_at"])
    assert charge["cash"] + charge["plan"] == charge["cost"] == exact
    await assert_nothing_is_held(gateway, customer)


async def test_what_a_broker_has_lost_is_sent_again(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await gateway.post(CHAT, PLAIN, customer.bearer)  # so that there is credit in Redis
    assert await until(partial(has_charges, gateway, customer, 1), SECONDS)
    await gateway.stop("billing")
    for _ in range(5):
        status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
        assert status == 200
    async with await aio_pika.connect(gateway.stores.amqp_url) as connection:
        assert await until(partial(shows, gateway, "tokenoutput_spool_unbooked", 5.0, 6.0))
        assert await until(partial(shows, gateway, "tokenoutput_spool_waiting", 0.0)), "all of it is with the broker"
        channel = await connection.channel()
        for partition in range(usage.PARTITIONS):
            await channel.queue_delete(usage.queue_name(partition))
    await gateway.start("billing")
    assert await until(partial(has_charges, gateway, customer, 6), SECONDS)
    await assert_nothing_is_held(gateway, customer)
    assert await until(partial(shows, gateway, "tokenoutput_spool_unbooked", 0.0), SECONDS)
    assert await has_charges(gateway, customer, 6)


async def shows(gateway: Gateway, metric: str, *values: float) -> bool:
    async with gateway.session.get(f"http://127.0.0.1:{gateway.admin_ports['router']}/metrics") as response:
        lines = (await response.text()).splitlines()
    return any(line.startswith(f"{metric} ") and float(line.split()[1]) in values for line in lines)


async def test_a_router_that_stops_with_an_empty_spool_says_goodbye(gateway: Gateway) -> None:
    customer = await gateway.customer()
    assert (await state_of_routers(gateway))[-1] == "serving"
    status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
    assert status == 200
    await gateway.stop("router")
    assert (await state_of_routers(gateway))[-1] == "gone"
    assert await has_charges(gateway, customer, 1), "whatever it had is booked by then"
    await gateway.start("router")
    await gateway.ready("router")
    assert (await state_of_routers(gateway))[-1] == "serving"
    status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
    assert status == 200


async def test_a_new_router_takes_nothing_until_billing_knows_it(gateway: Gateway, tmp_path: Path) -> None:
    customer = await gateway.customer()
    await gateway.post(CHAT, PLAIN, customer.bearer)  # so that there is credit in Redis
    await gateway.stop("router")
    await gateway.stop("billing")
    gateway.spool_dir = tmp_path / "another spool"
    await gateway.start("router")
    status, body, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
    assert (status, "nothing was charged" in body["error"]["message"]) == (503, True)
    async with gateway.session.get(f"http://127.0.0.1:{gateway.admin_ports['router']}/readyz") as response:
        assert (response.status, "not registered with billing" in await response.text()) == (503, True)
    assert await held(gateway, customer) == {}
    await gateway.start("billing")
    await gateway.ready()
    status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
    assert status == 200


async def test_a_router_that_is_known_goes_on_while_billing_is_away(gateway: Gateway) -> None:
    customer = await gateway.customer()
    await gateway.post(CHAT, PLAIN, customer.bearer)
    await gateway.stop("billing")
    async with own_process(gateway, "router"):
        status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
        assert status == 200
    await gateway.start("router")
    await gateway.start("billing")
    assert await until(partial(has_charges, gateway, customer, 2), SECONDS)
    await assert_nothing_is_held(gateway, customer)


async def test_without_room_on_its_disk_nothing_new_begins(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    customer = await gateway.customer()
    async with gateway.session.post(f"{gateway.url}{CHAT}", json=SLOW, headers=customer.bearer) as response:
        await read_until(response, 3)
        with monkeypatch.context() as full:
            full.setattr("shutil.disk_usage", lambda _: _Disk())
            assert await until(partial(is_not_ready, gateway))
            status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
            assert status == 503
            assert b"[DONE]" in await response.read(), "what has begun goes on"
    assert await until(partial(has_charges, gateway, customer, 1), SECONDS)
    await gateway.ready("router")
    status, _, _ = await gateway.post(CHAT, PLAIN, customer.bearer)
    assert status == 200


class _Disk:
    free = MIB


async def is_not_ready(gateway: Gateway) -> bool:
    async with gateway.session.get(f"http://127.0.0.1:{gateway.admin_ports['router']}/readyz") as response:
        return response.status == 503


async def give(gateway: Gateway, **changes: Any) -> tuple[int, bool]:
    """Hands the router an order that an edge could have sealed. The status, and whether it says that it saw to it."""
    now = now_ms()
    held_at = changes.pop("authorized_at", now)
    fresh = {"request_id": samples.request_id(now), "stream": False, "accepted_at": now, "dispatch_by": now + 10_000}
    given = {**fresh, "hold": samples.hold(authorized_at=held_at), **changes}
    secret = gateway.settings("router").internal_secret.get_secret_value().encode()
    headers = {
        **Identity("edge", secret).authorization("router"),
        dispatch.HEADER: dispatch.seal(samples.order(**given), secret),
    }
    url = f"http://127.0.0.1:{gateway.ports['router']}{dispatch.PATH}"
    async with gateway.session.post(url, json=PLAIN, headers=headers) as response:
        return response.status, response.headers.get("x-tokenoutput-answered") == "1"


async def test_an_order_that_is_too_old_never_begins(gateway: Gateway) -> None:
    """Its hold may have been given back. Also one whose edge gave it more time, or has another clock."""
    now = now_ms()
    assert await give(gateway, authorized_at=now - 13_000, dispatch_by=now + 60_000) == (503, True)
    old = samples.request_id(now - 60_000)
    assert await give(gateway, authorized_at=0, request_id=old) == (503, True), "it is below the watermark"
    assert not await has_arrived(gateway)
    assert await give(gateway) == (200, True)


async def test_an_order_that_comes_twice_begins_once_and_keeps_its_hold(gateway: Gateway) -> None:
    customer = await gateway.customer()
    slow = {**PLAIN, "messages": [{"role": "user", "content": "[sim: delay=3]"}]}
    asking = asyncio.create_task(gateway.post(CHAT, slow, customer.bearer))
    assert await until(partial(has_arrived, gateway))
    ((request, before),) = (await held(gateway, customer)).items()
    status, answered = await give(gateway, request_id=UUID(hex=request), org=customer.org)
    assert (status, answered) == (503, True)
    assert await held(gateway, customer) == {request: before}
    status, _, _ = await asking
    assert status == 200
    await assert_nothing_is_held(gateway, customer)
