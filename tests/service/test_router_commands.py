"""`tokenoutput router`: what an operator sees of routers, and how one is given up."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from libs.contracts.evidence import Report
from libs.runtime import postgres
from libs.runtime.clock import now_ms
from services.billing.store import routers
from services.cli import app
from tests.fixtures.servers import Database, Servers


@pytest.fixture
async def database(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    async with servers.new_database() as made:
        monkeypatch.setenv("TOKENOUTPUT_ENV", "dev")
        monkeypatch.setenv("TOKENOUTPUT_BILLING_DATABASE_URL", made.billing_url)
        for name in ("REDIS_URL", "AMQP_URL"):
            monkeypatch.setenv(f"TOKENOUTPUT_{name}", "not used here")
        for name in ("HOLD_SECRET", "INTERNAL_SECRET"):
            monkeypatch.setenv(f"TOKENOUTPUT_{name}", "a secret of these tests")
        yield made


async def tokenoutput(*arguments: str) -> Result:
    """The command in a thread, because it runs an event loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["router", *arguments]))


async def json_of(*arguments: str, code: int = 0) -> Any:
    result = await tokenoutput(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (code, "")
    return msgspec.json.decode(result.stdout)


async def report(database: Database, spool: str, **said: Any) -> None:
    now = now_ms()
    given = {"instance": f"router of {spool}", "watermark": now - 60_000, "unbooked": 4, "sent_at": now, **said}
    async with postgres.connected(database.billing_url, "billing") as connection:
        await routers.hear(connection, spool, Report(**given), 0)


async def silent(database: Database, spool: str) -> None:
    """It reported two minutes ago."""
    await report(database, spool)
    async with postgres.connected(database.billing_url, "billing") as connection:
        await connection.execute("UPDATE router SET heard_at = heard_at - interval '2 minutes'")


async def test_routers_are_listed_with_what_they_promised(database: Database) -> None:
    assert (await tokenoutput("list")).stdout == "no router ever reported\n"
    await report(database, "ab12")
    await report(database, "cd34", unbooked=0, goodbye=True)
    gone, serving = (await tokenoutput("list")).stdout.splitlines()
    assert gone.startswith("cd34  gone     router of cd34  watermark 6")
    assert serving.startswith("ab12  serving  router of ab12  watermark 6")
    assert serving.endswith("4 unbooked")
    told = await json_of("list")
    assert [(each["spool"], each["state"], each["unbooked"]) for each in told] == [
        ("cd34", "gone", 0),
        ("ab12", "serving", 4),
    ]
    assert told[0]["now"] - told[0]["watermark"] >= 60_000


async def test_a_router_is_given_up_once_and_it_is_known_by_whom_and_why(database: Database) -> None:
    await silent(database, "ab12")
    because = ("--by", " ops", "--reason", "its disk burnt")
    told = await json_of("lost", "ab12", *because)
    assert (told["state"], told["by"], told["reason"]) == ("lost", "ops", "its disk burnt")
    assert [each["state"] for each in await json_of("list")] == ["lost"]
    async with postgres.connected(database.billing_url, "billing") as connection:
        found = await connection.fetch("SELECT kind, detail FROM anomaly")
    detail = msgspec.json.decode(found[0]["detail"])
    assert (len(found), found[0]["kind"]) == (1, "router declared lost")
    assert (detail["by"], detail["reason"], detail["router"]["unbooked"]) == ("ops", "its disk burnt", 4)
    again = await json_of("lost", "ab12", *because, code=1)
    assert again == {"error": "there is no spool ab12, or it was lost before"}
    assert (await tokenoutput("lost", "other", *because)).exit_code == 1
    assert (await json_of("lost", "\udcff", *because, code=1))["error"].startswith("the spool has control characters")


async def test_a_router_that_reports_is_not_lost_by_mistake(database: Database) -> None:
    because = ("--by", "ops", "--reason", "its disk burnt")
    await silent(database, "cd34")
    await report(database, "ab12")
    error = (await json_of("lost", "ab12", *because, code=1))["error"]
    assert error.startswith("spool ab12 of router of ab12 reported ")
    assert "stop it first" in error
    assert {each["state"] for each in await json_of("list")} == {"serving"}
    assert (await json_of("lost", "cd34", *because))["state"] == "lost"
    assert (await json_of("lost", "ab12", *because, "--though-it-reports"))["state"] == "lost"
    assert "was lost before" in (await json_of("lost", "ab12", *because, code=1))["error"]


@pytest.mark.parametrize("words", [("list",), ("lost", "ab12", "--by", "ops", "--reason", "burnt")])
async def test_a_database_that_is_away_is_one_sentence(
    database: Database, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOKENOUTPUT_BILLING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert (await json_of(*words, code=1))["error"].startswith("a store is away: ")
    result = await tokenoutput(*words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--by", "ops"),
        ("--reason", "burnt"),
        ("--by", " ", "--reason", "burnt"),
        ("--by", "ops", "--reason", "x" * 501),
        ("--by", "ops", "--reason", "a\tb"),
    ],
)
async def test_nobody_is_given_up_without_a_name_and_a_reason(database: Database, words: tuple[str, ...]) -> None:
    await silent(database, "ab12")
    assert (await tokenoutput("lost", "ab12", *words)).exit_code != 0
    assert [each["state"] for each in await json_of("list")] == ["serving"]
