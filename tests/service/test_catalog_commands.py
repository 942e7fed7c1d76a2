"""`tokenoutput catalog`: a file is published, or every mistake in it is named and nothing happens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from services.catalog import store
from services.catalog.commands import app
from tests.fixtures.catalog import HOME, Tables
from tests.fixtures.servers import Servers
from tests.unit.catalog.shelf_text import SHELF, edited, line_of

WRONG = edited('"drain"', '"drian"', edited("8_000", "0"))


@pytest.fixture
async def tables(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        monkeypatch.setenv("TOKENOUTPUT_ENV", "dev")
        monkeypatch.setenv("TOKENOUTPUT_CATALOG_DATABASE_URL", database.catalog_url)
        yield Tables(database.catalog_url, database.owner_url)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    file = tmp_path / "shelf.toml"
    write(file, SHELF)
    return file


def write(file: Path, content: str | bytes) -> None:
    file.write_bytes(content.encode() if isinstance(content, str) else content)


async def tokenoutput_catalog(*arguments: str | Path) -> Result:
    """The command in a thread, because it runs an event loop of its own."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, [str(argument) for argument in arguments]))


async def versions(tables: Tables) -> int:
    async with tables.as_service() as connection:
        return (await store.snapshot(connection)).version


async def test_a_good_file_is_published_and_its_changes_are_told(tables: Tables, shelf: Path) -> None:
    result = await tokenoutput_catalog("apply", shelf, "--by", "the reviewer")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (f"{shelf}: published as version 1\n  added: acme-one\n  providers: acme\n")
    async with tables.as_service() as connection:
        assert await connection.fetchval("SELECT published_by FROM publication") == "the reviewer"


async def test_a_second_time_nothing_is_published(tables: Tables, shelf: Path) -> None:
    await tokenoutput_catalog("apply", shelf)
    result = await tokenoutput_catalog("apply", shelf)
    assert (result.exit_code, result.stdout) == (0, f"{shelf}: nothing new; still version 1\n")
    assert await versions(tables) == 1


async def test_the_answer_comes_as_json_when_asked_for(tables: Tables, shelf: Path) -> None:
    await tokenoutput_catalog("apply", shelf)
    write(shelf, edited('"1.10"', '"1.11"'))
    result = await tokenoutput_catalog("apply", shelf, "--json")
    assert msgspec.json.decode(result.stdout) == {
        "ok": True,
        "published": True,
        "version": 2,
        "changes": {"added": [], "removed": [], "repriced": ["acme-one"], "changed": [], "providers": []},
    }


async def test_every_mistake_is_named_with_file_and_line_and_nothing_changes(tables: Tables, shelf: Path) -> None:
    await tokenoutput_catalog("apply", shelf)
    write(shelf, WRONG)
    result = await tokenoutput_catalog("apply", shelf)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{shelf}:{line_of('drian', WRONG)}: providers.acme.on_disconnect: 'drian' is not known; did you mean 'drain'?",
        f"{shelf}:{line_of('max_output_tokens', WRONG)}: models.acme-one.max_output_tokens: "
        "must be a whole number from 1 to 2147483648",
    ]
    assert await versions(tables) == 1


async def test_a_mistake_in_a_profile_is_named_with_file_and_line(shelf: Path) -> None:
    row = '[profiles.acme_chat]\nprotocol = "openai_chat"\nthinking = "glm"\nbudget_cap = 4_096\n'
    write(shelf, row + edited('auth = "bearer"', 'auth = "bearer"\nprofile = "acme_caht"'))
    result = await tokenoutput_catalog("check", shelf)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{shelf}:1: profiles.acme_chat: is named by no endpoint",
        f"{shelf}:4: profiles.acme_chat.budget_cap: needs a thinking style with budgets: qwen, budget",
        f"{shelf}:14: providers.acme.protocols.openai_chat.profile: "
        "'acme_caht' is not known; did you mean 'acme_chat'?",
    ]


async def test_mistakes_come_as_json_when_asked_for(shelf: Path) -> None:
    write(shelf, WRONG)
    for command in ("check", "apply"):
        result = await tokenoutput_catalog(command, shelf, "--json")
        answer = msgspec.json.decode(result.stdout)
        assert (result.exit_code, answer["ok"]) == (1, False)
        assert answer["mistakes"][0] == {
            "file": str(shelf),
            "line": line_of("drian", WRONG),
            "path": "providers.acme.on_disconnect",
            "reason": "'drian' is not known; did you mean 'drain'?",
        }


async def test_a_file_can_be_checked_without_a_database() -> None:
    file = HOME / "catalog.toml"
    result = await tokenoutput_catalog("check", file)
    assert (result.exit_code, result.stdout) == (0, f"{file}: 11 models, 11 offers; may be published\n")


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"[models\n", ":1: TOML: "), (b'[models]\nname = "\xff"\n', ":2: TOML: is not UTF-8"), (b"", ":1: models: ")],
)
async def test_a_file_that_is_no_shelf_at_all_is_refused(shelf: Path, content: bytes, place: str) -> None:
    write(shelf, content)
    result = await tokenoutput_catalog("check", shelf)
    assert (result.exit_code, f"{shelf}{place}" in result.stderr) == (1, True)


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = await tokenoutput_catalog("check", tmp_path / "nowhere.toml")
    assert (result.exit_code, "does not exist" in result.stderr) == (2, True)


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_database_that_is_not_ready_is_told_in_one_sentence(tables: Tables, shelf: Path, as_json: bool) -> None:
    async with tables.as_owner() as owner:
        await owner.execute("ALTER TABLE publication RENAME TO gone")
    result = await tokenoutput_catalog("apply", shelf, *(["--json"] if as_json else []))
    said = msgspec.json.decode(result.stdout)["error"] if as_json else result.stderr
    assert (result.exit_code, 'relation "publication" does not exist' in said, said.count("\n")) == (
        1,
        True,
        not as_json,
    )
