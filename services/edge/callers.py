"""Who is calling. A key is looked up by its digest and then trusted for a moment, so that a revocation bites on every
edge within that moment whether or not anybody was told."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web

from libs.errors import AuthenticationFailed, PermissionDenied, Unavailable
from libs.runtime import postgres
from services.edge import keys, store

log = structlog.get_logger()

MAX_CACHED: Final = 100_000
RETRY_AFTER: Final = 2


class Caller(msgspec.Struct, frozen=True):
    """An org and the key it calls with. ``cap``: nano-USD that the key may spend in its life; None for no limit."""

    org: int
    key: int
    name: str
    hint: str
    cap: int | None = None


class Callers:
    """Keys to callers, with what was seen in the last ``trusted_seconds``."""

    def __init__(
        self, pool: postgres.Pool, pepper: bytes, trusted_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._pepper = pepper
        self._trusted_seconds = trusted_seconds
        self._clock = clock
        self._seen: dict[bytes, tuple[float, Caller]] = {}
        self._looking: dict[bytes, asyncio.Task[Caller]] = {}

    async def identify(self, request: web.Request) -> Caller:
        """Raises AuthenticationFailed or PermissionDenied."""
        key = keys.from_headers(request.headers.get("authorization"), request.headers.get("x-api-key"))
        if key is None:
            raise AuthenticationFailed(
                "No API key given: send it as `Authorization: Bearer sk-to-…` or in the `x-api-key` header."
            )
        if not keys.well_formed(key):
            raise AuthenticationFailed("This is not a complete API key of this service: check how it was copied.")
        digest, now = keys.digest(key, self._pepper), self._clock()
        expires, caller = self._seen.get(digest, (0.0, None))
        if caller is None or now >= expires:
            caller = await self._find_once(digest)
            self._remember(digest, now, caller)
        return caller

    async def _find_once(self, digest: bytes) -> Caller:
        """However many requests come with one key at one moment, it is looked up once."""
        if digest not in self._looking:
            self._looking[digest] = looking = asyncio.create_task(self._find(digest))
            looking.add_done_callback(lambda _: self._looking.pop(digest))
        return await asyncio.shield(self._looking[digest])

    async def _find(self, digest: bytes) -> Caller:
        try:
            async with self._pool.acquire(timeout=2) as connection:
                row = await store.find_key(connection, digest)
        except postgres.TRANSIENT as error:
            log.warning("database_away", error=repr(error))
            raise Unavailable("Keys cannot be checked just now.", retry_after=RETRY_AFTER) from error
        if row is None or row.revoked_at is not None:
            self._seen.pop(digest, None)
            raise AuthenticationFailed("This API key is unknown or revoked.")
        if row.org_state != "active":
            self._seen.pop(digest, None)
            raise PermissionDenied("This account is suspended; contact support.")
        return Caller(org=row.org, key=row.key, name=row.name, hint=row.hint, cap=row.cap)

    def _remember(self, digest: bytes, now: float, caller: Caller) -> None:
        if len(self._seen) >= MAX_CACHED:
            self._seen.clear()
        self._seen[digest] = (now + self._trusted_seconds, caller)
