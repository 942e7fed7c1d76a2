"""Charges, computed again from their tokens and the price versions that they name."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

import msgspec

from libs import ids, pricing
from libs.pricing import Price
from libs.runtime.postgres import Connection
from services.billing.store import audit_charges
from services.billing.store.audit_charges import ChargeRow

MOST_LISTED: Final = 20


class NotReproduced(ValueError):
    """A charge, or a price version, that does not say what it should. The text says why."""


class Mismatch(msgspec.Struct, frozen=True):
    """A charge that is not reproduced."""

    request: str
    org: int
    what: str


class Repriced(msgspec.Struct, frozen=True):
    """A period: how many charges, what they cost by the books and again by their tokens (nano-USD), and how many
    differ, of which the first are listed. A charge that cannot be computed counts as 0."""

    charges: int
    booked: int
    computed: int
    differing: int
    differences: tuple[Mismatch, ...]


async def reprice(connection: Connection, start: date, end: date, org: int | None = None) -> Repriced:
    """Every charge accepted in ``[start, end)``, days of UTC. Raises NotReproduced for a price that is another's."""
    count = booked = computed = 0
    wrong: list[Mismatch] = []
    differing = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row, cost, what in recomputed(connection, _first_id(start), _first_id(end), org):
            count, booked, computed = count + 1, booked + row.cost, computed + cost
            if what is not None:
                differing += 1
                if len(wrong) < MOST_LISTED:
                    wrong.append(Mismatch(ids.public(row.request_id), row.org, what))
    return Repriced(count, booked, computed, differing, tuple(wrong))


async def recomputed(
    connection: Connection, first: UUID | None = None, end: UUID | None = None, org: int | None = None
) -> AsyncIterator[tuple[ChargeRow, int, str | None]]:
    """Each charge, what its tokens come to, and how that differs from the books. Raises NotReproduced for a price."""
    prices = {price_id: read_price(price_id, text) for price_id, text in await audit_charges.prices(connection)}
    async for row in audit_charges.charges(connection, first, end, org):
        try:
            cost = cost_of(row, prices)
        except NotReproduced as error:
            yield row, 0, str(error)
        else:
            yield row, cost, None if cost == row.cost else f"cost {row.cost}, its tokens come to {cost}"


def read_price(price_id: str, content: str) -> Price:
    """A stored price version. Raises NotReproduced unless its id is the digest of its content."""
    try:
        price = msgspec.json.decode(content, type=Price)
    except msgspec.DecodeError as error:
        raise NotReproduced(f"price {price_id}: {error}") from error
    if pricing.version_of(price) != price_id:
        raise NotReproduced(f"price {price_id}: its content is another price's")
    return price


def cost_of(row: ChargeRow, prices: Mapping[str, Price]) -> int:
    """nano-USD of its tokens; 0 for what nobody served. Raises NotReproduced."""
    if row.price_id is None:
        return 0
    if (price := prices.get(row.price_id)) is None:
        raise NotReproduced(f"there is no price {row.price_id}")
    try:
        return pricing.cost(price, row.usage, row.started_at)
    except ValueError as error:
        raise NotReproduced(str(error)) from error


def _first_id(day: date) -> UUID:
    return ids.first_of(int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000)
