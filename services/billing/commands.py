"""The operator's commands that concern the ledger."""

import re
from collections.abc import AsyncIterator
from typing import Final

from libs.pricing import NANO
from libs.runtime import postgres, redis
from services.billing import verify
from services.billing.leases import Leases
from services.billing.settings import BillingSettings
from services.billing.store import accounts
from services.billing.store.leases import NoSuchLease

MOST_DOLLARS: Final = 1_000_000
MOST_DIGITS: Final = 30  # more are a mistake, whatever they say
AMOUNT: Final = re.compile(rf"([0-9]{{1,{MOST_DIGITS}}})(?:\.([0-9]{{1,9}}))?")


class NotRevoked(RuntimeError):
    """The org may still spend what it has leased."""


class BadAmount(ValueError):
    """The amount is not one that an org can be credited with."""


def nano_of(text: str) -> int:
    """``"10"`` or ``"0.5"`` dollars as nano-USD. Raises BadAmount."""
    match = AMOUNT.fullmatch(text)
    if match is None:
        raise BadAmount(f"{text[:40]!r} is not an amount in dollars, with at most nine decimals")
    nano = int(match[1]) * NANO + int((match[2] or "").ljust(9, "0"))
    if nano > MOST_DOLLARS * NANO:
        raise BadAmount(f"${text} is too large: at most ${MOST_DOLLARS} can be given at once")
    if nano == 0:
        raise BadAmount(f"{text!r} is nothing: an amount is above 0")
    return nano


async def credit_org(settings: BillingSettings, org: int, nano: int, ticket: str, *, promo: bool = False) -> bool:
    """Credits an org, once per ticket; False when that ticket did so before. ``promo``: with credit that is spent
    before cash. Raises BadAmount."""
    url = settings.database_url.get_secret_value()
    kind: accounts.Kind = accounts.PLAN if promo else accounts.CASH
    async with postgres.connected(url, "billing") as connection, connection.transaction():
        try:
            return await accounts.credit_org(connection, org, nano, f"adj:{ticket}", ticket, kind)
        except accounts.KeyUsed as error:
            raise BadAmount(f"ticket {ticket} was used before, and {error}") from error


async def freeze_org(settings: BillingSettings, org: int, reason: str) -> int:
    """Keeps an org from spending: nothing more is leased to it, and what its lease has left is taken back, which is the
    nano-USD returned. Requests that run keep their holds. Raises NotRevoked: the org is frozen, and this has to be
    repeated."""
    url = settings.database_url.get_secret_value()
    async with postgres.connected(url, "billing") as connection, connection.transaction():
        await accounts.ensure_account(connection, org, accounts.CASH)
        await accounts.freeze(connection, org, reason)
    async with (
        postgres.pool(url, "billing", 2) as pool,
        redis.client(settings.redis_url.get_secret_value(), seconds=settings.redis_seconds, retries=0) as client,
    ):
        try:
            return (await Leases(pool, client, settings.redis_shard).revoke(org)).total
        except (*redis.Failed, NoSuchLease) as error:
            raise NotRevoked(f"org {org} is frozen, but Redis did not answer: repeat this to end its lease") from error


async def thaw_org(settings: BillingSettings, org: int) -> bool:
    """Lets an org spend again; False for one that was not frozen."""
    url = settings.database_url.get_secret_value()
    async with postgres.connected(url, "billing") as connection, connection.transaction():
        frozen = (await accounts.posted(connection, org, lock=True)).frozen
        await accounts.freeze(connection, org, None)
        return frozen


async def verify_ledger(settings: BillingSettings) -> AsyncIterator[tuple[verify.Check, verify.Difference | None]]:
    """Every check in turn, up to the first difference. Has no statement timeout: books are read whole."""
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        async for result in verify.verify(connection):
            yield result
