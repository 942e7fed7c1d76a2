"""Services other than routers charge customers: with a hold made for them, under their own seal, and once."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from libs import pricing
from libs.contracts import usage
from libs.contracts.usage import Envelope, UsageEvent
from libs.pricing import version_of
from libs.runtime import rabbit
from libs.runtime.producing import NoCredit, producing
from tests.fixtures.gateway import Customer, Gateway, gateway_running, until
from tests.fixtures.producers import COST, KEY, OTHER, SOLD, USED, access, charged, environment, reserve, rows, told
from tests.fixtures.stores import Stores

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "publishing-usage.md"
START: Final = 10 * pricing.NANO


@pytest.fixture(scope="module")
async def gateway(fresh_stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """One whose billing knows two producers, and that has no parked events of other tests."""
    async with gateway_running(fresh_stores, tmp_path_factory.mktemp("gateway"), **told()) as running:
        yield running


@pytest.fixture
async def customer(gateway: Gateway) -> Customer:
    return await gateway.customer()


async def is_parked(gateway: Gateway, request_id: UUID) -> str:
    """The reason, once it is there."""
    found: list[Any] = []

    async def there() -> bool:
        found[:] = await rows(gateway, "SELECT reason FROM parked WHERE request_id = $1", request_id)
        return bool(found)

    assert await until(there), "it was never parked"
    return str(found[0][0])


async def test_the_example_of_the_page_runs_and_charges_once(gateway: Gateway, customer: Customer) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment(gateway, customer), stdout=pipe
    )
    said, _ = await asyncio.wait_for(run.communicate(), 60)
    assert run.returncode == 0
    assert await customer.settled_balance(START - COST) == START - COST
    assert await charged(gateway, UUID(said.decode().split()[-1])) == [("usage", COST, "images")]
    assert await rows(gateway, "SELECT state FROM router WHERE spool = 'images:images-0'") == [("gone",)]
    assert await gateway.verify() is None


async def test_what_is_published_again_is_one_charge(gateway: Gateway, customer: Customer) -> None:
    async with producing("images", "again", **access(gateway)) as producer:
        reserved = await reserve(producer, customer)
        for _ in range(3):
            await producer.charge(reserved, USED, started_at=time.time_ns() // 1_000_000)
    assert await customer.settled_balance(START - COST) == START - COST
    assert await charged(gateway, reserved.request_id) == [("usage", COST, "images")]
    assert await rows(gateway, "SELECT count(*) FROM anomaly") == [(0,)]


async def test_what_is_given_back_costs_nothing_and_can_be_spent_again(gateway: Gateway) -> None:
    poor = await gateway.customer("0.005")
    async with producing("images", "back", **access(gateway)) as producer:
        first = await reserve(producer, poor)
        with pytest.raises(NoCredit):
            await reserve(producer, poor)
        await producer.give_back(first, reason="failed")

        async def free() -> bool:
            try:
                second = await reserve(producer, poor)
            except NoCredit:
                return False
            await producer.charge(second, USED, started_at=time.time_ns() // 1_000_000)
            return True

        assert await until(free)
    assert await poor.settled_balance(5_000_000 - COST) == 5_000_000 - COST
    assert await charged(gateway, first.request_id) == [("void", 0, "images")]


async def test_a_wrong_key_is_parked_and_nothing_charged(gateway: Gateway, customer: Customer) -> None:
    async with producing("images", "wrong-key", **access(gateway, key=OTHER)) as producer:
        reserved = await reserve(producer, customer)
        await producer.charge(reserved, USED, started_at=time.time_ns() // 1_000_000)
        assert await is_parked(gateway, reserved.request_id) == "the producer's seal is missing or wrong"
    assert await charged(gateway, reserved.request_id) == []
    assert await customer.balance() == START


def forged(producer: str, key: str | None, event: UsageEvent) -> bytes:
    prices = {version_of(SOLD): SOLD}
    plain = Envelope(usage.SCHEMA, producer, 1, prices, [msgspec.Raw(usage.encode_event(event))])
    return usage.encode_envelope(usage.seal_envelope(plain, key.encode()) if key else plain)


@pytest.mark.parametrize(
    ("producer", "key", "reason"),
    [
        ("audio", OTHER, "bad signature"),
        ("router-0", None, "bad signature"),
        ("images", None, "the producer's seal is missing or wrong"),
        ("images", OTHER, "the producer's seal is missing or wrong"),
        ("video", KEY, "sealed by a producer that is not known"),
    ],
)
async def test_the_hold_of_one_producer_pays_no_other(
    gateway: Gateway, customer: Customer, producer: str, key: str | None, reason: str
) -> None:
    async with producing("images", "holder", **access(gateway)) as holder:
        reserved = await reserve(holder, customer)
        now = time.time_ns() // 1_000_000
        event = UsageEvent(
            request_id=reserved.request_id,
            outcome="usage",
            reason="complete",
            org=customer.org,
            key=customer.key_id,
            model=SOLD.model,
            offer="",
            provider="images",
            provider_model=SOLD.model,
            price_id=version_of(SOLD),
            usage=USED,
            cost=COST,
            hold=reserved.hold,
            sig=reserved.sig,
            accepted_at=now,
            started_at=now,
            ended_at=now,
        )
        async with rabbit.publisher(gateway.stores.amqp_url) as rude:
            key_ = usage.routing_key(usage.partition_of(customer.org))
            await rude.publish(usage.EXCHANGE, key_, forged(producer, key, event), message_id="forged")
        assert await is_parked(gateway, reserved.request_id) == reason
        assert await charged(gateway, reserved.request_id) == []
        await holder.charge(reserved, USED, started_at=now)
    assert await customer.settled_balance(START - COST) == START - COST, "the one it was made for is still paid"
    assert await charged(gateway, reserved.request_id) == [("usage", COST, "images")]
    assert await gateway.verify() is None
