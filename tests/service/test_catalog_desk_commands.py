"""`tokenoutput credential|offer|provider`: what an operator does on the catalog's database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest
from typer.testing import CliRunner, Result

from libs.contracts.catalog import Snapshot, sealing_context
from libs.sealing import key_of, key_ring
from services.catalog import store
from services.cli import app
from tests.fixtures.catalog import KEYS, OLD_KEYS, Tables
from tests.fixtures.servers import Servers
from tests.unit.catalog.shelf_text import SHELF

SECRET: Final = "sk-live-0123456789"
NO_SECRET: Final = "secret must be one line of visible ASCII characters without blanks."
ADD: Final = ("credential", "add", "acme", "spare")


@pytest.fixture
async def tables(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        monkeypatch.setenv("TOKENOUTPUT_ENV", "dev")
        monkeypatch.setenv("TOKENOUTPUT_CATALOG_DATABASE_URL", database.catalog_url)
        monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", KEYS)
        made = Tables(database.catalog_url, database.owner_url)
        await made.publish(SHELF)
        yield made


async def tokenoutput(*arguments: str, stdin: str = "") -> Result:
    """The command in a thread, because it runs an event loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments), input=stdin))


async def json_of(*arguments: str, stdin: str = "", code: int = 0) -> Any:
    result = await tokenoutput(*arguments, "--json", stdin=stdin)
    assert (result.exit_code, result.stderr) == (code, "")
    return msgspec.json.decode(result.stdout)


async def snapshot(tables: Tables) -> Snapshot:
    async with tables.as_service() as connection:
        return await store.snapshot(connection)


