"""However many ask at once, by whichever key, door and protocol: an org never gets more than it has paid for."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import aiohttp
import pytest

from libs import pricing
from libs.contracts.account import lease_keys
from libs.protocols import Protocol
from libs.runtime import redis
from libs.runtime.run import Part, started
from services.billing import commands as billing_commands
from services.edge import ask as asking
from services.edge import commands as edge_commands
from services.edge.app import create_app
from services.edge.head import look
from tests.fixtures.gateway import Customer, Gateway, free_port, until

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = "/v1/messages"
PARALLEL: Final = 300
ENOUGH_FOR: Final = 5
MOST_TRIES: Final = 60
REPETITIONS: Final = 20 if os.environ.get("TOKENOUTPUT_LONG") == "1" else 3
MODEL: Final = "deepseek-chat"
pytestmark = pytest.mark.timeout(600)
# It reports far more than it was allowed, so that every charge is its whole hold and no credit comes free again.
GREEDY: Final = "[sim: usage=out:90000] hello"


class Answer(NamedTuple):
    """What a caller was told in the end, and how often it had to ask again: a machine that stalls makes 503s."""

    path: str
    status: int
    body: Any
    tries: int


def body_of(*, stream: bool) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": GREEDY}],
        "stream": stream,
    }


def dearest_need(gateway: Gateway) -> int:
    """The largest hold that one of the requests takes."""
    sold = next(model for model in gateway.shelf.models if model.id == MODEL)
    protocols: tuple[Protocol, ...] = ("openai_chat", "anthropic_messages")
    bodies = [json.dumps(body_of(stream=stream)).encode() for stream in (True, False)]
    heads = [look(body, protocol) for body in bodies for protocol in protocols]
    return max(asking.first(head, sold, 8192).need for head in heads)


@pytest.fixture(scope="module")
async def doors(gateway: Gateway) -> AsyncIterator[list[str]]:
    """Two edges."""
    ports = {"port": free_port(), "admin_port": free_port()}
    settings = gateway.settings("edge").model_copy(update=ports)
    async with started(Part(create_app(settings), settings)):
        second = f"http://127.0.0.1:{ports['port']}"
        assert await until(lambda: serves(gateway, second))
        yield [gateway.url, second]


async def serves(gateway: Gateway, url: str) -> bool:
    """It has read the catalog."""
    async with gateway.session.get(f"{url}/v1/models") as response:
        return response.status == 200 and bool((await response.json())["data"])


async def storm(session: aiohttp.ClientSession, doors: list[str], keys: list[str]) -> list[Answer]:
    async def ask(number: int) -> Answer:
        path, stream = (CHAT, MESSAGES)[number // 2 % 2], bool(number % 2)
        url, key = doors[number // 4 % len(doors)], keys[number // 8 % len(keys)]
        headers = {"authorization": f"Bearer {key}"}
        for tries in range(1, MOST_TRIES):
            async with session.post(f"{url}{path}", json=body_of(stream=stream), headers=headers) as response:
                body = await response.text()
                if response.status != 503:
                    return Answer(path, response.status, body, tries)
            await asyncio.sleep(1)
        pytest.fail(f"503 again and again: {body}")

    return list(await asyncio.gather(*map(ask, range(PARALLEL))))


def assert_refused(answer: Answer) -> None:
    assert answer.status == 402, answer
    error = json.loads(answer.body)["error"]
    assert error["type"] == ("billing_error" if answer.path == MESSAGES else "insufficient_quota")
    assert isinstance(error["affordable_max_tokens"], int)
    assert 0 <= error["affordable_max_tokens"] < 1000
    assert float(error["available"]) < float(error["required"])


async def lease_of(gateway: Gateway, org: int) -> dict[str, int]:
    async with redis.client(gateway.stores.redis_url, seconds=5) as client:
        fields = await client.hgetall(lease_keys(org).lease)
        return {str(name): int(value) for name, value in fields.items() if name != "g"}


async def nothing_held(customer: Customer) -> bool:
    account = await customer.account()
    return float(account["held"]) == float(account["unposted"]) == 0


@pytest.mark.parametrize("repetition", range(REPETITIONS))
async def test_a_storm_by_two_keys_at_two_doors_gets_what_was_paid_for(
    gateway: Gateway, doors: list[str], repetition: int
) -> None:
    need = dearest_need(gateway)
    customer = await gateway.customer(pricing.usd(ENOUGH_FOR * need))
    _, second = await edge_commands.create_key(gateway.settings("edge"), customer.org, "second")
    before = len(gateway.simulator.served())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        answers = await storm(session, doors, [customer.key, second])
    accepted = [answer for answer in answers if answer.status == 200]
    for answer in answers:
        if answer.status != 200:
            assert_refused(answer)
    assert len(gateway.simulator.served()) - before == len(accepted) <= ENOUGH_FOR
    if all(answer.tries == 1 for answer in answers):  # else a hold that was made unheard was away for a moment
        assert len(accepted) == ENOUGH_FOR
    assert await until(lambda: nothing_held(customer))
    assert 0 <= await customer.balance() < need * (1 + ENOUGH_FOR - len(accepted))
    lease = await lease_of(gateway, customer.org)
    assert min(lease.values()) >= 0
    assert lease["used"] + lease["held"] <= lease["lim"]
    assert await gateway.verify() is None


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_frozen_org_is_told_so_and_its_running_request_finishes(
    gateway: Gateway, doors: list[str], path: str
) -> None:
    customer, settings = await gateway.customer(), gateway.settings("billing")
    slow = {**body_of(stream=False), "messages": [{"role": "user", "content": "[sim: delay=2] hello"}]}
    running = asyncio.create_task(gateway.post(path, slow, customer.bearer))

    async def held() -> bool:
        return float((await customer.account())["held"]) > 0

    assert await until(held)
    assert await billing_commands.freeze_org(settings, customer.org, "a dispute") > 0
    for door in doors:
        async with gateway.session.post(f"{door}{path}", json=slow, headers=customer.bearer) as response:
            error = (await response.json())["error"]
            assert response.status == 402
            assert path == MESSAGES or error["code"] == "account_frozen"
            assert "frozen" in error["message"]
    assert (await running)[0] == 200
    assert (await customer.account())["frozen"] is True
    assert await billing_commands.thaw_org(settings, customer.org)
    assert (await gateway.post(path, body_of(stream=False), customer.bearer))[0] == 200
    assert await gateway.verify() is None


async def test_plan_credit_goes_first_and_both_together_are_the_limit(gateway: Gateway, doors: list[str]) -> None:
    need = dearest_need(gateway)
    customer = await gateway.customer(pricing.usd(2 * need))
    await billing_commands.credit_org(gateway.settings("billing"), customer.org, 2 * need, "promo", promo=True)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        answers = await storm(session, doors, [customer.key])
    accepted = sum(answer.status == 200 for answer in answers)
    assert 2 < accepted <= 4
    assert await until(lambda: nothing_held(customer))
    assert 0 <= await customer.balance() < need * (5 - accepted)
    account = await customer.account()
    assert float(account["plan"]) == 0
    assert await gateway.verify() is None
