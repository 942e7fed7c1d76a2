"""`tokenoutput usage parked`: what an operator may decide, and what is refused before anything is done."""

import asyncio
from typing import Any, Final

import msgspec
import pytest
from typer.testing import CliRunner

from libs import pricing
from libs.contracts import usage
from libs.contracts.usage import Envelope
from services.billing import parcel
from services.billing import replay as replaying
from services.billing.poster import Poster
from services.billing.store import parked as store
from services.billing.verdict import Judge
from services.cli import app
from tests.fixtures import samples
from tests.fixtures.books import Books

PEOPLE: Final = ("--by", "ann", "--approved-by", "ben")
TOO_LARGE: Final = str(2**63)


@pytest.fixture
async def there(books: Books, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Books whose billing knows the secret that samples are signed with. Nothing of this needs Redis or RabbitMQ."""
    for name, value in {
        "ENV": "dev",
        "BILLING_DATABASE_URL": books.billing_url,
        "REDIS_URL": "not used here",
        "AMQP_URL": "not used here",
        "HOLD_SECRET": samples.HOLD_SECRET.decode(),
        "INTERNAL_SECRET": "internal-secret-of-the-tests",
    }.items():
        monkeypatch.setenv(f"TOKENOUTPUT_{name}", value)
    return books


async def parked(*arguments: str, code: int = 0) -> Any:
    """The command in a thread, because it runs an event loop of its own."""
    words = ["usage", "parked", *arguments, "--json"]
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, words))
    assert result.exit_code == code, (result.output, result.exception)
    return msgspec.json.decode(result.stdout) if code != 2 else result.stderr


async def park(books: Books, body: bytes) -> int:
    async with books.pool.acquire() as connection:
        await store.park(connection, [parcel.of_message(body, "as it came")])
    return int(await books.value("SELECT max(parked_id) FROM parked"))


async def park_good(books: Books, org: int) -> int:
    raw = msgspec.Raw(usage.encode_event(books.event(org)))
    sold = samples.price()
    prices = {pricing.version_of(sold): sold}
    return await park(books, usage.encode_envelope(Envelope(usage.SCHEMA, "router-0", 1, prices, [raw])))


async def states(books: Books) -> list[tuple[str, str]]:
    rows = await books.pool.fetch("SELECT state, reason FROM parked ORDER BY parked_id")
    return [(row["state"], row["reason"]) for row in rows]


async def test_nothing_is_replayed_when_one_of_them_does_not_wait(there: Books) -> None:
    one, two = await park(there, b"nonsense"), await park(there, b"other nonsense")
    refused = await parked("replay", str(one), "999", str(two), code=1)
    assert refused == {"error": "there is no parked event 999"}
    assert await states(there) == [("parked", "as it came")] * 2
    await parked("void", str(two), *PEOPLE, "--reason", "noise")
    assert "is decided: void" in (await parked("replay", str(one), str(two), code=1))["error"]
    assert (await states(there))[0] == ("parked", "as it came")


async def test_each_that_is_named_has_a_row_of_the_result(there: Books) -> None:
    good, bad = await park_good(there, await there.org()), await park(there, b"nonsense")
    done = (await parked("replay", str(good), str(bad), str(good), code=1))["data"]
    assert [(each["id"], each["state"]) for each in done] == [(good, "replayed"), (bad, "parked")]
    assert done[0]["result"].startswith("1 booked")
    assert [state for state, _ in await states(there)] == ["replayed", "parked"]


async def test_one_that_is_decided_meanwhile_does_not_hide_the_others(
    there: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await park(there, b"nonsense"), await park_good(there, await there.org())
    replay = replaying.replay

    async def slowly(pool: Any, poster: Poster, judge: Judge, number: int) -> replaying.Replayed:
        async with pool.acquire() as connection:
            await store.decide(connection, one, "void", "by somebody else")
        return await replay(pool, poster, judge, number)

    monkeypatch.setattr(replaying, "replay", slowly)
    done = (await parked("replay", str(one), str(two), code=1))["data"]
    assert [(each["id"], each["state"]) for each in done] == [(one, "decided"), (two, "replayed")]
    assert "is decided: void, by somebody else" in done[0]["result"]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "0"),
        ("show", TOO_LARGE),
        ("replay", "1", TOO_LARGE),
        ("void", TOO_LARGE, *PEOPLE, "--reason", "x"),
        ("list", "--limit", TOO_LARGE),
    ],
)
async def test_an_id_that_no_event_can_have_is_refused(there: Books, words: tuple[str, ...]) -> None:
    assert "Invalid value" in await parked(*words, code=2)


@pytest.mark.parametrize(
    ("reason", "said"),
    [(" ", "the reason is empty"), ("x" * 501, "longer than 500"), ("a\nb", "control"), ("a\x1b[2J", "control")],
)
async def test_a_decision_says_something(there: Books, reason: str, said: str) -> None:
    number = await park(there, b"nonsense")
    assert said in (await parked("void", str(number), *PEOPLE, "--reason", reason, code=1))["error"]
    assert [state for state, _ in await states(there)] == ["parked"]


@pytest.mark.parametrize(
    "words", [("list",), ("show", "1"), ("replay", "1"), ("void", "1", *PEOPLE, "--reason", "noise")]
)
async def test_a_database_that_is_away_is_one_sentence(
    there: Books, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOKENOUTPUT_BILLING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert (await parked(*words, code=1))["error"].startswith("a store is away: ")