async def test_a_credential_is_read_from_stdin_stored_and_never_shown(tables: Tables) -> None:
    result = await tokenoutput(*ADD, "--weight", "2", "--max-concurrent", "50", stdin=f"{SECRET}\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "credential spare of acme is stored; routers have it within seconds\n"
    (spare,) = [found for found in (await snapshot(tables)).credentials if found.id == "spare"]
    assert (spare.weight, spare.max_concurrent) == (2, 50)
    assert key_ring(KEYS).open(spare.sealed, sealing_context("acme", "spare")) == SECRET
    shown = (await tokenoutput("credential", "list")).stdout + str(await json_of("credential", "list"))
    assert "spare" in shown
    assert SECRET not in shown
    assert spare.sealed not in shown


async def test_credentials_are_listed_for_people(tables: Tables) -> None:
    await tokenoutput(*ADD, stdin=SECRET)
    await tokenoutput("credential", "pause", "spare", "--reason", "out of credit")
    first, second = (await tokenoutput("credential", "list")).stdout.splitlines()
    assert first == "acme   acme  ACME_API_KEY     weight 1"
    assert second.startswith("spare  acme  sealed with new  weight 1")
    assert second.endswith("Z: out of credit")


async def test_the_answer_to_adding_comes_as_json(tables: Tables) -> None:
    answer = await json_of(*ADD, stdin=SECRET)
    assert (answer["id"], answer["sealed_with"]) == ("spare", "new")
    assert SECRET not in str(answer)


@pytest.mark.parametrize(
    ("arguments", "stdin", "reason"),
    [
        (("acmee", "spare"), SECRET, "There is no provider 'acmee'; did you mean 'acme'?"),
        (("acme", "acme"), SECRET, "There is a credential 'acme' already."),
        (("acme", "spare"), "", NO_SECRET),
        (
            ("acme", "spare"),
            f"{SECRET}\n{SECRET}\n",
            "secret must be one line of visible ASCII characters without blanks.",
        ),
    ],
)
async def test_a_credential_that_cannot_be_is_refused(
    tables: Tables, arguments: tuple[str, ...], stdin: str, reason: str
) -> None:
    result = await tokenoutput("credential", "add", *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{reason}\n")
    assert await json_of("credential", "add", *arguments, stdin=stdin, code=1) == {"error": reason}


async def test_without_keys_nothing_is_stored(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", "")
    for arguments in (ADD, ("credential", "reseal")):
        result = await tokenoutput(*arguments, stdin=SECRET)
        assert (result.exit_code, "TOKENOUTPUT_CREDENTIAL_KEYS is not set" in result.stderr) == (1, True)


async def test_bad_keys_stop_the_command_without_being_shown(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", "new:c2VjcmV0")
    result = await tokenoutput(*ADD, stdin=SECRET)
    assert result.exit_code != 0
    assert "c2VjcmV0" not in result.output + str(result.exception)
    assert "TOKENOUTPUT_CREDENTIAL_KEYS: key 1 is not 32 bytes long" in str(result.exception)


async def test_removing_a_credential(tables: Tables) -> None:
    await tokenoutput(*ADD, stdin=SECRET)
    assert await json_of("credential", "remove", "spare") == {"id": "spare", "deleted": True}
    assert (await tokenoutput("credential", "remove", "spare")).exit_code == 1
    assert "shelf file" in (await tokenoutput("credential", "remove", "acme")).stderr


async def test_resealing_lets_an_old_key_be_retired(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", OLD_KEYS)
    await tokenoutput(*ADD, stdin=SECRET)
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", KEYS)
    assert (await tokenoutput("credential", "reseal")).stdout == "resealed 1, sealed with new before 0\n"
    assert await json_of("credential", "reseal") == {"resealed": [], "kept": ["spare"], "failed": []}
    (spare,) = [found for found in (await snapshot(tables)).credentials if found.id == "spare"]
    assert key_of(spare.sealed) == "new"


async def test_resealing_fails_when_something_does_not_open(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    await tokenoutput(*ADD, stdin=SECRET)
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", OLD_KEYS)
    result = await tokenoutput("credential", "reseal")
    assert (result.exit_code, "spare: no key of the ring opens it" in result.stdout) == (1, True)


@pytest.mark.parametrize(("kind", "name"), [("provider", "acme"), ("offer", "acme-one@acme"), ("credential", "acme")])
async def test_whatever_is_listed_can_be_paused_and_resumed(tables: Tables, kind: str, name: str) -> None:
    assert (await tokenoutput(kind, "pause", name)).exit_code == 2, "a reason is needed"
    assert (await tokenoutput(kind, "pause", name, "--reason", "slow")).stdout == f"{kind} {name} is paused\n"
    (row,) = (await json_of(kind, "list"))["data"]
    assert (row["id"], row["paused"], row["pause"]["reason"]) == (name, True, "slow")
    assert "PAUSED since" in (await tokenoutput(kind, "list")).stdout
    assert (await snapshot(tables)).offers[0].paused == (kind != "credential")
    assert (await json_of(kind, "resume", name))["paused"] is False
    assert not (await snapshot(tables)).offers[0].paused
    assert (await tokenoutput(kind, "pause", "nobody", "--reason", "slow")).exit_code == 1


async def test_an_empty_shelf_lists_nothing(tables: Tables) -> None:
    await tables.publish("providers = {}\nmodels = {}\n")
    assert (await tokenoutput("offer", "list")).stdout == "there is none\n"
    assert await json_of("offer", "list") == {"data": []}


async def test_a_database_that_is_not_ready_is_told_in_one_sentence(tables: Tables) -> None:
    async with tables.as_owner() as owner:
        await owner.execute("ALTER TABLE pause RENAME TO gone")
    result = await tokenoutput("offer", "list")
    assert (result.exit_code, result.stderr) == (1, 'relation "pause" does not exist\n')


async def test_a_file_with_the_id_of_a_stored_credential_is_refused_in_one_sentence(
    tables: Tables, tmp_path: Any
) -> None:
    await tokenoutput(*ADD, stdin=SECRET)
    file = tmp_path / "shelf.toml"
    line = 'credential = "ACME_API_KEY"\n'
    file.write_text(SHELF.replace(line, line + 'credentials = [{ id = "spare", variable = "ACME_2" }]\n'))
    result = await tokenoutput("catalog", "apply", str(file))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "nothing was published: the credential id 'spare' is that of a stored credential" in result.stderr
