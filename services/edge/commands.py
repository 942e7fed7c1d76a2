"""The operator's commands that concern orgs and keys."""

import secrets
from contextlib import AbstractAsyncContextManager

from libs.runtime import postgres
from services.edge import keys, store
from services.edge.settings import EdgeSettings


def _connected(settings: EdgeSettings) -> AbstractAsyncContextManager[postgres.Connection]:
    return postgres.connected(settings.database_url.get_secret_value(), "edge")


class NoSuchOrg(LookupError):
    """The org does not exist."""


async def create_org(settings: EdgeSettings, name: str) -> int:
    async with _connected(settings) as connection:
        return await store.create_org(connection, name)


async def org_exists(settings: EdgeSettings, org: int) -> bool:
    async with _connected(settings) as connection:
        return await store.org_exists(connection, org)


async def create_key(settings: EdgeSettings, org: int, name: str, cap: int | None = None) -> tuple[int, str]:
    """The key's id and its text, which is shown here and never again. ``cap``: nano-USD that it may spend in its life.
    Raises NoSuchOrg."""
    key = keys.mint(secrets.token_bytes(keys.RANDOM_BYTES))
    digest = keys.digest(key, settings.key_pepper.get_secret_value().encode())
    async with _connected(settings) as connection:
        if not await store.org_exists(connection, org):
            raise NoSuchOrg(f"there is no org {org}")
        return await store.create_key(connection, org, name, digest, keys.hint(key), cap=cap), key


async def revoke_key(settings: EdgeSettings, key: int) -> bool:
    """False when there is no such key or it was revoked before."""
    async with _connected(settings) as connection:
        return await store.revoke_key(connection, key)
