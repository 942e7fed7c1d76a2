"""The catalog's tables: publications, price history, and what nobody may do to either."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings

from libs.contracts.profile import Profile
from libs.pricing import version_of
from services.catalog import store
from services.catalog.rules import digest_of, read
from tests.fixtures.catalog import HOME, Tables
from tests.fixtures.servers import Servers
from tests.fixtures.shelves import UNSHRUNK, documents
from tests.unit.catalog.shelf_text import SHELF, edited
from tests.unit.catalog.toml_writer import plain

DEARER = edited('"1.10"', '"1.11"')
OFFER = 'upstream_model = "acme-one"\n'
CHANGES_TO_HISTORY = [
    "UPDATE price_version SET model = 'other'",
    "UPDATE price_version SET price = '{}'",
    "DELETE FROM price_version",
    "TRUNCATE price_version CASCADE",
    "UPDATE publication SET published_by = 'nobody'",
    "DELETE FROM publication",
    "TRUNCATE publication CASCADE",
]


@pytest.fixture
async def tables(servers: Servers) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        yield Tables(database.catalog_url, database.owner_url)


async def test_what_is_published_is_what_is_read(tables: Tables) -> None:
    draft = read((HOME / "catalog.toml").read_text(encoding="utf-8"))
    async with tables.as_service() as connection:
        publication = await store.publish(connection, draft, "an operator")
        found = await store.snapshot(connection)
    assert found == publication.after
    assert (found.version, digest_of(found)) == (1, digest_of(draft))
    async with tables.as_service() as connection:
        row = await connection.fetchrow("SELECT version, digest, published_by FROM publication")
    assert row is not None
    assert tuple(row) == (1, digest_of(draft), "an operator")


@given(document=documents())
@settings(
    max_examples=25,
    deadline=None,
    phases=UNSHRUNK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # publications may follow one another
)
async def test_any_shelf_comes_back_from_the_tables_unchanged(tables: Tables, document: dict[str, Any]) -> None:
    draft = read(plain(document))
    async with tables.as_service() as connection:
        publication = await store.publish(connection, draft, "a test")
        found = await store.snapshot(connection)
    assert digest_of(found) == digest_of(draft)
    assert found == publication.after


async def test_an_offer_of_the_release_before_has_the_plain_profile(tables: Tables) -> None:
    """It writes offers without the column, and reads rows that have it."""
    await tables.publish(edited(OFFER, OFFER + "profile = { top_k = true, max_temperature = 1 }\n"))
    async with tables.as_service() as connection:
        (changed,) = (await store.snapshot(connection)).offers
        await connection.execute("DELETE FROM offer")
        await connection.execute(
            "INSERT INTO offer (id, model, provider, protocol, upstream_model, on_disconnect, priority) "
            "VALUES ('acme-one@acme', 'acme-one', 'acme', 'openai_chat', 'acme-one', 'drain', 0)"
        )
        found = await store.snapshot(connection)
    assert changed.profile == Profile(top_k=True, max_temperature=1.0)
    assert found.offers == read(SHELF).offers
    assert digest_of(found) == digest_of(read(SHELF))


async def test_a_profile_that_is_no_table_is_refused_by_the_tables_themselves(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_owner() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("UPDATE offer SET profile = '[]'")


async def test_the_same_shelf_again_is_no_publication(tables: Tables) -> None:
    first, second = await tables.publish(SHELF), await tables.publish(SHELF)
    assert (first.changed, second.changed) == (True, False)
    assert first.after == second.before == second.after
    async with tables.as_service() as connection:
        assert await connection.fetchval("SELECT count(*) FROM publication") == 1


async def test_an_empty_shelf_has_version_0(tables: Tables) -> None:
    async with tables.as_service() as connection:
        found = await store.snapshot(connection)
        assert (found.version, found.models, await store.mark(connection)) == (0, (), "")


async def test_a_price_keeps_its_id_and_its_history_through_every_change(tables: Tables) -> None:
    cheap, dear = read(SHELF).models[0].price_id, read(DEARER).models[0].price_id
    for text in (SHELF, DEARER, edited("8_000", "9_000", DEARER), SHELF):
        await tables.publish(text)
    async with tables.as_service() as connection:
        first, second = await store.price(connection, cheap), await store.price(connection, dear)
    assert first is not None
    assert second is not None
    assert (first.id, version_of(second.price)) == (cheap, dear)
    assert [period.version for period in first.periods] == [1, 4]
    assert [period.version for period in second.periods] == [2]
    ends = [first.periods[0].valid_until, second.periods[0].valid_until, first.periods[1].valid_until]
    assert ends == [second.periods[0].valid_from, first.periods[1].valid_from, None]


async def test_a_model_that_is_taken_off_the_shelf_leaves_its_price_behind(tables: Tables) -> None:
    price_id = read(SHELF).models[0].price_id
    await tables.publish(SHELF)
    publication = await tables.publish("providers = {}\nmodels = {}\n")
    async with tables.as_service() as connection:
        found = await store.price(connection, price_id)
    assert (publication.after.version, publication.after.models) == (2, ())
    assert found is not None
    assert found.price == read(SHELF).models[0].price
    assert found.periods[0].valid_until is not None


async def test_a_price_that_never_was_is_not_found(tables: Tables) -> None:
    async with tables.as_service() as connection:
        assert await store.price(connection, "pr_000000000000000000000000") is None


async def test_the_role_may_not_change_history(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_service() as connection:
        for statement in CHANGES_TO_HISTORY:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_a_trigger_keeps_even_the_owner_from_changing_history(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_owner() as connection:
        for statement in CHANGES_TO_HISTORY:
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await connection.execute(statement)


async def test_the_role_may_move_the_end_of_a_price_and_nothing_else_of_it(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_service() as connection:
        for statement in ("UPDATE price_period SET price_id = 'x'", "DELETE FROM price_period"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_tables_themselves_refuse_an_offer_in_a_protocol_without_a_base_url(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_service() as connection:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(
                "INSERT INTO offer (id, model, provider, protocol, upstream_model, on_disconnect, priority) "
                "VALUES ('x', 'acme-one', 'acme', 'anthropic_messages', 'acme-one', 'drain', 7)"
            )


async def test_a_price_under_the_wrong_id_is_not_sold(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_owner() as connection:
        await connection.execute("ALTER TABLE price_version DISABLE TRIGGER USER")
        await connection.execute("UPDATE price_version SET price = jsonb_set(price, '{rates,output}', '1')")
    async with tables.as_service() as connection:
        with pytest.raises(store.WrongPrice):
            await store.snapshot(connection)
        with pytest.raises(store.WrongPrice):
            await store.price(connection, read(SHELF).models[0].price_id)


async def test_a_publication_that_fails_half_way_leaves_no_trace(tables: Tables) -> None:
    await tables.publish(SHELF)
    async with tables.as_owner() as connection:
        await connection.execute("ALTER TABLE offer ADD CHECK (priority < 0) NOT VALID")
    with pytest.raises(asyncpg.CheckViolationError):
        await tables.publish(DEARER)
    async with tables.as_service() as connection:
        found = await store.snapshot(connection)
        counts = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM publication), (SELECT count(*) FROM price_version)"
        )
    assert (found.version, digest_of(found)) == (1, digest_of(read(SHELF)))
    assert counts is not None
    assert tuple(counts) == (1, 1)


async def test_publications_at_the_same_time_follow_one_another(tables: Tables) -> None:
    texts = [edited("8_000", str(tokens)) for tokens in range(1, 9)]
    publications = await asyncio.gather(*(tables.publish(text) for text in texts * 2))
    changed = sorted((p for p in publications if p.changed), key=lambda p: p.after.version)
    versions = [publication.after.version for publication in changed]
    assert versions == list(range(1, len(changed) + 1))
    assert len(changed) >= len(texts)
    assert all(later.before == earlier.after for earlier, later in pairwise(changed))
    async with tables.as_service() as connection:
        assert await store.snapshot(connection) == changed[-1].after
