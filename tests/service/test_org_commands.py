"""`tokenoutput org …` and `tokenoutput key …`, as an operator types it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from typer.testing import CliRunner

from libs import pricing
from libs.contracts.account import LeaseRequest
from libs.contracts.dispatch import Hold
from libs.runtime import postgres
from libs.runtime.holds import NotTaken, Payer
from services.billing.leases import Leases
from services.billing.portion import Posted
from services.billing.store import accounts
from services.cli import app
from tests.fixtures.lending import SHARD, Lender
from tests.fixtures.stores import Stores

DOLLAR: Final = pricing.NANO
UNREACHABLE: Final = "redis://127.0.0.1:1/0"
NO_DATABASE: Final = "postgresql://nobody@127.0.0.1:1/nothing"
TOO_LARGE: Final = str(2**63)
BAD_WORDS: Final = ["", " ", "x" * 501, "a\0b", "a\x1b[2J", "a\nb"]


@pytest.fixture
async def pool(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[postgres.Pool]:
    for name, value in {
        "ENV": "dev",
        "EDGE_DATABASE_URL": stores.edge_url,
        "EDGE_REDIS_URL": stores.edge_redis_url,
        "BILLING_DATABASE_URL": stores.billing_url,
        "BILLING_REDIS_URL": stores.billing_redis_url,
        "BILLING_AMQP_URL": stores.billing_amqp_url,
        "HOLD_SECRET": "hold-secret-of-the-tests",
        "INTERNAL_SECRET": "internal-secret-of-the-tests",
        "KEY_PEPPER": "key-pepper-of-the-tests",
    }.items():
        monkeypatch.setenv(f"TOKENOUTPUT_{name}", value)
    async with postgres.pool(stores.billing_url, "billing", 2) as opened:
        yield opened


async def run(*arguments: str, code: int = 0) -> Any:
    """The command in a thread, because it runs an event loop of its own."""
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, [*arguments, "--json"]))
    assert result.exit_code == code, (result.output, result.exception)
    return msgspec.json.decode(result.stdout) if code != 2 else result.stderr


async def posted(pool: postgres.Pool, org: int) -> Posted:
    async with pool.acquire() as connection:
        return await accounts.posted(connection, org)


async def new_org(*amounts: str) -> int:
    org: int = (await run("org", "create", "somebody"))["org"]
    for number, amount in enumerate(amounts):
        await run("org", "credit", str(org), amount, "--ticket", f"{org}-{number}")
    return org


async def test_promotional_credit_lies_beside_cash_and_a_ticket_counts_once(pool: postgres.Pool) -> None:
    org = await new_org("10")
    promo = ("org", "credit", str(org), "2.5", "--ticket", f"promo-{org}", "--promo")
    assert await run(*promo) == {"org": org, "credited": True, "amount": "2.500000000"}
    assert (await run(*promo))["credited"] is False
    there = await posted(pool, org)
    assert (there.cash.posted, there.plan.posted) == (10 * DOLLAR, 5 * DOLLAR // 2)
    assert "another org or another amount" in (await run(*promo[:-1], code=1))["error"]
    assert (await posted(pool, org)) == there


async def test_a_frozen_org_can_hold_nothing_until_it_is_thawed(pool: postgres.Pool, lender: Lender) -> None:
    org = await new_org("10")
    leases = Leases(pool, lender.client, SHARD)
    await leases.extend(LeaseRequest(org, SHARD, DOLLAR))

    async def take(number: int) -> Hold | NotTaken:
        return await lender.holds.take(Payer(org), UUID(int=number), DOLLAR // 4, shard=SHARD)

    running = await take(1)
    assert isinstance(running, Hold)
    answer = await run("org", "freeze", str(org), "--reason", "a dispute")
    assert answer == {"org": org, "frozen": True, "taken_back": pricing.usd(DOLLAR - DOLLAR // 4)}
    assert await take(2) == NotTaken("need", 0)
    assert await take(1) == running, "what runs keeps its hold"
    assert (await leases.extend(LeaseRequest(org, SHARD, 1))).state == "frozen"
    assert (await posted(pool, org)).leased == DOLLAR // 4
    reason = "SELECT frozen_for FROM balance JOIN account USING (account_id) WHERE org_id = $1"
    assert await pool.fetchval(reason, org) == "a dispute"
    assert await run("org", "thaw", str(org)) == {"org": org, "frozen": False}
    assert await pool.fetchval(reason, org) is None
    assert (await leases.extend(LeaseRequest(org, SHARD, DOLLAR // 4))).state == "ready"
    assert isinstance(await take(2), Hold)
    assert "is not frozen" in (await run("org", "thaw", str(org), code=1))["error"]


async def test_an_org_that_never_had_credit_can_be_frozen(pool: postgres.Pool) -> None:
    org = await new_org()
    assert (await run("org", "freeze", str(org), "--reason", "fraud"))["taken_back"] == "0.000000000"
    await run("org", "credit", str(org), "5", "--ticket", f"late-{org}", "--promo")
    assert (await posted(pool, org)).frozen
    assert "there is no org" in (await run("org", "freeze", "987654321", "--reason", "x", code=1))["error"]


async def test_freezing_without_redis_says_that_it_has_to_be_repeated(
    pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch, lender: Lender
) -> None:
    org = await new_org("10")
    await Leases(pool, lender.client, SHARD).extend(LeaseRequest(org, SHARD, DOLLAR))
    with monkeypatch.context() as away:
        away.setenv("TOKENOUTPUT_BILLING_REDIS_URL", UNREACHABLE)
        error = (await run("org", "freeze", str(org), "--reason", "a dispute", code=1))["error"]
    assert "is frozen, but Redis did not answer" in error
    assert (await posted(pool, org)).frozen
    assert (await run("org", "freeze", str(org), "--reason", "a dispute"))["taken_back"] == "1.000000000"


@pytest.mark.parametrize("cap", ["0", "-1", "1e3", "NaN", "5.0000000001", "9999999"])
async def test_a_cap_is_an_amount_of_dollars(pool: postgres.Pool, stores: Stores, cap: str) -> None:
    org = await new_org()
    assert cap in (await run("key", "create", str(org), "--cap", cap, code=1))["error"]
    made = await run("key", "create", str(org), "--cap", "5.25")
    async with postgres.connected(stores.edge_url, "edge") as edge:
        assert await edge.fetchval("SELECT count(*) FROM api_key WHERE org_id = $1", org) == 1
        assert await edge.fetchval("SELECT cap_nano FROM api_key WHERE key_id = $1", made["id"]) == 5_250_000_000


@pytest.mark.parametrize("bad", BAD_WORDS)
async def test_a_ticket_a_reason_and_a_name_say_something(pool: postgres.Pool, bad: str) -> None:
    org = await new_org("1")
    there = await posted(pool, org)
    errors = [
        (await run("org", "credit", str(org), "1", "--ticket", bad, code=1))["error"],
        (await run("org", "freeze", str(org), "--reason", bad, code=1))["error"],
        (await run("org", "create", bad, code=1))["error"],
        (await run("key", "create", str(org), "--name", bad, code=1))["error"],
    ]
    assert [error.split()[:2] for error in errors] == [["the", it] for it in ("ticket", "reason", "name", "name")]
    assert await posted(pool, org) == there
    assert not there.frozen


async def test_space_around_a_ticket_makes_no_other_ticket(pool: postgres.Pool) -> None:
    org = await new_org()
    assert (await run("org", "credit", str(org), "1", "--ticket", f"T-{org}"))["credited"] is True
    assert (await run("org", "credit", str(org), "1", "--ticket", f" T-{org} "))["credited"] is False
    assert (await posted(pool, org)).cash.posted == DOLLAR


@pytest.mark.parametrize("amount", ["1000001", "1000000.000000001", "9200000000", "9" * 30])
async def test_too_much_is_said_to_be_too_much(pool: postgres.Pool, amount: str) -> None:
    org = await new_org()
    error = (await run("org", "credit", str(org), amount, "--ticket", f"T-{org}", code=1))["error"]
    assert f"${amount} is too large: at most $1000000" in error
    assert (await posted(pool, org)).cash.posted == 0


@pytest.mark.parametrize("number", ["0", TOO_LARGE, "99999999999999999999"])
async def test_a_number_that_no_org_or_key_can_have_is_refused(pool: postgres.Pool, number: str) -> None:
    for words in (
        ("org", "credit", number, "1", "--ticket", "t"),
        ("org", "freeze", number, "--reason", "r"),
        ("org", "thaw", number),
        ("key", "create", number),
        ("key", "revoke", number),
    ):
        assert "Invalid value" in await run(*words, code=2)
    assert "there is no org" in (await run("org", "freeze", str(2**63 - 1), "--reason", "r", code=1))["error"]


@pytest.mark.parametrize("scope", ["EDGE", "BILLING"])
async def test_a_database_that_is_away_is_one_sentence(
    pool: postgres.Pool, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    org = str(await new_org("1"))
    monkeypatch.setenv(f"TOKENOUTPUT_{scope}_DATABASE_URL", NO_DATABASE)
    commands = {
        "EDGE": [("org", "create", "x"), ("key", "create", org), ("key", "revoke", "1")],
        "BILLING": [("org", "thaw", org)],
    }[scope]
    both = [("org", "credit", org, "1", "--ticket", "t"), ("org", "freeze", org, "--reason", "r")]
    for words in commands + both:
        assert (await run(*words, code=1))["error"].startswith("a store is away: ")
