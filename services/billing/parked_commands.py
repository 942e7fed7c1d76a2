"""`tokenoutput usage parked list|show|replay|void`: what could not be charged as it came, and what becomes of it."""

from typing import Annotated, Any, Final

import msgspec
import typer

from libs import ids
from libs.runtime import postgres
from libs.runtime.postgres import Connection
from libs.runtime.settings import load
from services.billing import replay as replaying
from services.billing.answering import MOST_ID, AsJson, BadWords, fail, run_connected, say, words
from services.billing.poster import Poster
from services.billing.replay import NotToBeDecided, Replayed
from services.billing.settings import BillingSettings
from services.billing.store import parked as store
from services.billing.store.parked import ParkedRow
from services.billing.verdict import Judge

Number = Annotated[int, typer.Argument(metavar="ID", help="As `list` shows it.", min=1, max=MOST_ID)]
Numbers = Annotated[list[int], typer.Argument(metavar="ID...", help="As `list` shows them.", min=1, max=MOST_ID)]
CONNECTIONS: Final = 2

usage: Final = typer.Typer(no_args_is_help=True, help="What requests used.")
parked: Final = typer.Typer(no_args_is_help=True, help="Usage events that could not be charged as they came.")
usage.add_typer(parked, name="parked")


@parked.command("list")
def show_all(
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1, max=MOST_ID)] = 100,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the events that wait for a decision."""
    rows = run_connected(lambda connection: _listed(connection, everything=everything, limit=limit), as_json=as_json)
    say({"data": [_shown(row) for row in rows]}, "\n".join(map(_line, rows)) or "nothing is parked", as_json=as_json)


@parked.command("show")
def show(number: Number, *, as_json: AsJson = False) -> None:
    """Show one event, word for word."""
    found = run_connected(lambda connection: store.find(connection, number), as_json=as_json)
    if found is None:
        fail(f"there is no parked event {number}", as_json=as_json)
    row, body = found
    words = body.decode("utf-8", "backslashreplace")
    say({**_shown(row), "body": words}, f"{_line(row)}\n{words}", as_json=as_json)


@parked.command("replay")
def replay(numbers: Numbers, *, as_json: AsJson = False) -> None:
    """Judge and book them again; exits with 1 when one of them stays. Does nothing if one of them does not wait."""
    try:
        results = run_connected(lambda connection: _replayed(connection, numbers), as_json=as_json)
    except NotToBeDecided as error:
        fail(str(error), as_json=as_json)
    lines = [f"{done.id}  {done.state}: {done.result}" for done in results]
    say({"data": results}, "\n".join(lines), as_json=as_json)
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
    try:
        one, other, why = words(by, "who decides"), words(approved_by, "who agrees"), words(reason, "the reason")
    except BadWords as error:
        fail(str(error), as_json=as_json)
    if one.casefold() == other.casefold():
        fail("somebody else has to approve", as_json=as_json)
    decision = f"by {one}, approved by {other}: {why}"
    try:
        run_connected(lambda connection: _void(connection, number, decision), as_json=as_json)
    except NotToBeDecided as error:
        fail(str(error), as_json=as_json)
    say({"id": number, "state": "void", "decision": decision}, f"{number}  void {decision}", as_json=as_json)


async def _listed(connection: Connection, *, everything: bool, limit: int) -> list[ParkedRow]:
    return await store.listed(connection, None if everything else "parked", limit)


async def _replayed(connection: Connection, numbers: list[int]) -> list[Replayed]:
    """Each once. Raises NotToBeDecided before anything is done."""
    wanted = list(dict.fromkeys(numbers))
    for number in wanted:
        await replaying.waiting(connection, number)
    settings = load(BillingSettings)
    async with postgres.pool(settings.database_url.get_secret_value(), "billing", CONNECTIONS) as pool:
        poster, judge = Poster(pool, settings.revenue_shard), settings.judge()
        return [await _again(pool, poster, judge, number) for number in wanted]


async def _again(pool: postgres.Pool, poster: Poster, judge: Judge, number: int) -> Replayed:
    """What became of one of several: those before it are done, so it is told like them."""
    try:
        return await replaying.replay(pool, poster, judge, number)
    except NotToBeDecided as error:
        return Replayed(number, "decided", str(error))


async def _void(connection: Connection, number: int, decision: str) -> None:
    await replaying.waiting(connection, number)
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
