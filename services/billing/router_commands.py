"""`tokenoutput router`: who may still have something to charge, and the end of waiting for one that will not return."""

from typing import Annotated, Final

import msgspec
import typer

from libs.runtime import postgres
from libs.runtime.clock import now_ms
from libs.runtime.settings import load
from services.billing.answering import AsJson, BadWords, fail, run, say, words
from services.billing.evidence import Router
from services.billing.settings import BillingSettings
from services.billing.store import routers as store
from services.billing.store import statements

SILENT_MS: Final = 60_000  # a router reports each second

routers = typer.Typer(no_args_is_help=True, help="Routers by their spools, and what they promised.")


class StillReports(ValueError):
    """The router was heard a moment ago: it is not lost."""


async def listed(settings: BillingSettings) -> list[Router]:
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        return await store.known(connection)


async def declare_lost(settings: BillingSettings, spool: str, by: str, reason: str) -> Router | None:
    """None when there is no such spool, or it was lost before."""
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        return await store.declare_lost(connection, spool, by, reason)


async def refuse_if_heard(settings: BillingSettings, spool: str) -> None:
    """Raises StillReports."""
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        known, now = await store.known(connection), await statements.now(connection)
    for router in known:
        ago = int(now.timestamp() * 1000) - router.heard_at
        if router.spool == spool and router.state == "serving" and ago < SILENT_MS:
            raise StillReports(
                f"spool {spool} of {router.instance} reported {max(ago, 0) // 1000} s ago: stop it first, "
                "or say --though-it-reports"
            )


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
    found, now = run(listed(load(BillingSettings)), as_json=as_json), now_ms()
    shown = [{**msgspec.structs.asdict(each), "now": now} for each in found]
    say(shown, "\n".join(line(each, now) for each in found) or "no router ever reported", as_json=as_json)


@routers.command("lost")
def lose_router(
    spool: Annotated[str, typer.Argument(help="The spool, as `router list` shows it.")],
    by: Annotated[str, typer.Option(help="Who decides this.")],
    reason: Annotated[str, typer.Option(help="Why: how it is known that this spool will never come back.")],
    *,
    though_it_reports: Annotated[
        bool, typer.Option("--though-it-reports", help="Even if it was heard less than a minute ago.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Stop waiting for a router whose spool is gone for good.

    What its requests held goes back to their orgs. Whatever it tells of them later is paid by the house.
    """
    settings = load(BillingSettings)
    try:
        lost, who, why = words(spool, "the spool"), words(by, "who decides"), words(reason, "the reason")
        if not though_it_reports:
            run(refuse_if_heard(settings, lost), as_json=as_json)
    except (BadWords, StillReports) as error:
        fail(str(error), as_json=as_json)
    router = run(declare_lost(settings, lost, who, why), as_json=as_json)
    if router is None:
        fail(f"there is no spool {lost}, or it was lost before", as_json=as_json)
    text = f"spool {lost} of {router.instance} is lost; {router.unbooked} records of it were not booked"
    say({**msgspec.structs.asdict(router), "by": who, "reason": why}, text, as_json=as_json)
