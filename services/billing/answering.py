"""How a command answers: one line of JSON, or words; and a store that is away is a sentence, not a traceback."""

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
import typer

from libs.runtime import postgres, redis
from libs.runtime.postgres import Connection
from libs.runtime.settings import load
from services.billing.settings import BillingSettings

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one line of JSON.")]

MOST_ID: Final = 2**63 - 1  # what the databases count with
MOST_WORDS: Final = 500
UNSPEAKABLE: Final = frozenset({"Cc", "Cs"})  # control characters, and bytes of a terminal that are not UTF-8

OrgId = Annotated[int, typer.Argument(metavar="ORG", min=1, max=MOST_ID)]


class BadWords(ValueError):
    """A name, a ticket or a reason that says nothing, or too much, or what cannot be shown."""


def words(said: str, what: str) -> str:
    """``said`` without the space around it; ``what`` names it in a sentence. Raises BadWords."""
    bare = said.strip()
    if not bare:
        raise BadWords(f"{what} is empty")
    if len(bare) > MOST_WORDS:
        raise BadWords(f"{what} is longer than {MOST_WORDS} characters")
    if any(unicodedata.category(letter) in UNSPEAKABLE for letter in bare):
        raise BadWords(f"{what} has control characters in it")
    return bare


def run(work: Coroutine[Any, Any, T], *, as_json: bool) -> T:
    """Fails in one sentence when PostgreSQL or Redis is away."""
    try:
        return asyncio.run(work)
    except (*postgres.TRANSIENT, *redis.Failed) as error:
        fail(f"a store is away: {' '.join(str(error).split()) or type(error).__name__}", as_json=as_json)


def run_connected(work: Callable[[Connection], Awaitable[T]], *, as_json: bool) -> T:
    """On a connection of billing without a statement timeout: books are read whole."""
    url = load(BillingSettings).database_url.get_secret_value()

    async def connected() -> T:
        async with postgres.connected(url, "billing") as connection:
            return await work(connection)

    return run(connected(), as_json=as_json)


def say(answer: object, text: str, *, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(answer).decode() if as_json else text)


def fail(reason: str, *, as_json: bool) -> NoReturn:
    """JSON goes where a program looks for it; sentences for people go to stderr."""
    typer.echo(msgspec.json.encode({"error": reason}).decode() if as_json else reason, err=not as_json)
    raise typer.Exit(1)
