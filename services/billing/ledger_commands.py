"""`tokenoutput ledger …`: checking the books, explaining them, closing their months."""

from contextlib import AsyncExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import typer

from libs import ids, pricing
from libs.contracts.statement import BucketStatement
from libs.runtime import redis
from libs.runtime.postgres import Connection
from libs.runtime.settings import load
from services.billing import explain_text, months, statements
from services.billing import reprice as repricing
from services.billing.answering import MOST_ID, AsJson, OrgId, fail, run_connected, say
from services.billing.explain import explain
from services.billing.reprice import Repriced
from services.billing.resting import Lender
from services.billing.settings import BillingSettings
from services.billing.store import audit_charges, findings
from services.billing.store import statements as stored
from services.billing.store.audit_charges import Noted
from services.billing.verify import CHECKS, Difference, Truth
from services.billing.verify import verify as run_checks

Month = Annotated[str, typer.Argument(help="As in 2026-10; months are UTC.")]
First = Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC.")]
End = Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last.")]

State = Literal["closed", "closed before", "older than the books"]

REDIS_SECONDS: Final = 5.0
EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the options are read

ledger: Final = typer.Typer(no_args_is_help=True, help="The books.")


class NoSuchAccount(LookupError):
    """The books do not know the org."""


class Wanted(NamedTuple):
    """Which checks, of what, beside whose word."""

    only: tuple[str, ...]
    at_rest: bool
    truth: Truth


class Verified(NamedTuple):
    """Names of the checks that passed, the difference that ended them, and what waits to be looked at."""

    passed: list[str]
    difference: Difference | None
    noted: Noted


@ledger.command()
def verify(
    check: Annotated[list[str] | None, typer.Option(help="Only this check, as in C5; may be repeated.")] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="What others saw, as JSON; docs/ledger.md says what it may hold.", exists=True, dir_okay=False
        ),
    ] = None,
    *,
    at_rest: Annotated[
        bool, typer.Option("--at-rest", help="Nothing runs: compare Redis too, and let nothing be undecided.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute the books; exits with 1 at the first difference."""
    wanted = Wanted(_checks(check or [], at_rest=at_rest, as_json=as_json), at_rest, _truth(truth, as_json=as_json))
    done = run_connected(lambda connection: _verify(connection, wanted, quiet=as_json), as_json=as_json)
    difference = done.difference
    answer = {
        "ok": difference is None,
        "passed": done.passed,
        "difference": difference and difference._asdict(),
        "noted": done.noted._asdict(),
    }
    verdict = f"DIFFERENCE {difference.check}: {difference.what}" if difference else "the books are right"
    say(answer, f"{_noted(done.noted)}\n{verdict}", as_json=as_json)
    raise typer.Exit(0 if difference is None else 1)


@ledger.command("explain")
def explain_request(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="As in req_….")], *, as_json: AsJson = False
) -> None:
    """Say what a request cost, why, and who paid; or, with exit code 1, where it may be if it is not in the books."""
    parsed = ids.parse_public(request_id)
    if parsed is None:
        fail(f"{request_id[:80]!r} is not a request id", as_json=as_json)
    told = explain(run_connected(lambda connection: findings.find(connection, parsed), as_json=as_json))
    say(told, explain_text.text(told), as_json=as_json)
    raise typer.Exit(1 if told.charge is None else 0)


