"""`tokenoutput`: what an operator does by hand or by script. Every command takes `--json`; 0 is success, 1 is a no."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from libs import pricing
from libs.runtime import logging
from libs.runtime.migrate import migrate as apply_migrations
from libs.runtime.settings import load
from services.billing import commands as billing
from services.billing.ledger_commands import ledger
from services.billing.parked_commands import usage
from services.billing.router_commands import routers
from services.billing.settings import BillingSettings
from services.catalog import desk_commands
from services.catalog.commands import app as catalog
from services.configuration import page
from services.edge import commands as edge
from services.edge.settings import EdgeSettings
from services.migrations import MigrateSettings

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one line of JSON.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
orgs = typer.Typer(no_args_is_help=True, help="Who pays.")
keys = typer.Typer(no_args_is_help=True, help="How orgs call.")
app.add_typer(catalog, name="catalog")
app.add_typer(orgs, name="org")
app.add_typer(keys, name="key")
app.add_typer(ledger, name="ledger")
app.add_typer(desk_commands.providers, name="provider")
app.add_typer(desk_commands.offers, name="offer")
app.add_typer(desk_commands.credentials, name="credential")
app.add_typer(routers, name="router")
app.add_typer(usage, name="usage")


def main() -> None:
    logging.configure("console", "error")
    app()


@app.command()
def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database up to date, as its owner."""
    wanted = load(MigrateSettings)
    applied = _run(apply_migrations(wanted.owner_database_url.get_secret_value(), wanted.owners()))
    _say({"applied": applied}, "\n".join(applied) or "nothing to do", as_json=as_json)


@app.command()
def settings() -> None:
    """Print the reference page of every setting."""
    typer.echo(page(), nl=False)


@orgs.command("create")
def create_org(name: str, *, as_json: AsJson = False) -> None:
    """Create an org."""
    org = _run(edge.create_org(load(EdgeSettings), name))
    _say({"org": org, "name": name}, f"org {org} ({name})", as_json=as_json)


@orgs.command("credit")
def credit_org(
    org: int,
    amount: Annotated[str, typer.Argument(help="Dollars, for instance 10 or 0.5.")],
    ticket: Annotated[str, typer.Option(help="Why. The same ticket credits once, however often it is given.")],
    *,
    promo: Annotated[bool, typer.Option("--promo", help="Promotional credit, which is spent before cash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Credit an org, at the house's expense."""
    try:
        nano = billing.nano_of(amount)
    except billing.BadAmount as error:
        _fail(str(error), as_json=as_json)
    _need_org(org, as_json=as_json)
    try:
        done = _run(billing.credit_org(load(BillingSettings), org, nano, ticket, promo=promo))
    except billing.BadAmount as error:
        _fail(str(error), as_json=as_json)
    text = f"org {org} was credited ${pricing.usd(nano)}" if done else f"ticket {ticket} was used before"
    _say({"org": org, "credited": done, "amount": pricing.usd(nano)}, text, as_json=as_json)


@orgs.command("freeze")
def freeze_org(
    org: int,
    reason: Annotated[str, typer.Option(help="Why, for the next person who looks.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Keep an org from spending. Requests that are running finish."""
    _need_org(org, as_json=as_json)
    try:
        back = _run(billing.freeze_org(load(BillingSettings), org, reason))
    except billing.NotRevoked as error:
        _fail(str(error), as_json=as_json)
    text = f"org {org} is frozen; ${pricing.usd(back)} came back from its lease"
    _say({"org": org, "frozen": True, "taken_back": pricing.usd(back)}, text, as_json=as_json)


@orgs.command("thaw")
def thaw_org(org: int, *, as_json: AsJson = False) -> None:
    """Let a frozen org spend again."""
    if not _run(billing.thaw_org(load(BillingSettings), org)):
        _fail(f"org {org} is not frozen", as_json=as_json)
    _say({"org": org, "frozen": False}, f"org {org} may spend again", as_json=as_json)


def _need_org(org: int, *, as_json: bool) -> None:
    if not _run(edge.org_exists(load(EdgeSettings), org)):
        _fail(f"there is no org {org}", as_json=as_json)


@keys.command("create")
def create_key(
    org: int,
    name: Annotated[str, typer.Option(help="A label.")] = "key",
    cap: Annotated[str, typer.Option(help="Dollars that the key may spend in its life; none is no limit.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is shown here and never again."""
    try:
        most = billing.nano_of(cap) if cap else None
        key_id, key = _run(edge.create_key(load(EdgeSettings), org, name, most))
    except (edge.NoSuchOrg, billing.BadAmount) as error:
        _fail(str(error), as_json=as_json)
    _say({"id": key_id, "key": key}, f"{key}\n(key {key_id}; it is not shown again)", as_json=as_json)


@keys.command("revoke")
def revoke_key(key: int, *, as_json: AsJson = False) -> None:
    """Revoke a key; every edge refuses it within two seconds."""
    if not _run(edge.revoke_key(load(EdgeSettings), key)):
        _fail(f"key {key} is unknown or was revoked before", as_json=as_json)
    _say({"id": key, "revoked": True}, f"key {key} is revoked", as_json=as_json)


def _run(work: Awaitable[T]) -> T:
    async def run() -> T:
        return await work

    return asyncio.run(run())


def _say(value: object, text: str, *, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(value).decode() if as_json else text)


def _fail(reason: str, *, as_json: bool) -> NoReturn:
    typer.echo(msgspec.json.encode({"error": reason}).decode() if as_json else reason, err=not as_json)
    raise typer.Exit(1)


if __name__ == "__main__":
    main()
