"""What must never be found anywhere: prompts, answers, keys. Canaries, and a look into every place."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.fixtures.gateway import Gateway, gateway_running, until
from tests.fixtures.stores import Stores

CANARY = "canary7f3a9c"
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"


@pytest.fixture
async def gateway(stores: Stores, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with gateway_running(stores, tmp_path) as running:
        yield running


def body(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{CANARY} please"}]
    return {"model": model, "max_tokens": 60, "messages": messages, "metadata": {"user_id": CANARY}, **fields}


async def test_prompts_answers_and_keys_are_found_nowhere(gateway: Gateway) -> None:
    customer = await gateway.customer()
    for stream in (False, True):
        for path, model in ((CHAT, "deepseek-chat"), (MESSAGES, "claude-sonnet-4-20250514")):
            async with gateway.session.post(
                f"{gateway.url}{path}", json=body(model, stream=stream), headers=customer.bearer
            ) as response:
                assert response.status == 200
                assert CANARY in await response.text(), "the simulator echoes; without that this test shows nothing"
    await gateway.post(CHAT, body("no-such-model"), customer.bearer)
    await gateway.post(CHAT, b'{"messages": "' + CANARY.encode(), customer.bearer)
    assert await until(lambda: _charged(gateway, customer.org))
    haystacks = {
        "logs": json.dumps(gateway.log_lines(), default=str),
        "spool": "".join(_files(gateway.spool_dir)),
        "database": await _dump(gateway.stores.owner_url),
    }
    for place, text in haystacks.items():
        assert CANARY not in text, place
        assert customer.key not in text, place


async def test_no_header_of_a_caller_reaches_a_provider(gateway: Gateway) -> None:
    customer = await gateway.customer()
    nosy = {
        **customer.bearer,
        "x-api-key": customer.key,
        "cookie": CANARY,
        "x-forwarded-for": "1.2.3.4",
        "x-stainless-os": "Linux",
        "anthropic-beta": "some-beta",
        "anthropic-version": "2023-06-01",
    }
    status, _, headers = await gateway.post(MESSAGES, body("claude-sonnet-4-20250514"), nosy)
    assert status == 200
    [served] = gateway.simulator.served(headers["request-id"])
    assert served.credential != hashlib.sha256(customer.key.encode()).hexdigest()[:16]
    names = {name.lower() for name in served.headers}
    assert names >= {"anthropic-beta", "anthropic-version", "x-client-request-id"}
    assert names.isdisjoint({"cookie", "x-forwarded-for", "x-stainless-os", "x-tokenoutput-dispatch"})


async def _charged(gateway: Gateway, org: int) -> bool:
    connection = await asyncpg.connect(gateway.stores.billing_url)
    try:
        return bool(await connection.fetchval("SELECT count(*) = 4 FROM billing.charge WHERE org_id = $1", org))
    finally:
        await connection.close()


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        yield path.read_bytes().decode("latin-1")


async def _dump(url: str) -> str:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname IN ('edge', 'billing', 'catalog')"
        )
        rows = [await connection.fetch(f"SELECT t::text FROM {t['name']} t") for t in tables]  # noqa: S608 - quoted
        return "\n".join(str(row[0]) for found in rows for row in found)
    finally:
        await connection.close()
