"""Closing months: one after the other, each once, none before it is over."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Final

import structlog

from libs.contracts.statement import BucketStatement
from libs.runtime import postgres
from libs.runtime.postgres import Connection
from services.billing import statements
from services.billing.statements import Statement, Tally
from services.billing.store import statements as store

log = structlog.get_logger()

LOOK_SECONDS: Final = 6 * 3600
AT_ONCE: Final = 1000


class NotYet(ValueError):
    """The month cannot be closed now."""


async def close_month(connection: Connection, month: date, now: datetime) -> int:
    """How many statements were made; 0 when the month was closed before, or nothing had moved yet. ``now``: by the
    clock that transfers are dated by, the database's. Raises NotYet."""
    if not statements.is_over(month, now):
        raise NotYet(f"{statements.name_of(month)} is not over by more than a day")
    async with connection.transaction():
        await store.lock(connection)
        due = await _due(connection)
        if due is None or month < due:
            return 0
        if month > due:
            raise NotYet(f"{statements.name_of(due)} has to be closed first")
        return await _close(connection, month)


async def was_closed(connection: Connection, month: date) -> bool:
    """False for a month that is older than the books, too."""
    first, last = await store.first_month(connection), await store.closed_through(connection)
    return first is not None and last is not None and first <= month <= last


async def close_due(connection: Connection, now: datetime) -> list[date]:
    """Closes every month that is over, and says which."""
    done: list[date] = []
    while (due := await _due(connection)) is not None and statements.is_over(due, now):
        if await close_month(connection, due, now):
            done.append(due)
    return done


async def keep_closing(url: str) -> None:
    """For as long as billing runs. Has a connection of its own, because a month may take longer than a request may."""
    while True:
        try:
            async with postgres.connected(url, "billing") as connection:
                for month in await close_due(connection, await store.now(connection)):
                    log.info("month_closed", month=statements.name_of(month))
        except postgres.TRANSIENT as error:
            log.warning("closing_waits", error=repr(error))
        except Exception:  # requests are charged all the same, whatever is wrong with a month
            log.exception("closing_failed")
        await asyncio.sleep(LOOK_SECONDS)


async def shown(connection: Connection, org: int, month: date) -> list[BucketStatement]:
    """An org's month, closed or not; nothing for an org without accounts."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return [
            await _bucket(connection, bucket, account, month)
            for bucket, account in await store.accounts_of(connection, org)
        ]


async def _bucket(connection: Connection, bucket: str, account: int, month: date) -> BucketStatement:
    opening = await store.opening(connection, account, month)
    moved = await store.movements(connection, account, month)
    digest = await store.digest(connection, account, month)
    return BucketStatement(
        bucket=bucket,
        month=statements.name_of(month),
        opening=opening,
        movements=moved,
        closing=opening + sum(each.amount for each in moved),
        digest=None if digest is None else digest.hex(),
    )


async def _due(connection: Connection) -> date | None:
    """The month that is to be closed next; None while nothing has ever moved."""
    last = await store.closed_through(connection)
    return await store.first_month(connection) if last is None else statements.after(last)


async def _close(connection: Connection, month: date) -> int:
    count, waiting = 0, list[Statement]()
    async for made in _statements(connection, month):
        waiting.append(made)
        count += 1
        if len(waiting) == AT_ONCE:
            await store.keep(connection, waiting)
            waiting.clear()
    await store.keep(connection, waiting)
    return count


async def _statements(connection: Connection, month: date) -> AsyncIterator[Statement]:
    """One account after the other, from one walk through the month's transfers."""
    tally: Tally | None = None
    async for row in store.to_close(connection, month, statements.before(month)):
        if tally is None or tally.account != row["account_id"]:
            if tally is not None:
                yield tally.statement()
            chain = statements.GENESIS if row["chain"] is None else row["chain"]
            tally = Tally(row["account_id"], month, int(row["opening"] or 0), chain)
        if (line := store.line_of(row)) is not None:
            tally.add(line)
    if tally is not None:
        yield tally.statement()


async def first_difference(connection: Connection) -> str | None:
    """The first closed month that is not what its transfers and the month before make it, in words."""
    last = await store.closed_through(connection)
    reached: Statement | None = None
    async for stored, counted in _closed(connection):
        if (missing := _missing(reached, counted, last)) and reached:
            return await _said(connection, reached.account, missing, "there is no statement")
        if stored is None:
            return await _said(connection, counted.account, counted.month, "there are transfers and no statement")
        if what := statements.difference(stored, counted):
            return await _said(connection, counted.account, counted.month, what)
        reached = stored
    if (missing := _missing(reached, None, last)) and reached:
        return await _said(connection, reached.account, missing, "there is no statement")
    return None


async def _said(connection: Connection, account: int, month: date, what: str) -> str:
    return f"{await store.name_of(connection, account)}, {statements.name_of(month)}: {what}"


def _missing(reached: Statement | None, coming: Statement | None, last: date | None) -> date | None:
    """The month that the account of ``reached`` has no statement of, if ``coming`` is what follows it in order of
    account and month. An account that has a statement has one of every month up to the ``last``."""
    if reached is None or reached.month == last:
        return None
    follows = statements.after(reached.month)
    same = coming is not None and coming.account == reached.account
    return None if same and coming is not None and coming.month == follows else follows


async def _closed(connection: Connection) -> AsyncIterator[tuple[Statement | None, Statement]]:
    """Each closed month of each account: as it is stored, and as its transfers and the stored month before make it."""
    stored: Statement | None = None
    tally: Tally | None = None
    async for row in store.closed(connection):
        account, month = row["account_id"], row["month"]
        if tally is None or (tally.account, tally.month) != (account, month):
            if tally is not None:
                yield stored, tally.statement()
            before = stored if stored is not None and stored.account == account else None
            opening, chain = (before.closing, before.digest) if before else (0, statements.GENESIS)
            stored = store.statement_of(row) if row["stored"] else None
            tally = Tally(account, month, opening, chain)
        if (line := store.line_of(row)) is not None:
            tally.add(line)
    if tally is not None:
        yield stored, tally.statement()
