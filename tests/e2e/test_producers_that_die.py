"""What becomes of the work of a producer that dies, gives up waiting, or forgets what it reserved."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest

from libs import pricing
from libs.runtime.producing import Reserved, TooLate, producing
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.producers import (
    COST,
    USED,
    access,
    charged,
    environment,
    promised,
    reserve,
    rows,
    standing,
    told,
)
from tests.fixtures.proxy import Proxy, proxied
from tests.fixtures.stores import Stores

START: Final = 10 * pricing.NANO
LAG: Final = 3.0  # shorter than in earnest, so that credit is given back within seconds
MARGIN: Final = 3.0
LONG: Final = 60

DIES: Final = """
import asyncio, os, sys
import msgspec
from libs.pricing import Price, Rates, Usage
from libs.runtime.producing import producing

async def main():
    async with producing(
        "images",
        "images-0",
        key=os.environ["PRODUCER_KEY"],
        internal_secret=os.environ["TOKENOUTPUT_INTERNAL_SECRET"],
        billing_url=os.environ["BILLING_URL"],
        amqp_url=os.environ["AMQP_URL"],
        lag_seconds=float(os.environ["LAG"]),
    ) as producer:
        price = Price("images-small", Rates(0, 40_000_000_000, 0, 0, 0))
        reserved = await producer.reserve(int(os.environ["ORG"]), int(os.environ["KEY"]), price, 5_000_000)
        if "charges" in sys.argv:
            await producer.charge(reserved, Usage(output=100), started_at=reserved.hold.authorized_at)
        sys.stdout.buffer.write(msgspec.json.encode(reserved))
        sys.stdout.flush()
        os._exit(9)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def billings_broker(fresh_stores: Stores) -> AsyncIterator[Proxy]:
    """Billing's way to the broker, which nobody else uses."""
    async with proxied(fresh_stores.billing_amqp_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
async def gateway(
    fresh_stores: Stores, billings_broker: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    settings: dict[str, Any] = {
        **told(),
        "billing.amqp_url": billings_broker.url,
        "watermark_lag_seconds": LAG,
        "reclaim_margin_seconds": MARGIN,
        "reclaim_seconds": 0.2,
    }
    async with gateway_running(fresh_stores, tmp_path_factory.mktemp("gateway"), **settings) as running:
        yield running


@pytest.fixture
async def customer(gateway: Gateway) -> Customer:
    return await gateway.customer()


def known(gateway: Gateway, **options: Any) -> dict[str, Any]:
    return {**access(gateway), "lag_seconds": LAG, **options}


async def one_that_dies(gateway: Gateway, customer: Customer, *arguments: str) -> Reserved:
    """It reserved, and maybe charged, as ``images-0``."""
    told_it = {**environment(gateway, customer), "LAG": str(LAG)}
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES, *arguments, env=told_it, stdout=pipe)
    said, _ = await asyncio.wait_for(run.communicate(), LONG)
    assert run.returncode == 9
    return msgspec.json.decode(said.splitlines()[-1], type=Reserved)


async def routers_are_past(gateway: Gateway, at: int) -> bool:
    """Whether all but producers promised so much that what was authorized then would be given back."""
    (found,) = await rows(gateway, "SELECT min(watermark) FROM router WHERE spool NOT LIKE '%:%' AND state = 'serving'")
    return bool(found[0] > at + 1000 * (LAG + MARGIN))


async def promises_more(gateway: Gateway, spool: str, than: int) -> bool:
    async def it_does() -> bool:
        return await promised(gateway, spool) > than

    return await until(it_does, LONG)


async def is_charged(gateway: Gateway, reserved: Reserved, *expected: Any) -> bool:
    async def it_is() -> bool:
        return await charged(gateway, reserved.request_id) == [expected]

    return await until(it_is, LONG)


async def test_what_was_published_before_a_crash_is_paid_however_late_billing_reads_it(
    gateway: Gateway, customer: Customer, billings_broker: Proxy
) -> None:
    await billings_broker.down()
    reserved = await one_that_dies(gateway, customer, "charges")
    at = reserved.hold.authorized_at
    async with producing("images", "images-0", **known(gateway)):

        async def past() -> bool:
            return await routers_are_past(gateway, at)

        assert await until(past, LONG)
        assert await charged(gateway, reserved.request_id) == [], "the hold was given back"
        assert await promised(gateway, "images:images-0") <= at
        await billings_broker.up()
        assert await is_charged(gateway, reserved, "usage", COST, "images")
    assert await standing(gateway, "images:images-0") == "serving", "who comes next knows no more than this one"
    assert await customer.settled_balance(START - COST) == START - COST
    async with producing("images", "images-0", **known(gateway, settle_seconds=1)):
        assert await promises_more(gateway, "images:images-0", at)
    assert await standing(gateway, "images:images-0") == "gone"
    assert await rows(gateway, "SELECT count(*) FROM anomaly") == [(0,)]
    assert await gateway.verify() is None


async def test_what_was_not_published_before_a_crash_is_given_back_after_a_while(
    gateway: Gateway, customer: Customer
) -> None:
    reserved = await one_that_dies(gateway, customer)
    async with producing("images", "images-0", **known(gateway, settle_seconds=1)):
        assert await is_charged(gateway, reserved, "void", 0, "billing")
    assert await customer.balance() == START


async def test_with_a_record_of_its_own_nothing_is_lost_and_nothing_charged_twice(
    gateway: Gateway, customer: Customer
) -> None:
    lost = await one_that_dies(gateway, customer)
    async with producing("images", "images-0", **known(gateway)) as producer:
        await producer.charge(lost, USED, started_at=lost.hold.authorized_at)
        await asyncio.wait_for(producer.booked(lost), LONG)
        assert await charged(gateway, lost.request_id) == [("usage", COST, "images")]
        await producer.charge(lost, USED, started_at=lost.hold.authorized_at)
        await asyncio.wait_for(producer.booked(lost), LONG)
    sent = await one_that_dies(gateway, customer, "charges")
    async with producing("images", "images-0", **known(gateway, settle_seconds=1)) as producer:
        await producer.charge(sent, USED, started_at=sent.hold.authorized_at)
        await asyncio.wait_for(producer.booked(sent), LONG)
        assert await promises_more(gateway, "images:images-0", sent.hold.authorized_at)
    assert await customer.settled_balance(START - 2 * COST) == START - 2 * COST
    assert await rows(gateway, "SELECT count(*) FROM anomaly") == [(0,)]


async def test_a_charge_that_nobody_waits_for_any_more_is_published_when_the_broker_is_back(
    gateway: Gateway, customer: Customer
) -> None:
    async with proxied(gateway.stores.amqp_url) as broker:
        reach = known(gateway, amqp_url=broker.url)
        async with producing("images", "patient", **reach) as producer:
            reserved = await reserve(producer, customer)
            await broker.down()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await producer.charge(reserved, USED, started_at=time.time_ns() // 1_000_000)
            await broker.up()
            assert await is_charged(gateway, reserved, "usage", COST, "images")
            assert await promises_more(gateway, "images:patient", reserved.hold.authorized_at)
    assert await standing(gateway, "images:patient") == "gone"


async def test_a_reservation_that_is_forgotten_holds_nothing_back_for_ever(
    gateway: Gateway, customer: Customer
) -> None:
    async with (
        producing("images", "forgetful", **known(gateway, reserved_seconds=1)) as forgetful,
        producing("images", "slow", **known(gateway)) as slow,
    ):
        kept = await reserve(slow, customer)
        forgotten = await reserve(forgetful, customer)
        assert await promises_more(gateway, "images:forgetful", forgotten.hold.authorized_at)
        with pytest.raises(TooLate):
            await forgetful.charge(forgotten, USED, started_at=forgotten.hold.authorized_at)
        await forgetful.give_back(forgotten, reason="failed")
        assert await promised(gateway, "images:slow") <= kept.hold.authorized_at
        await slow.charge(kept, USED, started_at=kept.hold.authorized_at)
        assert await is_charged(gateway, kept, "usage", COST, "images")
        assert await is_charged(gateway, forgotten, "void", 0, "billing")
    assert await standing(gateway, "images:forgetful") == "gone"
    assert await customer.settled_balance(START - COST) == START - COST


async def test_who_is_new_or_said_goodbye_has_nothing_to_wait_for(gateway: Gateway) -> None:
    now = time.time_ns() // 1_000_000
    async with producing("images", "new", **known(gateway)):
        assert await promises_more(gateway, "images:new", now)
    assert await standing(gateway, "images:new") == "gone"
    await rows(gateway, "UPDATE router SET watermark = watermark - 60000 WHERE spool = 'images:new'")
    later = time.time_ns() // 1_000_000
    async with producing("images", "new", **known(gateway)):
        assert await promises_more(gateway, "images:new", later)
    assert await standing(gateway, "images:new") == "gone"


async def test_only_what_was_charged_can_be_waited_for(gateway: Gateway, customer: Customer) -> None:
    async with producing("images", "hasty", **known(gateway)) as producer:
        reserved = await reserve(producer, customer)
        with pytest.raises(ValueError, match="neither charged nor given back"):
            await producer.booked(reserved)
        await producer.give_back(reserved, reason="failed")
        await asyncio.wait_for(producer.booked(reserved), LONG)
        assert await charged(gateway, reserved.request_id) == [("void", 0, "images")]
