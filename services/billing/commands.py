"""The operator's commands that concern the ledger."""

import re
from collections.abc import AsyncIterator
from typing import Final

from libs.pricing import NANO
from libs.runtime import postgres
from services.billing import verify
from services.billing.settings import BillingSettings
from services.billing.store import accounts

MOST_DOLLARS: Final = 1_000_000
AMOUNT: Final = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,9}))?")


class BadAmount(ValueError):
    """The amount is not one that an org can be credited with."""


def nano_of(text: str) -> int:
    """``"10"`` or ``"0.5"`` dollars as nano-USD. Raises BadAmount."""
    match = AMOUNT.fullmatch(text)
    if match is None:
        raise BadAmount(f"{text[:40]!r} is not an amount in dollars, with at most nine decimals")
    nano = int(match[1]) * NANO + int((match[2] or "").ljust(9, "0"))
    if not 0 < nano <= MOST_DOLLARS * NANO:
        raise BadAmount(f"{text!r} must be above 0 and at most {MOST_DOLLARS}")
    return nano


async def credit_org(settings: BillingSettings, org: int, nano: int, ticket: str) -> bool:
    """Gives an org promotional credit, once per ticket; False when that ticket did so before. Raises BadAmount."""
    url = settings.database_url.get_secret_value()
    async with postgres.connected(url, "billing") as connection, connection.transaction():
        try:
            return await accounts.credit_org(connection, org, nano, f"adj:{ticket}", ticket)
        except accounts.KeyUsed as error:
            raise BadAmount(f"ticket {ticket} was used before, and {error}") from error


async def verify_ledger(settings: BillingSettings) -> AsyncIterator[tuple[verify.Check, verify.Difference | None]]:
    """Every check in turn, up to the first difference. Has no statement timeout: books are read whole."""
    async with postgres.connected(settings.database_url.get_secret_value(), "billing") as connection:
        async for result in verify.verify(connection):
            yield result
