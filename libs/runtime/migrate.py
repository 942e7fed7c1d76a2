"""Numbered SQL files per service, applied once each, in order, under one lock, never edited afterwards.

A service owns a schema of its own name and a role ``tokenoutput_<service>`` that its files grant rights to. The role is
made here, with the password of the service's own database URL, so that files need no secret.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg
import stamina
import structlog

from libs.runtime.postgres import Connection

log = structlog.get_logger()

LOCK: Final = 0x746F6B656E  # "token"
RACES: Final = (asyncpg.InternalServerError, asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError)
FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
RECORD: Final = """
CREATE TABLE IF NOT EXISTS public.tokenoutput_migration (
    service TEXT NOT NULL,
    number INT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (service, number)
)
"""


class MigrationError(SystemExit):
    """The files and the database disagree; nothing was applied."""


class Owner(NamedTuple):
    """A service that owns tables: its name, its files, and the URL it will connect with."""

    name: str
    folder: Path
    url: str


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def files_of(folder: Path) -> list[Migration]:
    """The folder's migrations in order. Numbers start at 1 and leave no gap. Raises MigrationError."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path} is not named like 0001_what_it_does.sql")
        found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    if not found:
        raise MigrationError(f"there is no migration in {folder}")  # a build that left them out is not up to date
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"the numbers in {folder} are not 1, 2, 3 …")
    return found


async def migrate(url: str, owners: Sequence[Owner]) -> list[str]:
    """Brings every schema up to date as the database's owner. Returns what was applied, as ``service/file``."""
    connection: Connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        await connection.execute(RECORD)
        applied: list[str] = []
        for owner in owners:
            await _ensure_role(connection, owner)
            applied += await _bring_up(connection, owner)
        return applied
    finally:
        await connection.close()


async def _bring_up(connection: Connection, owner: Owner) -> list[str]:
    names = []
    for migration in await _missing(connection, owner):
        async with connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {owner.name}; SET LOCAL lock_timeout = '4s'")
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO public.tokenoutput_migration (service, number, name, sha256) VALUES ($1, $2, $3, $4)",
                owner.name,
                migration.number,
                migration.name,
                migration.sha256,
            )
        names.append(f"{owner.name}/{migration.name}")
        log.info("migrated", file=names[-1])
    return names


async def _missing(connection: Connection, owner: Owner) -> list[Migration]:
    rows = await connection.fetch(
        "SELECT number, name, sha256 FROM public.tokenoutput_migration WHERE service = $1", owner.name
    )
    known = {row["number"]: row["sha256"] for row in rows}
    files = files_of(owner.folder)
    for migration in files:
        if known.get(migration.number, migration.sha256) != migration.sha256:
            raise MigrationError(f"{owner.name}/{migration.name} was edited after it had been applied")
    return [migration for migration in files if migration.number not in known]


async def _ensure_role(connection: Connection, owner: Owner) -> None:
    role, parts = f"tokenoutput_{owner.name}", urlsplit(owner.url)
    if parts.username != role:
        raise MigrationError(f"the {owner.name} service must connect as {role}, not as {parts.username}")
    async for attempt in stamina.retry_context(on=RACES, attempts=10, wait_initial=0.05, wait_max=0.5):
        with attempt:  # roles are the cluster's: another database's migration may write the same one just now
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} LOGIN")
            quoted = await connection.fetchval("SELECT quote_literal($1)", unquote(parts.password or ""))
            await connection.execute(f"ALTER ROLE {role} PASSWORD {quoted}")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {owner.name}")
    await connection.execute(f"GRANT USAGE ON SCHEMA {owner.name} TO {role}")