@ledger.command()
def reprice(
    start: First,
    end: End,
    org: Annotated[int | None, typer.Option(help="Only this org.", min=1, max=MOST_ID)] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compute every charge of a period again from its tokens and its price; exits with 1 if one comes out otherwise."""
    if end <= start:
        fail("the period ends before it begins", as_json=as_json)
    if start < EPOCH:
        fail("request ids count time from 1970-01-01 on: nothing can have been charged before", as_json=as_json)
    try:
        done = run_connected(lambda connection: _reprice(connection, start, end, org), as_json=as_json)
    except (repricing.NotReproduced, NoSuchAccount) as error:
        fail(str(error), as_json=as_json)
    say(done, _repriced(done), as_json=as_json)
    raise typer.Exit(1 if done.differing else 0)


@ledger.command("close-month")
def close_month(month: Month, *, as_json: AsJson = False) -> None:
    """Close a month: one statement per account. Billing does it by itself a day after the month's end."""
    wanted = _month(month, as_json=as_json)
    try:
        made, state = run_connected(lambda connection: _close(connection, wanted), as_json=as_json)
    except months.NotYet as error:
        fail(str(error), as_json=as_json)
    if state == "older than the books":
        fail(f"{month} is older than the books: there is nothing to close", as_json=as_json)
    text = f"{month} is closed: {made} statements" if state == "closed" else f"{month} was closed before"
    say({"month": month, "statements": made, "state": state}, text, as_json=as_json)


@ledger.command()
def statement(org: OrgId, month: Month, *, as_json: AsJson = False) -> None:
    """Show an org's month: what it opened with, what moved, what it closed with."""
    wanted = _month(month, as_json=as_json)
    try:
        shown = run_connected(lambda connection: _shown(connection, org, wanted), as_json=as_json)
    except (months.NotYet, NoSuchAccount) as error:
        fail(str(error), as_json=as_json)
    text = "\n\n".join(statements.text(org, each) for each in shown)
    say({"org": org, "month": month, "buckets": shown}, text, as_json=as_json)


async def _reprice(connection: Connection, start: datetime, end: datetime, org: int | None) -> Repriced:
    """Raises NotReproduced or NoSuchAccount."""
    if org is not None and not await stored.accounts_of(connection, org):
        raise NoSuchAccount(f"org {org} has no account")
    return await repricing.reprice(connection, start.date(), end.date(), org)


async def _close(connection: Connection, month: date) -> tuple[int, State]:
    """How many statements were made, and how the month stands now. Raises NotYet."""
    made = await months.close_month(connection, month, await stored.now(connection))
    if made:
        return made, "closed"
    return 0, "closed before" if await months.was_closed(connection, month) else "older than the books"


async def _shown(connection: Connection, org: int, month: date) -> list[BucketStatement]:
    """Raises NotYet for a month that has not begun, or NoSuchAccount."""
    if statements.start_of(month) > await stored.now(connection):
        raise months.NotYet(f"{statements.name_of(month)} has not begun")
    shown = await months.shown(connection, org, month)
    if not shown:
        raise NoSuchAccount(f"org {org} has no account")
    return shown


async def _verify(connection: Connection, wanted: Wanted, *, quiet: bool) -> Verified:
    passed: list[str] = []
    settings = load(BillingSettings)
    async with AsyncExitStack() as stack:
        lender = None
        if wanted.at_rest:
            url = settings.redis_url.get_secret_value()
            client = await stack.enter_async_context(redis.client(url, seconds=REDIS_SECONDS))
            lender = Lender(client, settings.redis_shard)
        noted = await audit_charges.noted(connection)
        checking = run_checks(connection, wanted.truth, at_rest=wanted.at_rest, lender=lender, only=wanted.only)
        async for check, difference in checking:
            if difference is not None:
                return Verified(passed, difference, noted)
            passed.append(check.name)
            if not quiet:
                typer.echo(f"{check.name:<4} {check.claim}")
    return Verified(passed, None, noted)


def _checks(names: list[str], *, at_rest: bool, as_json: bool) -> tuple[str, ...]:
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            fail(f"there is no check {name[:40]!r}; there are {', '.join(known)}", as_json=as_json)
        if known[name].resting and not at_rest:
            fail(f"{name} is for books at rest; add --at-rest", as_json=as_json)
    return tuple(names)


def _truth(file: Path | None, *, as_json: bool) -> Truth:
    if file is None:
        return Truth()
    try:
        return msgspec.json.decode(file.read_bytes(), type=Truth)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}", as_json=as_json)


def _noted(noted: Noted) -> str:
    anomalies = ", ".join(f"{count} × {kind}" for kind, count in noted.anomalies.items()) or "none"
    return f"parked and undecided: {noted.parked}; anomalies: {anomalies}"


def _repriced(done: Repriced) -> str:
    lines = [f"{each.request} of org {each.org}: {each.what}" for each in done.differences]
    if done.differing > len(done.differences):
        lines.append(f"and {done.differing - len(done.differences)} more")
    sums = f"${pricing.usd(done.booked)} by the books, ${pricing.usd(done.computed)} by their tokens"
    verdict = f"{done.differing} DIFFER" if done.differing else "every one is reproduced"
    return "\n".join([*lines, f"{done.charges} charges, {sums}: {verdict}"])


def _month(text: str, *, as_json: bool) -> date:
    try:
        return statements.month_of(text)
    except statements.BadMonth as error:
        fail(str(error), as_json=as_json)
