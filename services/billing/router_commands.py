"""`tokenoutput router`: who may still have something to charge, and the end of waiting for one that will not return."""

import asyncio
from typing import Annotated, Final, NoReturn

import msgspec
import typer

from libs.runtime import postgres
from libs.runtime.clock import now_ms
from libs.runtime.settings import load
from services.billing.evidence import Router
from services.billing.settings import BillingSettings
from services.billing.store import routers as store

MOST_WORDS: Final = 500
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one line of JSON.")]

routers = typer.Typer(no_args_is_help=True, help="Routers by their spools, and what they promised.")


class BadWords(ValueError):
    """A name or a reason that says nothing, or too much."""


async def listed(settings: BillingSettings) -> list[Router]:
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        return await store.known(connection)


async def declare_lost(settings: BillingSettings, spool: str, by: str, reason: str) -> Router | None:
    """None when there is no such spool, or it was lost before. Raises BadWords."""
    for words in (by, reason):
        if not 1 <= len(words.strip()) <= MOST_WORDS or "\0" in words:
            raise BadWords("say who you are and why, in at most 500 characters")
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        return await store.declare_lost(connection, spool, by.strip(), reason.strip())


def line(router: Router, now: int) -> str:
    """For people. Ages are seconds."""
    return (
        f"{router.spool}  {router.state:8} {router.instance}  watermark {_age(router.watermark, now)} behind, "
        f"heard {_age(router.heard_at, now)} ago, {router.unbooked} unbooked"
    )


def _age(at: int, now: int) -> str:
    return f"{max(now - at, 0) / 1000:.1f} s"


@routers.command("list")
def list_routers(*, as_json: AsJson = False) -> None:
    """Show every router, how far its watermark is behind, and how many records it has that are not booked."""
    found, now = asyncio.run(listed(load(BillingSettings))), now_ms()
    if as_json:
        typer.echo(msgspec.json.encode([{**msgspec.to_builtins(each), "now": now} for each in found]).decode())
    else:
        typer.echo("\n".join(line(each, now) for each in found) or "no router ever reported")


@routers.command("lost")
def lose_router(
    spool: Annotated[str, typer.Argument(help="The spool, as `router list` shows it.")],
    by: Annotated[str, typer.Option(help="Who decides this.")],
    reason: Annotated[str, typer.Option(help="Why: how it is known that this spool will never come back.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Stop waiting for a router whose spool is gone for good.

    What its requests held goes back to their orgs. Whatever it tells of them later is paid by the house.
    """
    try:
        router = asyncio.run(declare_lost(load(BillingSettings), spool, by, reason))
    except BadWords as error:
        _refuse(str(error), as_json=as_json)
    if router is None:
        _refuse(f"there is no spool {spool}, or it was lost before", as_json=as_json)
    text = f"spool {spool} of {router.instance} is lost; {router.unbooked} records of it were not booked"
    typer.echo(msgspec.json.encode(router).decode() if as_json else text)


def _refuse(reason: str, *, as_json: bool) -> NoReturn:
    typer.echo(msgspec.json.encode({"error": reason}).decode() if as_json else reason, err=not as_json)
    raise typer.Exit(1)
