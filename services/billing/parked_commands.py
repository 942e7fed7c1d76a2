"""`tokenoutput usage parked list|show|replay|void`: what could not be charged as it came, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
import typer

from libs import ids
from libs.runtime import postgres
from libs.runtime.settings import load
from services.billing import replay as replaying
from services.billing.poster import Poster
from services.billing.replay import NotToBeDecided, Replayed
from services.billing.settings import BillingSettings
from services.billing.store import parked as store
from services.billing.store.parked import ParkedRow

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one line of JSON.")]
Number = Annotated[int, typer.Argument(metavar="ID", help="As `list` shows it.")]
CONNECTIONS: Final = 2
MOST_WORDS: Final = 500

usage: Final = typer.Typer(no_args_is_help=True, help="What requests used.")
parked: Final = typer.Typer(no_args_is_help=True, help="Usage events that could not be charged as they came.")
usage.add_typer(parked, name="parked")


@parked.command("list")
def show_all(
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 100,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the events that wait for a decision."""
    rows = _with_pool(lambda pool: _listed(pool, everything=everything, limit=limit))
    _say({"data": [_shown(row) for row in rows]}, "\n".join(map(_line, rows)) or "nothing is parked", as_json=as_json)


@parked.command("show")
def show(number: Number, *, as_json: AsJson = False) -> None:
    """Show one event, word for word."""
    found = _with_pool(lambda pool: _found(pool, number))
    if found is None:
        _fail(f"there is no parked event {number}", as_json=as_json)
    row, body = found
    words = body.decode("utf-8", "backslashreplace")
    _say({**_shown(row), "body": words}, f"{_line(row)}\n{words}", as_json=as_json)


@parked.command("replay")
def replay(
    numbers: Annotated[list[int], typer.Argument(metavar="ID...", help="As `list` shows them.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Judge and book them again; exits with 1 when one of them stays."""
    try:
        results = _with_pool(lambda pool: _replayed(pool, numbers))
    except NotToBeDecided as error:
        _fail(str(error), as_json=as_json)
    lines = [f"{done.id}  {done.state}: {done.result}" for done in results]
    _say({"data": results}, "\n".join(lines), as_json=as_json)
    raise typer.Exit(0 if all(done.state == "replayed" for done in results) else 1)


@parked.command("void")
def void(
    number: Number,
    by: Annotated[str, typer.Option("--by", help="Who decides.")],
    approved_by: Annotated[str, typer.Option("--approved-by", help="Who agrees: somebody else.")],
    reason: Annotated[str, typer.Option(help="Why nothing is charged for it, for the next person who looks.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give an event up: it will not be charged. Takes two people."""
    one, other, why = by.strip(), approved_by.strip(), reason.strip()
    if not all(1 <= len(words) <= MOST_WORDS and "\0" not in words for words in (one, other, why)):
        _fail(f"say who decides, who agrees and why, in at most {MOST_WORDS} characters each", as_json=as_json)
    if one.casefold() == other.casefold():
        _fail("somebody else has to approve", as_json=as_json)
    decision = f"by {one}, approved by {other}: {why}"
    try:
        _with_pool(lambda pool: _void(pool, number, decision))
    except NotToBeDecided as error:
        _fail(str(error), as_json=as_json)
    _say({"id": number, "state": "void", "decision": decision}, f"{number}  void {decision}", as_json=as_json)


async def _listed(pool: postgres.Pool, *, everything: bool, limit: int) -> list[ParkedRow]:
    async with pool.acquire() as connection:
        return await store.listed(connection, None if everything else "parked", limit)


async def _found(pool: postgres.Pool, number: int) -> tuple[ParkedRow, bytes] | None:
    async with pool.acquire() as connection:
        return await store.find(connection, number)


async def _replayed(pool: postgres.Pool, numbers: list[int]) -> list[Replayed]:
    settings = load(BillingSettings)
    poster, judge = Poster(pool, settings.revenue_shard), settings.judge()
    return [await replaying.replay(pool, poster, judge, number) for number in numbers]


async def _void(pool: postgres.Pool, number: int, decision: str) -> None:
    await replaying.waiting(pool, number)
    async with pool.acquire() as connection:
        if not await store.decide(connection, number, "void", decision):
            raise NotToBeDecided(f"parked event {number} was decided meanwhile")


def _shown(row: ParkedRow) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(row),
        "request_id": None if row.request_id is None else ids.public(row.request_id),
    }


def _line(row: ParkedRow) -> str:
    about = "  ".join([ids.public(row.request_id) if row.request_id else "-", f"org {row.org or '-'}"])
    return f"{row.id}  {row.state}  {about}  {row.reason}" + (f"  ({row.decision})" if row.decision else "")


def _with_pool(work: Callable[[postgres.Pool], Awaitable[T]]) -> T:
    async def run() -> T:
        async with _pool() as pool:
            return await work(pool)

    return asyncio.run(run())


@asynccontextmanager
async def _pool() -> AsyncIterator[postgres.Pool]:
    url = load(BillingSettings).database_url.get_secret_value()
    async with postgres.pool(url, "billing", CONNECTIONS) as opened:
        yield opened


def _say(value: object, text: str, *, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(value).decode() if as_json else text)


def _fail(reason: str, *, as_json: bool) -> NoReturn:
    typer.echo(msgspec.json.encode({"error": reason}).decode() if as_json else reason, err=not as_json)
    raise typer.Exit(1)
