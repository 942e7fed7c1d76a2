"""Services other than the edge that publish usage ask billing for their holds, over HTTP and each for itself."""

import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest

from libs import pricing
from libs.contracts import account
from libs.contracts.account import HoldAnswer, HoldRequest, lease_keys
from libs.contracts.dispatch import sign_hold
from libs.runtime import redis
from libs.runtime.identity import Identity
from tests.fixtures import samples
from tests.fixtures.gateway import Gateway, gateway_running
from tests.fixtures.stores import Stores

SECRET: Final = b"internal-secret-of-the-tests"
HOLD_SECRET: Final = b"hold-secret-of-the-tests"


@pytest.fixture(scope="module")
async def gateway(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    keys = "images:a-key-of-the-images-service"
    async with gateway_running(stores, tmp_path_factory.mktemp("gateway"), producer_keys=keys) as running:
        yield running


def wanted(org: int, **changes: Any) -> HoldRequest:
    now = time.time_ns() // 1_000_000
    good = HoldRequest("images", org, 70, samples.request_id(now, now % 10**9), samples.price(), 1000)
    return msgspec.structs.replace(good, **changes)


async def ask(gateway: Gateway, request: HoldRequest, service: str = "images") -> tuple[int, Any]:
    url = f"http://127.0.0.1:{gateway.ports['billing']}{account.HOLDS_PATH}"
    headers = Identity(service, SECRET).authorization("billing")
    async with gateway.session.post(url, data=msgspec.json.encode(request), headers=headers) as response:
        body = await response.read()
        if response.status != 200:
            return response.status, body
        return 200, msgspec.json.decode(body, type=HoldAnswer)


async def test_a_producer_gets_a_hold_that_is_signed_for_it_alone(gateway: Gateway) -> None:
    customer = await gateway.customer()
    request = wanted(customer.org)
    status, answer = await ask(gateway, request)
    assert (status, answer.state, answer.hold.amount) == (200, "ready", 1000)
    named = (request.request_id, request.org, request.key, pricing.version_of(request.price), answer.hold)
    assert answer.sig == sign_hold(*named, secret=HOLD_SECRET, producer="images")
    assert answer.sig != sign_hold(*named, secret=HOLD_SECRET)
    assert await ask(gateway, request) == (200, answer), "the same again is the same hold"
    async with redis.client(gateway.stores.redis_url, seconds=5) as client:
        assert await client.hvals(lease_keys(customer.org).holds) == [
            f"1000:0:{answer.hold.epoch}:{answer.hold.authorized_at}:70"
        ]
    assert float((await customer.account())["held"]) == 1000 / pricing.NANO


async def test_more_than_there_is_is_not_held(gateway: Gateway) -> None:
    customer = await gateway.customer("1")
    status, answer = await ask(gateway, wanted(customer.org, need=pricing.NANO + 1))
    assert (status, answer) == (200, HoldAnswer("insufficient", available=pricing.NANO))
    assert await ask(gateway, wanted(customer.org, need=1 << 70)) == (status, answer)
    status, answer = await ask(gateway, wanted(987_654_321))
    assert (status, answer) == (200, HoldAnswer("insufficient"))
    status, answer = await ask(gateway, wanted(customer.org, need=pricing.NANO))
    assert answer.state == "ready"


@pytest.mark.parametrize("service", ["edge", "router", "videos"])
async def test_only_known_producers_get_any_and_only_for_themselves(gateway: Gateway, service: str) -> None:
    customer = await gateway.customer()
    assert (await ask(gateway, wanted(customer.org), service))[0] == 403
    assert (await ask(gateway, wanted(customer.org, producer=service), service))[0] == 403
    assert (await customer.account())["held"] == "0.000000000"


@pytest.mark.parametrize(
    "changes",
    [{"need": 0}, {"need": -1}, {"request_id": samples.request_id(1_700_000_000_000)}, {"org": -1}, {"key": 1 << 63}],
    ids=["nothing", "less than nothing", "an old id", "no org", "no key"],
)
async def test_what_makes_no_sense_is_a_400(gateway: Gateway, changes: dict[str, Any]) -> None:
    customer = await gateway.customer()
    assert (await ask(gateway, msgspec.structs.replace(wanted(customer.org), **changes)))[0] == 400
    assert (await customer.account())["held"] == "0.000000000"
