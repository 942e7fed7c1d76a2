"""An org asks for its month: what came and what was charged add up to what it has."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.fixtures.gateway import Customer, Gateway

CHAT = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 50}


async def statement(gateway: Gateway, customer: Customer, month: str) -> tuple[int, Any]:
    url = f"{gateway.url}/v1/billing/statement"
    async with gateway.session.get(url, params={"month": month}, headers=customer.bearer) as response:
        return response.status, await response.json()


async def test_a_month_is_what_came_less_what_was_charged(gateway: Gateway) -> None:
    customer = await gateway.customer("5")
    month = f"{datetime.now(UTC):%Y-%m}"
    before = await customer.balance()
    status, answer, _ = await gateway.post("/v1/chat/completions", CHAT, customer.bearer)
    assert status == 200
    cost = round(Decimal(str(answer["usage"]["cost"])) * 10**9)
    assert await customer.settled_balance(before - cost) == before - cost
    status, told = await statement(gateway, customer, month)
    assert status == 200
    [cash] = told["buckets"]
    assert (told["month"], cash["bucket"], cash["closed"], cash["digest"]) == (month, "cash", False, None)
    assert cash["opening"] == "0.000000000"
    assert [(each["kind"], each["transfers"]) for each in cash["movements"]] == [("adjustment", 1), ("usage", 1)]
    assert sum(Decimal(each["amount"]) for each in cash["movements"]) == Decimal(cash["closing"])
    assert cash["closing"] == (await customer.account())["balance_exact"]
    assert await gateway.verify() is None


async def test_nobody_sees_anothers_month(gateway: Gateway) -> None:
    await gateway.customer("5")
    stranger = await gateway.customer("0")
    status, told = await statement(gateway, stranger, "2026-10")
    assert (status, told["buckets"]) == (200, [])


@pytest.mark.parametrize("month", ["", "2026-13", "october", "2026-10-01", "../1/statements/2026-10"])
async def test_what_is_no_month_is_the_callers_mistake(gateway: Gateway, month: str) -> None:
    customer = await gateway.customer("0")
    status, told = await statement(gateway, customer, month)
    assert status == 400
    assert "month must be as in 2026-10" in told["error"]["message"]
