"""What an operator lays over the shelf: it reaches the snapshot, survives publications, and older releases."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import msgspec
import pytest

from libs.contracts.catalog import Credential, Deadlines, Snapshot, sealing_context
from libs.sealing import key_ring
from services.catalog import desk, store
from services.catalog.desk import NotDone, Unknown, Wanted
from services.catalog.listing import CredentialRow
from services.catalog.rules import read
from tests.fixtures.catalog import KEYS, OLD_KEYS, Tables
from tests.fixtures.servers import Servers
from tests.unit.catalog.shelf_text import SHELF, edited

RING: Final = key_ring(KEYS)
SECRET: Final = "sk-live-0123456789"
WANTED: Final = Wanted("acme", "spare", SECRET, weight=2, max_concurrent=50)
SEALED: Final = "AQFh" * 10
NAMED: Final = 'credential = "ACME_API_KEY"\n'
SECOND: Final = edited(NAMED, NAMED + 'credentials = [{ id = "second", variable = "ACME_2", weight = 2 }]\n')
# What the release before writes when it publishes, table by table.
PUBLISH_AS_BEFORE: Final = """
    DELETE FROM offer; DELETE FROM model; DELETE FROM provider_protocol; DELETE FROM provider;
    INSERT INTO provider (id, name, credential) VALUES ('acme', 'Acme', 'RENAMED_API_KEY');
    INSERT INTO provider_protocol (provider, protocol, base_url, auth)
        VALUES ('acme', 'openai_chat', 'https://api.acme.example/v1', 'bearer');
    INSERT INTO model (id, name, description, owned_by, created, context_tokens, max_output_tokens, input_modalities,
        output_modalities, supported_parameters, price_id)
        SELECT model, 'One', 'x', 'acme', 0, 10, 5, '{text}', '{text}', '{}', id FROM price_version LIMIT 1;
    INSERT INTO offer (id, model, provider, protocol, upstream_model, on_disconnect, priority, profile)
        VALUES ('acme-one@acme', 'acme-one', 'acme', 'openai_chat', 'acme-one', 'drain', 0, '{}');
