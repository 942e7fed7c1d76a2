"""`ledger verify`: recomputes the books from their rows and stops at the first difference.

Each check is a claim about money that no crash may break; `C…` and `I…` are the names that the fault tests use.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import msgspec

from libs import ids, pricing
from libs.pricing import Price, Usage
from libs.runtime.postgres import Connection
from services.billing.store import audit


class Difference(NamedTuple):
    """The first thing that is not as it should be."""

    check: str
    what: str


class Check(NamedTuple):
    name: str
    claim: str
    run: Callable[[Connection], Awaitable[str | None]]


async def verify(connection: Connection) -> AsyncIterator[tuple[Check, Difference | None]]:
    """Runs every check in one snapshot of the books; ends after the first that finds a difference."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for check in CHECKS:
            found = await check.run(connection)
            yield check, Difference(check.name, found) if found else None
            if found:
                return


async def _balances(connection: Connection) -> str | None:
    row = await audit.first_wrong_balance(connection)
    if row is None:
        return None
    return (
        f"account {row['account_id']} ({row['kind']}): balance says debits {row['debits']} credits {row['credits']}, "
        f"its transfers come to {row['true_debits']} and {row['true_credits']}"
    )


async def _charges(connection: Connection) -> str | None:
    prices = {
        price_id: msgspec.json.decode(content, type=Price) for price_id, content in await audit.prices(connection)
    }
    for price_id, price in prices.items():
        if pricing.version_of(price) != price_id:
            return f"price {price_id}: its content is another price's"
    async for row in audit.all_charges(connection):
        if difference := _charge(row, prices[row.price_id]):
            return f"charge {ids.public(row.request_id)}: {difference}"
    return None


def _charge(row: audit.ChargeRow, price: Price) -> str | None:
    usage = Usage(row.input, row.cache_read, row.cache_write, row.cache_write_1h, row.output, row.reasoning)
    cost = pricing.cost(price, usage, row.started_at)
    if cost != row.cost:
        return f"cost {row.cost}, its tokens come to {cost}"
    if row.cash + row.plan + row.absorbed != row.cost:
        return f"cost {row.cost}, split into {row.cash} + {row.plan} + {row.absorbed}"
    if row.cash + row.plan > row.held:
        return f"{row.cash + row.plan} taken, {row.held} held"
    return None


async def _batches(connection: Connection) -> str | None:
    row = await audit.first_wrong_batch(connection)
    if row is None:
        return None
    return (
        f"{row['idem_key']}: its charges come to {row['charged']} of account {row['charged_to']}, "
        f"its transfer to {row['transferred']} from {row['taken_from']} to {row['payee']}"
    )


async def _overdrawn(connection: Connection) -> str | None:
    row = await audit.first_overdrawn(connection)
    if row is None:
        return None
    return f"org {row['org_id']}: {row['posted']} posted, {row['leased']} leased"


async def _leases(connection: Connection) -> str | None:
    row = await audit.first_wrong_lease(connection)
    if row is None:
        return None
    return f"org {row['org_id']} epoch {row['epoch']}: {row['consumed']} consumed, its charges come to {row['charged']}"


async def _leased(connection: Connection) -> str | None:
    row = await audit.first_wrong_leased(connection)
    if row is None:
        return None
    return f"org {row['org_id']}: {row['leased']} leased, its leases come to {row['outstanding']}"


CHECKS = (
    Check("C1", "every balance is the sum of its transfers", _balances),
    Check("C7", "every charge is what its tokens cost at its price, and within its hold", _charges),
    Check("C5", "every batch's charges are its transfers", _batches),
    Check("C6", "no org has less than what is leased of its credit", _overdrawn),
    Check("I3", "every lease's consumption is its charges", _leases),
    Check("I1", "leased credit is what the leases have not consumed", _leased),
)
