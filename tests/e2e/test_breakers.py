"""One provider of three dies and comes back: callers notice nothing once its breaker is open."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from pydantic import SecretStr

from libs.contracts.catalog import Snapshot
from services.catalog import rules
from tests.fixtures.gateway import CATALOG, Customer, Gateway, free_port, gateway_running, until
from tests.fixtures.stores import Stores

MODEL = "deepseek-chat"
PROVIDERS = ("deepseek", "qwen", "zhipu")
TOKEN = "the-operator-s-token-of-the-tests"
PAUSE = 5.0  # longer than all requests of a test take, also on a machine that stalls


def shelf() -> Snapshot:
    """One model, three providers, the one that will die first."""
    found = rules.read(CATALOG.read_text("utf-8"))
    own = {offer.provider: offer for offer in found.offers}
    three = tuple(
        msgspec.structs.replace(own[name], id=f"{MODEL}@{name}", model=MODEL, priority=number)
        for number, name in enumerate(PROVIDERS)
    )
    return msgspec.structs.replace(found, offers=(*(o for o in found.offers if o.model != MODEL), *three))


@pytest.fixture(scope="module")
async def gateway(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with gateway_running(
        stores,
        tmp_path_factory.mktemp("gateway"),
        attempts=1,  # so that only the breaker can help
        breaker_errors=3,
        breaker_of=10,
        breaker_pause_seconds=PAUSE,
        **{"router.operator_port": free_port(), "router.operator_token": SecretStr(TOKEN)},
    ) as running:
        await running.publish(shelf())
        yield running


async def ask(gateway: Gateway, customer: Customer, cue: str) -> int:
    body = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": f"{cue} hi"}]}
    status, _, _ = await gateway.post("/v1/chat/completions", body, customer.bearer)
    return status


async def states(gateway: Gateway) -> dict[str, str]:
    url = f"http://127.0.0.1:{gateway.overrides['router.operator_port']}/admin/v1/health"
    async with gateway.session.get(url, headers={"authorization": f"Bearer {TOKEN}"}) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return {health["subject"]: health["state"] for health in found["data"]}


async def test_a_dead_provider_costs_a_few_requests_and_then_none(gateway: Gateway) -> None:
    customer = await gateway.customer()
    dead = "[sim deepseek: status=500]"
    seen = [await ask(gateway, customer, dead) for _ in range(20)]
    assert seen == [502] * 3 + [200] * 17
    assert (await states(gateway))[f"offer:{MODEL}@deepseek"] == "open"
    before = len([one for one in gateway.simulator.served() if one.provider == "deepseek"])

    async def is_back() -> bool:
        assert await ask(gateway, customer, "") == 200
        served = [one for one in gateway.simulator.served() if one.provider == "deepseek"]
        return len(served) > before

    assert await until(is_back, 10 * PAUSE)
    assert (await states(gateway))[f"offer:{MODEL}@deepseek"] == "closed"
    assert await gateway.verify() is None


async def test_bad_requests_take_no_provider_away(gateway: Gateway) -> None:
    customer = await gateway.customer()
    for _ in range(20):
        wrong = await asyncio.gather(*(ask(gateway, customer, "[sim: status=400]") for _ in range(10)))
        assert set(wrong) == {400}
    assert set((await states(gateway)).values()) == {"closed"}
    assert await ask(gateway, customer, "") == 200


async def test_the_admin_api_is_the_operator_s_alone(gateway: Gateway) -> None:
    customer = await gateway.customer()
    url = f"http://127.0.0.1:{gateway.overrides['router.operator_port']}/admin/v1/health"
    for headers in ({}, customer.bearer, {"authorization": "Bearer wrong"}):
        async with gateway.session.get(url, headers=headers) as response:
            assert response.status == 401


async def test_an_offer_can_be_tried(gateway: Gateway) -> None:
    root = f"http://127.0.0.1:{gateway.overrides['router.operator_port']}/admin/v1/offers"
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with gateway.session.post(f"{root}/{MODEL}@qwen/test", headers=headers) as response:
        found = await response.json()
    assert [(one["ok"], one["status"], one["simulated"]) for one in found["data"]] == [(True, 200, True)]
    async with gateway.session.post(f"{root}/nobody/test", headers=headers) as response:
        assert response.status == 404


async def test_metrics_tell_the_state_of_every_breaker(gateway: Gateway) -> None:
    customer = await gateway.customer()
    assert await ask(gateway, customer, "") == 200
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{gateway.admin_ports['router']}/metrics") as response,
    ):
        text = await response.text()
    assert f'tokenoutput_breaker_state{{subject="offer:{MODEL}@' in text
    assert "tokenoutput_breaker_opens_total" in text
    assert f'tokenoutput_attempts_total{{offer="{MODEL}@' in text
    assert f'tokenoutput_prompt_tokens_total{{cache="read",offer="{MODEL}@' in text
