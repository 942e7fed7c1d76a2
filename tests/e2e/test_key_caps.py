"""What one key may spend in its life, whatever its org has."""

import asyncio
from typing import Any, Final

import msgspec
import pytest

from libs import pricing
from libs.contracts.account import lease_keys
from libs.runtime import redis
from services.edge import commands as edge_commands
from tests.fixtures.charges import owed
from tests.fixtures.gateway import Customer, Gateway, until

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
CAP: Final = 2_000_000  # two thousandths of a dollar


def body_of(max_tokens: int | None, content: str = "hello") -> dict[str, Any]:
    length = {} if max_tokens is None else {"max_tokens": max_tokens}
    return {"model": "deepseek-chat", "messages": [{"role": "user", "content": content}], **length}


async def capped(gateway: Gateway, org: int, cap: int = CAP) -> dict[str, str]:
    """The headers of a new key with a cap."""
    _, key = await edge_commands.create_key(gateway.settings("edge"), org, "capped", cap)
    return {"authorization": f"Bearer {key}"}


async def shown(gateway: Gateway, headers: dict[str, str]) -> dict[str, Any]:
    async with gateway.session.get(f"{gateway.url}/v1/key", headers=headers) as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
        return found


async def test_a_key_shows_its_limit_and_what_is_left_of_it(gateway: Gateway, customer: Customer) -> None:
    unlimited = await shown(gateway, customer.bearer)
    assert (unlimited["limit"], unlimited["limit_remaining"]) == (None, None)
    headers = await capped(gateway, customer.org)
    fresh = await shown(gateway, headers)
    assert (fresh["limit"], fresh["limit_remaining"]) == (pricing.usd(CAP), pricing.usd(CAP))
    status, _, answered = await gateway.post(CHAT, body_of(100), headers)
    assert status == 200
    left = pricing.usd(CAP - owed(gateway, answered["x-request-id"], "deepseek-chat"))

    async def counted() -> bool:
        return bool((await shown(gateway, headers))["limit_remaining"] == left)

    assert await until(counted)
    assert (await shown(gateway, customer.bearer))["limit"] is None


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_request_that_passes_the_cap_is_a_402_of_its_own(
    gateway: Gateway, customer: Customer, path: str
) -> None:
    headers = await capped(gateway, customer.org)
    status, body, answered = await gateway.post(path, body_of(100_000), headers)
    assert status == 402
    assert answered["x-should-retry"] == "false"
    error = body["error"]
    assert error["type"] == ("billing_error" if path == MESSAGES else "insufficient_quota")
    assert path == MESSAGES or error["code"] == "key_cap_exceeded"
    assert (error["available"], error["key_limit"]) == (pricing.usd(CAP), pricing.usd(CAP))
    assert float(error["required"]) > float(error["available"])
    assert "use another key" in error["message"]
    status, _, _ = await gateway.post(path, body_of(error["affordable_max_tokens"]), headers)
    assert status == 200
    status, _, _ = await gateway.post(path, body_of(10_000), customer.bearer)
    assert status == 200, "the org and its other keys are not limited by it"


async def test_a_length_left_to_us_is_what_the_key_may_still_spend(gateway: Gateway, customer: Customer) -> None:
    headers = await capped(gateway, customer.org)
    status, _, answered = await gateway.post(CHAT, body_of(None), headers)
    assert status == 200
    assert 64 <= int(answered["x-tokenoutput-max-tokens"]) < 8192


async def test_many_at_once_pass_no_cap(gateway: Gateway, customer: Customer) -> None:
    """Each is charged its whole hold, because the provider reports more than it was allowed."""
    headers = await capped(gateway, customer.org)
    greedy = body_of(500, "[sim: usage=out:90000] hello")
    answers = await asyncio.gather(*(gateway.post(CHAT, greedy, headers) for _ in range(40)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 402}
    assert {body["error"]["code"] for status, body, _ in answers if status == 402} == {"key_cap_exceeded"}

    async def booked() -> bool:
        account = await customer.account()
        return float(account["held"]) == float(account["unposted"]) == 0

    assert await until(booked)
    spent = 10 * pricing.NANO - await customer.balance()
    assert 0 < spent <= CAP
    assert await gateway.verify() is None


async def test_a_cap_outlives_the_redis_that_counted(gateway: Gateway, customer: Customer) -> None:
    """What was spent comes from the ledger, and what is in doubt counts as spent until it is known."""
    headers = await capped(gateway, customer.org)
    greedy = body_of(1000, "[sim: usage=out:90000] hello")
    assert (await gateway.post(CHAT, greedy, headers))[0] == 200

    async def booked() -> bool:
        account = await customer.account()
        return await customer.balance() < 10 * pricing.NANO and float(account["unposted"]) == 0

    assert await until(booked)
    async with redis.client(gateway.stores.redis_url, seconds=5) as client:
        await client.delete(*msgspec.structs.astuple(lease_keys(customer.org)))
    status, body, _ = await gateway.post(CHAT, greedy, headers)
    assert (status, body["error"]["code"]) == (503, "billing_recovering")
    assert (await gateway.post(CHAT, greedy, customer.bearer))[0] == 200
