"""`tokenoutput credential|offer|provider`: the desk for an operator who has the database's URL."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import typer

from libs.runtime import postgres, settings
from libs.runtime.postgres import Connection
from services.catalog import desk, store
from services.catalog.commands import AsJson, give_up, say
from services.catalog.listing import CredentialRow, OfferRow, ProviderRow, Why
from services.catalog.overlay import Kind
from services.catalog.settings import SealingSettings, StoreSettings

T = TypeVar("T")
Id = Annotated[str, typer.Argument(help="Its id.")]
Because = Annotated[str, typer.Option("--reason", help="Why, for the next person who looks.")]

credentials: Final = typer.Typer(no_args_is_help=True, help="Keys of providers' accounts.")
offers: Final = typer.Typer(no_args_is_help=True, help="Through whom a model is served.")
providers: Final = typer.Typer(no_args_is_help=True, help="Who serves.")


@credentials.command("add")
def add(
    provider: str,
    name: Annotated[str, typer.Argument(metavar="ID", help="Names it alone among all providers' credentials.")],
    weight: Annotated[int, typer.Option(help="Its share of the provider's requests.")] = 1,
    max_concurrent: Annotated[int | None, typer.Option(help="Most requests at once per router.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Store a credential, sealed. The secret is read from stdin, so that it is in no history and no process list."""
    ring = settings.load(SealingSettings).ring()
    seal = None if ring is None else ring.seal
    wanted = desk.Wanted(provider, name, _secret(), weight, max_concurrent)
    row = _done(lambda connection: desk.add(connection, seal, wanted), as_json=as_json)
    say(row, f"credential {name} of {provider} is stored; routers have it within seconds", as_json=as_json)


@credentials.command("remove")
def remove(name: Id, *, as_json: AsJson = False) -> None:
    """Remove a stored credential."""
    _done(lambda connection: desk.remove(connection, name), as_json=as_json)
    say({"id": name, "deleted": True}, f"credential {name} is removed", as_json=as_json)


@credentials.command("reseal")
def reseal(*, as_json: AsJson = False) -> None:
    """Seal every stored credential with the first key, so that the others can be taken out of the ring."""
    ring = settings.load(SealingSettings).ring()
    if ring is None:
        give_up({"error": "no keys"}, "TOKENOUTPUT_CREDENTIAL_KEYS is not set", as_json=as_json)
    done = _done(lambda connection: desk.reseal(connection, ring), as_json=as_json)
    lines = [f"resealed {len(done.resealed)}, sealed with {ring.first} before {len(done.kept)}"]
    lines += [f"{name}: no key of the ring opens it" for name in done.failed]
    say(done, "\n".join(lines), as_json=as_json)
    raise typer.Exit(1 if done.failed else 0)


def _add_common(app: typer.Typer, kind: Kind, line: Callable[[Any], Sequence[object]]) -> None:
    """`list`, `pause` and `resume`, which are the same for everything that can be paused."""

    @app.command("list", help=f"List every {kind}, and why one is paused.")
    def show(*, as_json: AsJson = False) -> None:
        rows = _done(lambda connection: desk.look(connection, kind), as_json=as_json)
        say({"data": rows}, _aligned([[*line(row), _why(row.pause)] for row in rows]), as_json=as_json)

    @app.command("pause", help=f"Take a {kind} out of service until it is resumed, whatever is published meanwhile.")
    def pause(name: Id, reason: Because, *, as_json: AsJson = False) -> None:
        row = _done(lambda connection: desk.pause(connection, kind, name, reason), as_json=as_json)
        say(row, f"{kind} {name} is paused", as_json=as_json)

    @app.command("resume", help=f"Put a {kind} back into service.")
    def resume(name: Id, *, as_json: AsJson = False) -> None:
        row = _done(lambda connection: desk.resume(connection, kind, name), as_json=as_json)
        say(row or {"id": name, "paused": False}, f"{kind} {name} is not paused", as_json=as_json)


def _credential_line(row: CredentialRow) -> Sequence[object]:
    where = row.variable or f"sealed with {row.sealed_with or 'an unknown key'}"
    limit = "" if row.max_concurrent is None else f"at most {row.max_concurrent}"
    return row.id, row.provider, where, f"weight {row.weight}", limit, "" if row.on_shelf else "not on the shelf"


def _offer_line(row: OfferRow) -> Sequence[object]:
    return row.id, row.model, row.provider, row.upstream_model, f"priority {row.priority}", f"weight {row.weight}"


def _provider_line(row: ProviderRow) -> Sequence[object]:
    return row.id, row.name, f"{row.offers} offers", ", ".join(row.credentials)


_add_common(credentials, "credential", _credential_line)
_add_common(offers, "offer", _offer_line)
_add_common(providers, "provider", _provider_line)


def _why(pause: Why | None) -> str:
    return "" if pause is None else f"PAUSED since {pause.since:%Y-%m-%d %H:%M}Z: {pause.reason}"


def _aligned(lines: list[list[object]]) -> str:
    texts = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in texts)
    return "\n".join(line.rstrip() for line in padded) or "there is none"


def _secret() -> str:
    """One line from a pipe, or from a person whose typing is not shown."""
    if sys.stdin.isatty():
        return str(typer.prompt("The secret", hide_input=True))
    return sys.stdin.read().rstrip("\r\n")


def _done(work: Callable[[Connection], Awaitable[T]], *, as_json: bool) -> T:
    try:
        return asyncio.run(_with_database(work))
    except (*store.FAILED, store.WrongPrice, desk.NotDone) as error:
        reason = str(error) or type(error).__name__
        give_up({"error": reason}, reason, as_json=as_json)


async def _with_database(work: Callable[[Connection], Awaitable[T]]) -> T:
    url = settings.load(StoreSettings).database_url.get_secret_value()
    async with postgres.connected(url, "catalog") as connection:
        return await work(connection)
