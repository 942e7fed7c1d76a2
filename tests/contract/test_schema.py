"""Each service's `schema.sql` is what its migrations lead to, rights and triggers included."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime import postgres
from libs.runtime.migrate import Owner
from services.migrations import owners
from tests.fixtures.databases import migrated_database
from tests.fixtures.schemas import described
from tests.fixtures.servers import Database

NAMES = [owner.name for owner in owners("", "", "") if (owner.folder.parent / "schema.sql").exists()]
SLIPS = [
    "ALTER TABLE model ALTER context_tokens TYPE INT",
    "ALTER TABLE model ALTER served_as SET NOT NULL",
    "ALTER TABLE model ALTER served_as SET DEFAULT 'x'",
    "ALTER TABLE model ADD note TEXT",
    "ALTER TABLE offer DROP CONSTRAINT offer_priority_check",
    "ALTER TABLE price_version DISABLE TRIGGER USER",
    "ALTER TABLE model SET (fillfactor = 50)",
    "DROP TRIGGER publication_is_append_only ON publication",
    "DROP INDEX price_period_in_force",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "GRANT UPDATE ON price_version TO tokenoutput_catalog",
    "GRANT UPDATE (price) ON price_version TO tokenoutput_catalog",
    "GRANT CREATE ON SCHEMA catalog TO tokenoutput_catalog",
    "CREATE TYPE mood AS ENUM ('good')",
    "CREATE SEQUENCE counter",
    "CREATE VIEW prices AS SELECT id FROM price_version",
]


def owner_of(database: Database, name: str) -> Owner:
    found = owners(database.edge_url, database.billing_url, database.catalog_url)
    return next(owner for owner in found if owner.name == name)


@asynccontextmanager
async def made_by(database: Database, owner: Owner) -> AsyncIterator[postgres.Connection]:
    """The owner's connection to a new database to which the files in ``owner.folder`` were applied."""
    async with (
        migrated_database(database.owner_url, [owner]) as url,
        postgres.connected(url, owner.name) as connection,
    ):
        yield connection


@pytest.mark.parametrize("name", NAMES)
async def test_the_readable_schema_is_what_the_migrations_make(database: Database, name: str, tmp_path: Path) -> None:
    owner = owner_of(database, name)
    shutil.copy(owner.folder.parent / "schema.sql", tmp_path / "0001_all_of_it.sql")
    async with made_by(database, owner) as migrated, made_by(database, owner._replace(folder=tmp_path)) as written:
        expected, found = await described(migrated, name), await described(written, name)
    assert sorted(found - expected) == []
    assert sorted(expected - found) == []
    assert len(expected) > 10


@pytest.mark.parametrize("slip", SLIPS)
async def test_a_difference_would_be_seen(database: Database, slip: str) -> None:
    async with postgres.connected(database.owner_url, "catalog") as connection:
        before = await described(connection, "catalog")
        attempt = connection.transaction()
        await attempt.start()
        await connection.execute(slip)
        after = await described(connection, "catalog")
        await attempt.rollback()
    assert before != after
