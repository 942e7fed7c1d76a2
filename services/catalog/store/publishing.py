"""Putting a shelf into the place of the one before: the whole of it and its prices, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from libs.contracts.catalog import Model, Offer, Snapshot
from libs.runtime.postgres import Connection
from services.catalog.rules import digest_of
from services.catalog.store import tables
from services.catalog.store.shelf import published


class IdTaken(Exception):
    """A credential of the file has the id of a stored one."""


class Publication(msgspec.Struct, frozen=True):
    """The shelf before and after. The same version twice means that there was nothing to change."""

    before: Snapshot
    after: Snapshot

    @property
    def changed(self) -> bool:
        return self.before.version != self.after.version


async def publish(connection: Connection, draft: Snapshot, by: str) -> Publication:
    """Puts ``draft`` on the shelf as the next version, all of it or nothing, unless just that is there already.

    Raises IdTaken.
    """
    async with tables.changing(connection):
        before = await published(connection)
        if digest_of(draft) == digest_of(before):
            return Publication(before, before)
        after = msgspec.structs.replace(draft, version=before.version + 1)
        await _refuse_taken(connection, after)
        moment = await _record(connection, after, by)
        await _replace(connection, after)
        await _reprice(connection, after, moment)
        await tables.announce(connection, str(after.version))
    return Publication(before, after)


async def _refuse_taken(connection: Connection, after: Snapshot) -> None:
    taken = await connection.fetchval(
        "SELECT min(id) FROM credential WHERE origin = 'stored' AND id = ANY ($1::text[])",
        [credential.id for credential in after.credentials],
    )
    if taken is not None:
        raise IdTaken(f"the credential id {taken!r} is that of a stored credential; remove that one or take another id")


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
    await connection.execute("DELETE FROM credential WHERE origin = 'file'")
    await connection.executemany(
        "INSERT INTO credential (id, provider, origin, variable, weight, max_concurrent) "
        "VALUES ($1, $2, 'file', $3, $4, $5)",
        [(found.id, found.provider, found.variable, found.weight, found.max_concurrent) for found in after.credentials],
    )
    await _insert_models(connection, after)


async def _insert_models(connection: Connection, after: Snapshot) -> None:
    columns = [name for name in Model.__struct_fields__ if name not in ("price", "protocols")]
    await connection.executemany(
        _insert_into("model", columns), [[getattr(model, name) for name in columns] for model in after.models]
    )
    columns = [name for name in Offer.__struct_fields__ if name != "paused"]
    await connection.executemany(
        _insert_into("offer", columns), [[_value(getattr(offer, name)) for name in columns] for offer in after.offers]
    )


def _value(value: Any) -> Any:
    """A table of the document is stored as one."""
    return msgspec.json.encode(value).decode() if isinstance(value, msgspec.Struct) else value


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
