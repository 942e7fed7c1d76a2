"""Numbers that would turn a hold into a gift: refused before any arithmetic, and nothing moves."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from libs.contracts.account import lease_keys
from libs.runtime import redis
from tests.fixtures.gateway import Customer, Gateway, until

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
SENTINEL: Final = 987_654_321
NOT_COUNTS: Final = ("-1", "0", "-0", "true", "false", "1e400", "-1e400", "9223372036854775808", '"10"', "NaN", "1.5")
WORSE: Final = ("Infinity", "-9223372036854775809", "[5]", '{"max": 5}', "1e-3", "1" + "0" * 400, "0x10", "")
FIELDS: Final = [(CHAT, "max_tokens"), (CHAT, "max_completion_tokens"), (CHAT, "n"), (MESSAGES, "max_tokens")]


def body_with(path: str, field: str, number: str, *, stream: bool) -> bytes:
    """The JSON with the number word for word, which no encoder would write."""
    fields: dict[str, Any] = {
        "model": "deepseek-chat",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": stream,
        **({"max_tokens": 50} if path == MESSAGES else {}),
        field: SENTINEL,
    }
    return json.dumps(fields).replace(str(SENTINEL), number).encode()


async def traces(gateway: Gateway, org: int) -> tuple[int, dict[str, int], dict[str, int]]:
    """What Redis knows of an org: how many holds, the lease, the keys."""
    keys = lease_keys(org)
    async with redis.client(gateway.stores.redis_url, seconds=5) as client:
        lease = {str(name): int(value) for name, value in (await client.hgetall(keys.lease)).items() if name != "g"}
        spent = {str(name): int(value) for name, value in (await client.hgetall(keys.keys)).items()}
        return await client.hlen(keys.holds), lease, spent


@pytest.fixture(scope="module")
async def spender(gateway: Gateway) -> AsyncIterator[Customer]:
    """An org that has a lease with something spent in it."""
    customer = await gateway.customer("1")
    body = {"model": "deepseek-chat", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
    status, _, _ = await gateway.post(CHAT, body, customer.bearer)
    assert status == 200

    async def booked() -> bool:
        account = await customer.account()
        return await customer.balance() < 10**9 and float(account["held"]) == float(account["unposted"]) == 0

    assert await until(booked)
    yield customer
    assert await gateway.verify() is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", FIELDS)
@pytest.mark.parametrize("number", [*NOT_COUNTS, *WORSE, "-3", "2147483649"])
async def test_a_hostile_number_is_a_400_and_moves_nothing(
    gateway: Gateway, spender: Customer, where: tuple[str, str], number: str, stream: bool
) -> None:
    path, field = where
    before, arrived = await spender.balance(), len(gateway.simulator.records())
    known = await traces(gateway, spender.org)
    body = body_with(path, field, number, stream=stream)
    status, answer, _ = await gateway.post(path, body, {**spender.bearer, "content-type": "application/json"})
    assert status == 400, answer
    assert answer["error"]["type"] == "invalid_request_error"
    assert await spender.balance() == before
    assert await traces(gateway, spender.org) == known
    holds, lease, spent = known
    assert holds == 0
    assert min([*lease.values(), *spent.values()]) >= 0
    assert len(gateway.simulator.records()) == arrived, "no provider hears of it"


@pytest.mark.parametrize("number", ["-3", "true", "1e400", "9223372036854775808", "1.5"])
async def test_what_a_protocol_does_not_know_multiplies_nothing(
    gateway: Gateway, spender: Customer, number: str
) -> None:
    """Anthropic's protocol has no `n`: whatever is made of it, one answer is held for and no more is paid."""
    before = await spender.balance()
    status, answer, _ = await gateway.post(MESSAGES, body_with(MESSAGES, "n", number, stream=False), spender.bearer)
    assert status in (200, 400), answer

    async def ended() -> bool:
        return (await traces(gateway, spender.org))[0] == 0

    assert await until(ended)
    assert await spender.balance() <= before
    _, lease, spent = await traces(gateway, spender.org)
    assert min([*lease.values(), *spent.values()]) >= 0


@pytest.mark.parametrize(("path", "field"), FIELDS)
async def test_the_largest_number_there_is_costs_what_there_is_or_nothing(
    gateway: Gateway, spender: Customer, path: str, field: str
) -> None:
    """In range and absurd: brought down to what the model can do, and refused with the numbers if that is too dear."""
    number = "128" if field == "n" else "2147483648"
    before = await spender.balance()
    status, answer, _ = await gateway.post(path, body_with(path, field, number, stream=False), spender.bearer)
    assert status in (200, 402), answer
    if status == 402:
        assert float(answer["error"]["available"]) <= before / 10**9
    assert 0 <= await spender.balance() <= before
