"""What an operator lays over the shelf: stored credentials and pauses. The caller opens the transaction."""

from typing import Final

from libs.runtime.postgres import Connection
from services.catalog.overlay import Kind, Stored

_INSERT: Final = """
    INSERT INTO credential (id, provider, origin, sealed, weight, max_concurrent)
    VALUES ($1, $2, 'stored', $3, $4, $5)
"""
_PAUSE: Final = """
    INSERT INTO pause (kind, id, reason) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET reason = $3
"""


async def add(connection: Connection, credential: Stored) -> None:
    await connection.execute(
        _INSERT, credential.id, credential.provider, credential.sealed, credential.weight, credential.max_concurrent
    )


async def reseal(connection: Connection, credential: str, sealed: str) -> None:
    await connection.execute(
        "UPDATE credential SET sealed = $2 WHERE id = $1 AND origin = 'stored'", credential, sealed
    )


async def remove(connection: Connection, credential: str) -> None:
    """The stored credential and its pause."""
    await connection.execute("DELETE FROM credential WHERE id = $1 AND origin = 'stored'", credential)
    await resume(connection, "credential", credential)


async def pause(connection: Connection, kind: Kind, name: str, reason: str) -> None:
    """What is paused already keeps its moment and gets the new reason."""
    await connection.execute(_PAUSE, kind, name, reason)


async def resume(connection: Connection, kind: Kind, name: str) -> None:
    await connection.execute("DELETE FROM pause WHERE kind = $1 AND id = $2", kind, name)
