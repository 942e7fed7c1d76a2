"""The edge's tables: orgs and their keys."""

from datetime import datetime

import msgspec

from libs.runtime.postgres import Connection


class KeyRow(msgspec.Struct, frozen=True):
    """A key as the door needs it."""

    key: int
    org: int
    name: str
    org_name: str
    hint: str
    org_state: str
    revoked_at: datetime | None
    cap: int | None


async def create_org(connection: Connection, name: str) -> int:
    return int(await connection.fetchval("INSERT INTO org (name) VALUES ($1) RETURNING org_id", name))


async def org_exists(connection: Connection, org: int) -> bool:
    return bool(await connection.fetchval("SELECT 1 FROM org WHERE org_id = $1", org))


async def create_key(connection: Connection, org: int, name: str, digest: bytes, hint: str, *, cap: int | None) -> int:
    return int(
        await connection.fetchval(
            "INSERT INTO api_key (org_id, name, digest, hint, cap_nano) VALUES ($1, $2, $3, $4, $5) RETURNING key_id",
            org,
            name,
            digest,
            hint,
            cap,
        )
    )


async def revoke_key(connection: Connection, key: int) -> bool:
    """False when there is no such key or it was revoked before."""
    tag = await connection.execute(
        "UPDATE api_key SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL", key
    )
    return tag == "UPDATE 1"


async def find_key(connection: Connection, digest: bytes) -> KeyRow | None:
    row = await connection.fetchrow(
        """
        SELECT k.key_id, o.org_id, k.name, o.name AS org_name, k.hint, o.state, k.revoked_at, k.cap_nano
        FROM api_key k JOIN org o USING (org_id) WHERE k.digest = $1
        """,
        digest,
    )
    return KeyRow(*row) if row else None
