"""`tokenoutput`: what an operator does by hand or by script. Every command takes `--json`; 0 is success, 1 is a no."""

from typing import Annotated

import typer

from libs import pricing
from libs.runtime import logging
from libs.runtime.migrate import migrate as apply_migrations
from libs.runtime.settings import load
from services.billing import commands as billing
from services.billing.answering import MOST_ID, AsJson, BadWords, OrgId, fail, run, say, words
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

KeyId = Annotated[int, typer.Argument(metavar="KEY", help="Its number.", min=1, max=MOST_ID)]

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
    applied = run(apply_migrations(wanted.owner_database_url.get_secret_value(), wanted.owners()), as_json=as_json)
    say({"applied": applied}, "\n".join(applied) or "nothing to do", as_json=as_json)


@app.command()
def settings() -> None:
    """Print the reference page of every setting."""
    typer.echo(page(), nl=False)


@orgs.command("create")
def create_org(name: str, *, as_json: AsJson = False) -> None:
    """Create an org."""
    try:
        called = words(name, "the name")
    except BadWords as error:
        fail(str(error), as_json=as_json)
    org = run(edge.create_org(load(EdgeSettings), called), as_json=as_json)
    say({"org": org, "name": called}, f"org {org} ({called})", as_json=as_json)


@orgs.command("credit")
def credit_org(
    org: OrgId,
    amount: Annotated[str, typer.Argument(help="Dollars, for instance 10 or 0.5.")],
    ticket: Annotated[str, typer.Option(help="Why. The same ticket credits once, however often it is given.")],
    *,
    promo: Annotated[bool, typer.Option("--promo", help="Promotional credit, which is spent before cash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Credit an org, at the house's expense."""
    try:
        nano, why = billing.nano_of(amount), words(ticket, "the ticket")
        _need_org(org, as_json=as_json)
        done = run(billing.credit_org(load(BillingSettings), org, nano, why, promo=promo), as_json=as_json)
    except (billing.BadAmount, BadWords) as error:
        fail(str(error), as_json=as_json)
    text = f"org {org} was credited ${pricing.usd(nano)}" if done else f"ticket {why} was used before"
    say({"org": org, "credited": done, "amount": pricing.usd(nano)}, text, as_json=as_json)


@orgs.command("freeze")
def freeze_org(
    org: OrgId,
    reason: Annotated[str, typer.Option(help="Why, for the next person who looks.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Keep an org from spending. Requests that are running finish."""
    try:
        why = words(reason, "the reason")
        _need_org(org, as_json=as_json)
        back = run(billing.freeze_org(load(BillingSettings), org, why), as_json=as_json)
    except (billing.NotRevoked, BadWords) as error:
        fail(str(error), as_json=as_json)
    text = f"org {org} is frozen; ${pricing.usd(back)} came back from its lease"
    say({"org": org, "frozen": True, "taken_back": pricing.usd(back)}, text, as_json=as_json)


@orgs.command("thaw")
def thaw_org(org: OrgId, *, as_json: AsJson = False) -> None:
    """Let a frozen org spend again."""
    if not run(billing.thaw_org(load(BillingSettings), org), as_json=as_json):
        fail(f"org {org} is not frozen", as_json=as_json)
    say({"org": org, "frozen": False}, f"org {org} may spend again", as_json=as_json)


def _need_org(org: int, *, as_json: bool) -> None:
    if not run(edge.org_exists(load(EdgeSettings), org), as_json=as_json):
        fail(f"there is no org {org}", as_json=as_json)


@keys.command("create")
def create_key(
    org: OrgId,
    name: Annotated[str, typer.Option(help="A label.")] = "key",
    cap: Annotated[str, typer.Option(help="Dollars that the key may spend in its life; none is no limit.")] = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is shown here and never again."""
    try:
        most = billing.nano_of(cap) if cap else None
        label = words(name, "the name")
        key_id, key = run(edge.create_key(load(EdgeSettings), org, label, most), as_json=as_json)
    except (edge.NoSuchOrg, billing.BadAmount, BadWords) as error:
        fail(str(error), as_json=as_json)
    say({"id": key_id, "key": key}, f"{key}\n(key {key_id}; it is not shown again)", as_json=as_json)


@keys.command("revoke")
def revoke_key(key: KeyId, *, as_json: AsJson = False) -> None:
    """Revoke a key; every edge refuses it within two seconds."""
    if not run(edge.revoke_key(load(EdgeSettings), key), as_json=as_json):
        fail(f"key {key} is unknown or was revoked before", as_json=as_json)
    say({"id": key, "revoked": True}, f"key {key} is revoked", as_json=as_json)


if __name__ == "__main__":
    main()