"""


@pytest.fixture
async def tables(servers: Servers) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        made = Tables(database.catalog_url, database.owner_url)
        await made.publish(SECOND)
        yield made


async def snapshot(tables: Tables) -> Snapshot:
    async with tables.as_service() as connection:
        return await store.snapshot(connection)


async def mark(tables: Tables) -> str:
    async with tables.as_service() as connection:
        return await store.mark(connection)


async def add(tables: Tables, wanted: Wanted = WANTED) -> None:
    async with tables.as_service() as connection:
        await desk.add(connection, RING.seal, wanted)


def credential(found: Snapshot, name: str) -> Credential:
    return next(credential for credential in found.credentials if credential.id == name)


async def test_weights_deadlines_and_named_credentials_come_back_from_the_tables(tables: Tables) -> None:
    offer = 'upstream_model = "acme-one"\n'
    text = edited(offer, offer + "priority = 3\nweight = 7\ndeadlines = { connect = 2, total = 60.5 }\n", SECOND)
    await tables.publish(text)
    found = await snapshot(tables)
    assert found == msgspec.structs.replace(read(text), version=2)
    assert found.offers[0].deadlines == Deadlines(connect=2.0, total=60.5)
    assert [(found.id, found.variable, found.weight) for found in found.credentials] == [
        ("acme", "ACME_API_KEY", 1),
        ("second", "ACME_2", 2),
    ]


async def test_a_stored_credential_travels_sealed_and_opens_in_its_place(tables: Tables) -> None:
    await add(tables)
    found = credential(await snapshot(tables), "spare")
    assert (found.provider, found.variable, found.weight, found.max_concurrent) == ("acme", "", 2, 50)
    assert RING.open(found.sealed, sealing_context("acme", "spare")) == SECRET


async def test_the_tables_never_hold_the_secret_itself(tables: Tables) -> None:
    await add(tables)
    async with tables.as_owner() as owner:
        rows = await owner.fetch("SELECT c::text FROM credential c")
    assert len(rows) == 3
    assert not any(SECRET in row[0] for row in rows)


async def test_stored_credentials_and_pauses_survive_publications(tables: Tables) -> None:
    await add(tables)
    async with tables.as_service() as connection:
        await desk.pause(connection, "credential", "second", "out of credit")
        await desk.pause(connection, "offer", "acme-one@acme", "wrong answers")
    await tables.publish(SHELF)
    found = await snapshot(tables)
    assert [credential.id for credential in found.credentials] == ["acme", "spare"]
    assert found.offers[0].paused
    await tables.publish(SECOND)
    assert credential(await snapshot(tables), "second").paused


async def test_a_publication_sees_the_file_alone(tables: Tables) -> None:
    """What an operator laid over the shelf makes no difference to the file."""
    await add(tables)
    async with tables.as_service() as connection:
        await desk.pause(connection, "provider", "acme", "down")
    assert not (await tables.publish(SECOND)).changed


async def test_every_change_of_an_operator_moves_the_mark_and_the_way_back_restores_it(tables: Tables) -> None:
    seen = [await mark(tables)]
    async with tables.as_service() as connection:
        await desk.pause(connection, "offer", "acme-one@acme", "slow")
        seen.append(await mark(tables))
        await desk.pause(connection, "provider", "acme", "slow")
        seen.append(await mark(tables))
        await desk.add(connection, RING.seal, WANTED)
        seen.append(await mark(tables))
        assert len(set(seen)) == 4
        await desk.remove(connection, "spare")
        await desk.resume(connection, "provider", "acme")
        await desk.resume(connection, "offer", "acme-one@acme")
    assert await mark(tables) == seen[0]


async def test_a_paused_provider_pauses_its_offers_and_not_for_ever(tables: Tables) -> None:
    async with tables.as_service() as connection:
        row = await desk.pause(connection, "provider", "acme", "  down since\n noon ")
        assert (row.paused, row.pause and row.pause.reason) == (True, "down since noon")
        assert (await snapshot(tables)).offers[0].paused
        await desk.resume(connection, "provider", "acme")
    assert not (await snapshot(tables)).offers[0].paused


async def test_pausing_again_changes_the_reason_and_keeps_the_moment(tables: Tables) -> None:
    async with tables.as_service() as connection:
        first = await desk.pause(connection, "offer", "acme-one@acme", "slow")
        second = await desk.pause(connection, "offer", "acme-one@acme", "wrong")
    assert first.pause is not None
    assert second.pause is not None
    assert (second.pause.reason, second.pause.since) == ("wrong", first.pause.since)


async def test_removing_a_credential_ends_its_pause(tables: Tables) -> None:
    await add(tables)
    async with tables.as_service() as connection:
        await desk.pause(connection, "credential", "spare", "leaked")
        await desk.remove(connection, "spare")
    await add(tables)
    assert not credential(await snapshot(tables), "spare").paused


async def test_something_that_left_the_shelf_can_still_be_resumed(tables: Tables) -> None:
    async with tables.as_service() as connection:
        await desk.pause(connection, "credential", "second", "leaked")
        await tables.publish(SHELF)
        assert await desk.resume(connection, "credential", "second") is None
        with pytest.raises(Unknown):
            await desk.resume(connection, "credential", "second")


@pytest.mark.parametrize(
    ("changes", "param", "reason"),
    [
        ({"provider": "acmee"}, "provider", "did you mean 'acme'?"),
        ({"id": "acme"}, "id", "There is a credential 'acme' already."),
        ({"id": "second"}, "id", "There is a credential 'second' already."),
        ({"id": "Spare"}, "id", "lower-case"),
        ({"secret": ""}, "secret", "visible ASCII"),
        ({"secret": "two words"}, "secret", "visible ASCII"),
        ({"secret": "line\n"}, "secret", "visible ASCII"),
        ({"secret": "schlüssel"}, "secret", "visible ASCII"),
        ({"secret": "x" * 4097}, "secret", "visible ASCII"),
        ({"weight": 0}, "weight", "1 to 1000"),
        ({"max_concurrent": 0}, "max_concurrent", "1 to 1000000"),
    ],
)
async def test_a_credential_that_cannot_be_is_refused(
    tables: Tables, changes: dict[str, object], param: str, reason: str
) -> None:
    with pytest.raises(NotDone, match=reason.replace("?", r"\?")) as caught:
        await add(tables, msgspec.structs.replace(WANTED, **changes))
    assert caught.value.param == param
    assert "spare" not in {found.id for found in (await snapshot(tables)).credentials}


async def test_an_id_is_stored_once(tables: Tables) -> None:
    await add(tables)
    with pytest.raises(NotDone, match="already"):
        await add(tables)


async def test_a_file_with_the_id_of_a_stored_credential_is_not_published(tables: Tables) -> None:
    await add(tables)
    with pytest.raises(store.IdTaken, match="'spare'"):
        await tables.publish(SECOND.replace('"second"', '"spare"'))
    assert (await snapshot(tables)).version == 1


async def test_a_stored_credential_waits_for_its_provider_to_come_back(tables: Tables) -> None:
    await add(tables)
    await tables.publish("providers = {}\nmodels = {}\n")
    assert (await snapshot(tables)).credentials == ()
    async with tables.as_service() as connection:
        (row,) = await desk.look(connection, "credential")
    assert isinstance(row, CredentialRow)
    assert (row.id, row.on_shelf) == ("spare", False)
    await tables.publish(SHELF)
    assert [found.id for found in (await snapshot(tables)).credentials] == ["acme", "spare"]


async def test_resealing_moves_everything_to_the_first_key_and_names_what_does_not_open(tables: Tables) -> None:
    old = key_ring(OLD_KEYS)
    async with tables.as_service() as connection:
        await desk.add(connection, old.seal, WANTED)
        await desk.add(connection, RING.seal, msgspec.structs.replace(WANTED, id="fresh"))
        await desk.add(
            connection, lambda plain, _: old.seal(plain, "elsewhere"), msgspec.structs.replace(WANTED, id="odd")
        )
        before = {found.id: found.sealed for found in (await snapshot(tables)).credentials}
        assert await desk.reseal(connection, RING) == desk.Resealed(("spare",), ("fresh",), ("odd",))
        assert await desk.reseal(connection, RING) == desk.Resealed((), ("fresh", "spare"), ("odd",))
    after = {found.id: found.sealed for found in (await snapshot(tables)).credentials}
    assert {name for name in after if after[name] != before[name]} == {"spare"}
    only_new = key_ring(KEYS.split(",")[0])
    assert only_new.open(after["spare"], sealing_context("acme", "spare")) == SECRET


async def test_the_release_before_publishes_over_it_and_loses_nothing(tables: Tables) -> None:
    await add(tables)
    async with tables.as_service() as connection:
        await desk.pause(connection, "offer", "acme-one@acme", "slow")
        await connection.execute(PUBLISH_AS_BEFORE)
    found = await snapshot(tables)
    assert (found.offers[0].weight, found.offers[0].paused, found.offers[0].deadlines) == (1, True, Deadlines())
    assert [(known.id, known.variable) for known in found.credentials] == [
        ("acme", "RENAMED_API_KEY"),
        ("second", "ACME_2"),
        ("spare", ""),
    ]


async def test_a_provider_of_the_release_before_keeps_its_id_for_its_first_credential(tables: Tables) -> None:
    """It knows no other credentials, so it may name a provider like one of them."""
    await add(tables)
    async with tables.as_service() as connection:
        for name in ("spare", "second"):
            await connection.execute(
                "INSERT INTO provider (id, name, credential) VALUES ($1, 'Late', 'LATE_KEY')", name
            )
            await connection.execute(
                "INSERT INTO provider_protocol VALUES ($1, 'openai_chat', 'https://late.example/v1', 'bearer')", name
            )
        rows = await desk.look(connection, "credential")
    found = await snapshot(tables)
    assert [credential(found, name).provider for name in ("second", "spare")] == ["second", "spare"]
    assert credential(found, "spare").variable == "LATE_KEY"
    assert [isinstance(row, CredentialRow) and row.on_shelf for row in rows if row.id == "spare"] == [True, False]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credential SET weight = 9",
        "UPDATE credential SET provider = 'other'",
        "UPDATE pause SET since = now()",
    ],
)
async def test_the_role_may_change_nothing_else(tables: Tables, statement: str) -> None:
    async with tables.as_service() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize(
    "values",
    [
        ("x", "acme", "file", "X", SEALED),
        ("x", "acme", "file", "", ""),
        ("x", "acme", "file", "sk-live-1", ""),
        ("x", "acme", "stored", "", ""),
        ("x", "acme", "stored", "", "sk-live-0123456789"),
        ("x", "acme", "stored", "X", SEALED),
        ("x", "x", "stored", "", SEALED),
        ("X", "acme", "file", "X", ""),
        ("x", "acme", "elsewhere", "X", ""),
    ],
)
async def test_the_tables_themselves_refuse_a_credential_that_cannot_be(
    tables: Tables, values: tuple[str, ...]
) -> None:
    async with tables.as_service() as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(
                "INSERT INTO credential (id, provider, origin, variable, sealed) VALUES ($1, $2, $3, $4, $5)", *values
            )
