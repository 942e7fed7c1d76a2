"""What is on the shelf now, and what an operator laid over it; every price, and when it was in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from libs.contracts.catalog import Credential, Model, Offer, Provider, Snapshot, first_credential
from libs.pricing import Price, version_of
from libs.runtime.postgres import Connection
from services.catalog.credentials import in_order
from services.catalog.models import CALLABLE
from services.catalog.overlay import Pause, State, Stored, overlaid

_PROVIDERS: Final = """
    SELECT to_jsonb(p) || jsonb_build_object(
        'base_urls', jsonb_object_agg(s.protocol, s.base_url), 'auth', jsonb_object_agg(s.protocol, s.auth))
    FROM provider p JOIN provider_protocol s ON s.provider = p.id GROUP BY p.id ORDER BY p.id COLLATE "C"
"""
_MODELS: Final = """
    SELECT to_jsonb(m) || jsonb_build_object('price', v.price, 'protocols', $1::text[])
    FROM model m JOIN price_version v ON v.id = m.price_id ORDER BY m.id COLLATE "C"
"""
_OFFERS: Final = 'SELECT to_jsonb(o) FROM offer o ORDER BY o.model COLLATE "C", o.priority, o.id COLLATE "C"'
_CREDENTIALS: Final = """
    SELECT to_jsonb(c) FROM credential c JOIN provider p ON p.id = c.provider
    WHERE c.origin = 'file' AND NOT EXISTS (SELECT FROM provider q WHERE q.id = c.id AND q.id <> c.provider)
"""
_STORED: Final = "SELECT to_jsonb(c) FROM credential c WHERE c.origin = 'stored' ORDER BY c.id COLLATE \"C\""
_PAUSES: Final = 'SELECT to_jsonb(p) FROM pause p ORDER BY p.kind, p.id COLLATE "C"'
_MARK: Final = """
    SELECT concat_ws('-', (SELECT version || '-' || digest FROM publication ORDER BY version DESC LIMIT 1),
        (SELECT encode(sha256(convert_to(string_agg(line, ',' ORDER BY line COLLATE "C"), 'UTF8')), 'hex') FROM (
            SELECT to_jsonb(c)::text AS line FROM credential c WHERE c.origin = 'stored'
            UNION ALL SELECT to_jsonb(p)::text FROM pause p) AS laid_over))
"""


class WrongPrice(Exception):
    """A stored price is not the one that its id stands for."""


class PricePeriod(msgspec.Struct, frozen=True):
    """A time in which a price was in force, from publication ``version`` on. Without an end it still is."""

    valid_from: datetime
    valid_until: datetime | None
    version: int


class PriceRecord(msgspec.Struct, frozen=True):
    """A price version and when it was in force, oldest first."""

    id: str
    price: Price
    periods: tuple[PricePeriod, ...]


async def mark(connection: Connection) -> str:
    """Differs after everything that changes the snapshot; empty before the first publication."""
    return await connection.fetchval(_MARK) or ""


async def snapshot(connection: Connection) -> Snapshot:
    """All that other services are told, at one moment. Raises WrongPrice."""
    return overlaid(await state(connection))


async def state(connection: Connection) -> State:
    """The shelf and what lies over it, at one moment. Raises WrongPrice."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await state_within(connection)


async def state_within(connection: Connection) -> State:
    """The same in the caller's transaction."""
    return State(
        published=await published(connection),
        stored=tuple(msgspec.json.decode(row[0], type=Stored) for row in await connection.fetch(_STORED)),
        pauses=tuple(msgspec.json.decode(row[0], type=Pause) for row in await connection.fetch(_PAUSES)),
    )


async def price(connection: Connection, price_id: str) -> PriceRecord | None:
    """Raises WrongPrice."""
    found = await connection.fetchval("SELECT price FROM price_version WHERE id = $1", price_id)
    if found is None:
        return None
    periods = await connection.fetch(
        "SELECT valid_from, valid_until, version FROM price_period WHERE price_id = $1 ORDER BY valid_from", price_id
    )
    content = msgspec.json.decode(found, type=Price)
    _check(price_id, content)
    return PriceRecord(price_id, content, tuple(PricePeriod(*row) for row in periods))


async def published(connection: Connection) -> Snapshot:
    """What the last publication put on the shelf. The caller opens the transaction. Raises WrongPrice."""
    version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM publication")
    providers, offers = [await connection.fetch(query) for query in (_PROVIDERS, _OFFERS)]
    models = await connection.fetch(_MODELS, CALLABLE)
    found = Snapshot(
        version=version,
        providers=tuple(msgspec.json.decode(row[0], type=Provider) for row in providers),
        models=tuple(msgspec.json.decode(row[0], type=Model) for row in models),
        offers=tuple(msgspec.json.decode(row[0], type=Offer) for row in offers),
    )
    for model in found.models:
        _check(model.price_id, model.price)
    return msgspec.structs.replace(found, credentials=await _credentials(connection, found.providers))


async def _credentials(connection: Connection, providers: Sequence[Provider]) -> tuple[Credential, ...]:
    """A provider's first credential has the variable of its own row, which every release writes."""
    firsts = {provider.id: first_credential(provider) for provider in providers}
    rows = [msgspec.json.decode(row[0], type=Credential) for row in await connection.fetch(_CREDENTIALS)]
    said = [_with_variable(row, firsts[row.id].variable) if row.id in firsts else row for row in rows]
    return in_order([*firsts.values(), *said])


def _with_variable(credential: Credential, variable: str) -> Credential:
    return msgspec.structs.replace(credential, variable=variable)


def _check(price_id: str, content: Price) -> None:
    if version_of(content) != price_id:
        raise WrongPrice(f"what is stored as {price_id} is another price")
