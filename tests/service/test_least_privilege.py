"""Each service's role in PostgreSQL: its own schema, and there no more than its work needs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import asyncpg
import pytest

from libs.runtime.postgres import Connection
from tests.fixtures.stores import Database

ROLES: Final = ("edge", "billing", "catalog")
TABLE_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
HISTORY: Final = {"INSERT", "SELECT"}
STATE: Final = {"INSERT", "SELECT", "UPDATE"}
# What a role may do to whole tables. A table that is not here is in nobody's reach but its owner's.
RIGHTS: Final[dict[str, set[str]]] = {
    "edge.org": STATE,
    "edge.api_key": STATE,
    "billing.account": STATE,
    "billing.balance": STATE,
    "billing.lease": STATE,
    "billing.key_spend": STATE,
    "billing.router": STATE,
    "billing.parked": STATE,
    "billing.transfer": HISTORY,
    "billing.charge": HISTORY,
    "billing.price_version": HISTORY,
    "billing.anomaly": HISTORY,
    "billing.statement": HISTORY,
    "catalog.publication": HISTORY,
    "catalog.price_version": HISTORY,
    "catalog.price_period": HISTORY,
    "catalog.provider": HISTORY | {"DELETE"},
    "catalog.provider_protocol": HISTORY | {"DELETE"},
    "catalog.model": HISTORY | {"DELETE"},
    "catalog.offer": HISTORY | {"DELETE"},
    "catalog.credential": HISTORY | {"DELETE"},
    "catalog.pause": HISTORY | {"DELETE"},
}
FORBIDDEN: Final = [
    ("edge", "SELECT 1 FROM billing.balance"),
    ("edge", "SELECT 1 FROM billing.transfer"),
    ("edge", "SELECT 1 FROM billing.charge"),
    ("edge", "SELECT 1 FROM billing.lease"),
    ("edge", "SELECT 1 FROM billing.key_spend"),
    ("edge", "SELECT 1 FROM billing.parked"),
    ("edge", "INSERT INTO billing.transfer DEFAULT VALUES"),
    ("edge", "UPDATE billing.balance SET posted = posted + 1"),
    ("edge", "SELECT billing.ensure_partitions(1)"),
    ("edge", "SELECT sealed FROM catalog.credential"),
    ("edge", "DELETE FROM edge.api_key"),
    ("edge", "DELETE FROM edge.org"),
    ("edge", "TRUNCATE edge.api_key"),
    ("catalog", "SELECT 1 FROM billing.balance"),
    ("catalog", "UPDATE billing.balance SET posted = 0"),
    ("catalog", "SELECT digest FROM edge.api_key"),
    ("catalog", "UPDATE catalog.price_version SET price = '{}'"),
    ("catalog", "DELETE FROM catalog.price_version"),
    ("catalog", "UPDATE catalog.price_period SET price_id = ''"),
    ("billing", "SELECT digest FROM edge.api_key"),
    ("billing", "UPDATE edge.org SET state = 'active'"),
    ("billing", "SELECT sealed FROM catalog.credential"),
    ("billing", "UPDATE billing.transfer SET amount = amount"),
    ("billing", "DELETE FROM billing.transfer"),
    ("billing", "TRUNCATE billing.transfer"),
    ("billing", "UPDATE billing.charge SET cash = cash"),
    ("billing", "DELETE FROM billing.charge"),
    ("billing", "TRUNCATE billing.charge"),
    ("billing", "UPDATE billing.price_version SET seen_at = seen_at"),
    ("billing", "DELETE FROM billing.price_version"),
    ("billing", "TRUNCATE billing.price_version"),
    ("billing", "UPDATE billing.statement SET closing = closing"),
    ("billing", "DELETE FROM billing.statement"),
    ("billing", "TRUNCATE billing.statement"),
    ("billing", "UPDATE billing.anomaly SET detail = detail"),
    ("billing", "DELETE FROM billing.anomaly"),
    ("billing", "TRUNCATE billing.anomaly"),
    ("billing", "DELETE FROM billing.balance"),
    ("billing", "DELETE FROM billing.lease"),
    ("billing", "DELETE FROM billing.key_spend"),
    ("billing", "DELETE FROM billing.parked"),
    ("billing", "DELETE FROM billing.router"),
    ("billing", "ALTER TABLE billing.charge DISABLE TRIGGER ALL"),
    ("billing", "DROP TRIGGER transfer_append_only ON billing.transfer"),
    ("billing", "DROP TABLE billing.charge"),
    ("billing", "ALTER TABLE billing.charge ADD COLUMN more INT"),
    ("billing", "CREATE OR REPLACE FUNCTION billing.refuse_change() RETURNS TRIGGER LANGUAGE sql AS ''"),
]
EVERYBODY: Final = (
    "CREATE TABLE {0}.mine (a INT)",
    "CREATE TABLE public.mine (a INT)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION pg_trgm",
    "CREATE FUNCTION {0}.mine() RETURNS INT LANGUAGE sql AS 'SELECT 1'",
    "SELECT * FROM public.tokenoutput_migration",
    "SET session_replication_role = replica",
    "SET ROLE tokenoutput",
    "ALTER ROLE tokenoutput PASSWORD 'x'",
    "SELECT pg_read_file('postgresql.conf')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT rolpassword FROM pg_authid",
)


@pytest.fixture(scope="module")
async def connections(fresh_database: Database) -> AsyncIterator[dict[str, Connection]]:
    """Each role's, and the owner's."""
    async with AsyncExitStack() as stack:
        found: dict[str, Connection] = {}
        for role in ("owner", *ROLES):
            found[role] = connection = await asyncpg.connect(getattr(fresh_database, f"{role}_url"))
            stack.push_async_callback(connection.close)
        yield found


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN)
async def test_a_role_does_not_do_what_is_not_its_work(
    connections: dict[str, Connection], role: str, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connections[role].execute(statement)


@pytest.mark.parametrize("statement", EVERYBODY)
@pytest.mark.parametrize("role", ROLES)
async def test_no_role_makes_anything_or_becomes_somebody_else(
    connections: dict[str, Connection], role: str, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connections[role].execute(statement.format(role))


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reads_what_is_its_own(connections: dict[str, Connection], role: str) -> None:
    tables = [table for table in RIGHTS if table.startswith(f"{role}.")]
    for table in tables:
        assert await connections[role].fetchval(f"SELECT count(*) FROM {table}") is not None  # noqa: S608 - named above
    assert tables


async def test_billing_makes_partitions_without_a_right_to_make_tables(connections: dict[str, Connection]) -> None:
    await connections["billing"].execute("SELECT billing.ensure_partitions(4)")
    made = await connections["owner"].fetchval(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'billing.charge'::regclass"
    )
    assert made == 7


@pytest.mark.parametrize("role", ROLES)
async def test_a_roles_rights_on_tables_are_these_and_no_others(connections: dict[str, Connection], role: str) -> None:
    """Also on tables that come later: whoever adds one has to say here who may do what with it."""
    rows = await connections["owner"].fetch(
        """
        SELECT format('%s.%s', n.nspname, c.relname) AS name,
               array(SELECT p FROM unnest($2::TEXT[]) AS p WHERE has_table_privilege($1, c.oid, p)) AS rights,
               c.relispartition AS part
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        """,
        f"tokenoutput_{role}",
        list(TABLE_RIGHTS),
    )
    found = {row["name"]: set(row["rights"]) for row in rows}
    mine = {name for name in found if name.startswith(f"{role}.") and name in RIGHTS}
    assert {name: rights for name, rights in found.items() if rights} == {name: RIGHTS[name] for name in mine}
    assert mine == {name for name in RIGHTS if name.startswith(f"{role}.")}
    assert {row["name"] for row in rows if not row["part"]} == {*RIGHTS, "public.tokenoutput_migration"}


async def test_the_catalog_changes_two_columns_of_what_it_only_adds_to(connections: dict[str, Connection]) -> None:
    rows = await connections["owner"].fetch(
        """
        SELECT DISTINCT table_schema || '.' || table_name || '.' || column_name AS name
        FROM information_schema.column_privileges
        WHERE grantee = 'tokenoutput_catalog' AND privilege_type = 'UPDATE'
        """
    )
    assert {row["name"] for row in rows} == {
        "catalog.price_period.valid_until",
        "catalog.credential.sealed",
        "catalog.pause.reason",
    }


async def test_roles_are_plain_and_the_router_has_none(connections: dict[str, Connection]) -> None:
    rows = await connections["owner"].fetch(
        """
        SELECT rolname,
               rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS mighty,
               (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS memberships,
               (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owned
        FROM pg_roles AS r WHERE rolname LIKE 'tokenoutput\\_%'
        """
    )
    assert {tuple(row) for row in rows} == {(f"tokenoutput_{role}", False, 0, 0) for role in ROLES}
