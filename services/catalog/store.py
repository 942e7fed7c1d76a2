"""The catalog's tables: what is on the shelf, every price there ever was, and when which price was in force."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from libs.contracts.catalog import Model, Offer, Provider, Snapshot
from libs.pricing import Price, version_of
from libs.runtime import postgres
from libs.runtime.postgres import Connection
from services.catalog.models import CALLABLE
from services.catalog.rules import digest_of

FAILED: Final = (*postgres.TRANSIENT, asyncpg.PostgresError)
CHANNEL: Final = "catalog_published"
LOCK: Final = 0x7368656C66  # "shelf"

_PROVIDERS: Final = """
    SELECT to_jsonb(p) || jsonb_build_object(
        'base_urls', jsonb_object_agg(s.protocol, s.base_url), 'auth', jsonb_object_agg(s.protocol, s.auth))
    FROM provider p JOIN provider_protocol s ON s.provider = p.id GROUP BY p.id ORDER BY p.id COLLATE "C"
"""
_MODELS: Final = """
    SELECT to_jsonb(m) || jsonb_build_object('price', v.price, 'protocols', $1::text[])
    FROM model m JOIN price_version v ON v.id = m.price_id ORDER BY m.id COLLATE "C"
"""
_OFFERS: Final = 'SELECT to_jsonb(o) FROM offer o ORDER BY o.model COLLATE "C", o.priority'


class WrongPrice(Exception):
    """A stored price is not the one that its id stands for."""


class Publication(msgspec.Struct, frozen=True):
    """The shelf before and after. The same version twice means that there was nothing to change."""

    before: Snapshot
    after: Snapshot

    @property
    def changed(self) -> bool:
        return self.before.version != self.after.version


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
    """Differs after every publication; empty before the first."""
    latest = "SELECT version || '-' || digest FROM publication ORDER BY version DESC LIMIT 1"
    return await connection.fetchval(latest) or ""


async def snapshot(connection: Connection) -> Snapshot:
    """The whole shelf at one moment. Raises WrongPrice."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _read(connection)


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


async def publish(connection: Connection, draft: Snapshot, by: str) -> Publication:
    """Puts ``draft`` on the shelf as the next version, all of it or nothing, unless just that is there already."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        before = await _read(connection)
        if digest_of(draft) == digest_of(before):
            return Publication(before, before)
        after = msgspec.structs.replace(draft, version=before.version + 1)
        moment = await _record(connection, after, by)
        await _replace(connection, after)
        await _reprice(connection, after, moment)
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, str(after.version))
    return Publication(before, after)


async def _read(connection: Connection) -> Snapshot:
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
    return found


def _check(price_id: str, content: Price) -> None:
    if version_of(content) != price_id:
        raise WrongPrice(f"what is stored as {price_id} is another price")


async def _record(connection: Connection, after: Snapshot, by: str) -> datetime:
    """Notes the publication and returns its moment, which is later than every other's whatever the clock did."""
    moment: datetime = await connection.fetchval(
        """
        INSERT INTO publication (version, digest, published_at, published_by)
        SELECT $1, $2, greatest(clock_timestamp(), max(published_at) + interval '1 microsecond'), $3 FROM publication
        RETURNING published_at
        """,
        after.version,
        digest_of(after),
        by,
    )
    return moment


async def _replace(connection: Connection, after: Snapshot) -> None:
    for table in ("offer", "model", "provider_protocol", "provider"):
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand right here
    await connection.executemany(
        "INSERT INTO price_version (id, model, price) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        [(model.price_id, model.id, msgspec.json.encode(model.price).decode()) for model in after.models],
    )
    await connection.executemany(
        "INSERT INTO provider (id, name, credential) VALUES ($1, $2, $3)",
        [(provider.id, provider.name, provider.credential) for provider in after.providers],
    )
    await connection.executemany(
        "INSERT INTO provider_protocol (provider, protocol, base_url, auth) VALUES ($1, $2, $3, $4)",
        [(p.id, protocol, url, p.auth[protocol]) for p in after.providers for protocol, url in p.base_urls.items()],
    )
    await _insert_models(connection, after)


async def _insert_models(connection: Connection, after: Snapshot) -> None:
    columns = [name for name in Model.__struct_fields__ if name not in ("price", "protocols")]
    await connection.executemany(
        _insert_into("model", columns), [[getattr(model, name) for name in columns] for model in after.models]
    )
    await connection.executemany(
        _insert_into("offer", Offer.__struct_fields__), [_offer_row(offer) for offer in after.offers]
    )


def _offer_row(offer: Offer) -> list[Any]:
    fields = msgspec.structs.asdict(offer)
    return list({**fields, "profile": msgspec.json.encode(offer.profile).decode()}.values())


def _insert_into(table: str, columns: Sequence[str]) -> str:
    """Columns are named like the contract's fields, so that a field without one fails here instead of being lost."""
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608 - names of our own


async def _reprice(connection: Connection, after: Snapshot, moment: datetime) -> None:
    """Ends the periods of prices that are no longer in force and begins those that now are."""
    ids = {model.id: model.price_id for model in after.models}
    await connection.execute(
        """
        UPDATE price_period SET valid_until = $2
        WHERE valid_until IS NULL AND price_id <> ALL ($1::text[])
        """,
        list(ids.values()),
        moment,
    )
    await connection.executemany(
        """
        INSERT INTO price_period (model, valid_from, price_id, version) VALUES ($1, $2, $3, $4)
        ON CONFLICT (model) WHERE valid_until IS NULL DO NOTHING
        """,
        [(model, moment, price_id, after.version) for model, price_id in ids.items()],
    )
