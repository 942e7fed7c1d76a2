"""The last good snapshot of the shelf, kept fresh in the background by whoever needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import structlog

from libs.contracts import catalog
from libs.runtime import backoff, client
from libs.runtime.health import Health
from libs.runtime.identity import Identity
from libs.runtime.tasks import running

log = structlog.get_logger()


class LiveShelf:
    """Holds the newest Shelf; while the catalog is away, the last good one."""

    def __init__(self) -> None:
        self.shelf = catalog.EMPTY
        self.etag = ""

    def take(self, body: bytes, etag: str) -> None:
        """Raises ``msgspec.DecodeError`` and keeps what it has when ``body`` is no snapshot."""
        self.shelf, self.etag = catalog.Shelf(catalog.decode(body)), etag


@asynccontextmanager
async def following(
    url: str, identity: Identity, health: Health, session: aiohttp.ClientSession
) -> AsyncIterator[LiveShelf]:
    """A LiveShelf that follows the catalog service at ``url`` until the context ends."""
    live = LiveShelf()
    health.report("catalog", "no catalog snapshot yet")
    async with running(health, "follow the catalog", _follow(live, url, identity, health, session)):
        yield live


async def _follow(
    live: LiveShelf, url: str, identity: Identity, health: Health, session: aiohttp.ClientSession
) -> None:
    failures = 0
    while True:
        try:
            if await _fetch(live, url, identity, session):
                log.info("catalog_taken", version=live.shelf.snapshot.version, models=len(live.shelf.models))
            health.report("catalog", None if live.etag else "no catalog snapshot yet")
            failures = 0
        except (*client.Failed, msgspec.DecodeError, ValueError) as error:
            log.warning("catalog_away", error=repr(error), keeping=live.shelf.snapshot.version)
            failures += 1
            await asyncio.sleep(backoff.after(failures))


async def _fetch(live: LiveShelf, url: str, identity: Identity, session: aiohttp.ClientSession) -> bool:
    headers = {**identity.authorization("catalog"), "if-none-match": live.etag}
    wait = catalog.MAX_WAIT_SECONDS if live.etag else 0
    async with session.get(
        f"{url}{catalog.SNAPSHOT_PATH}",
        params={"wait": str(wait)},
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=wait + 10, sock_connect=3),
    ) as response:
        if response.status == 304:
            return False
        response.raise_for_status()
        live.take(await response.read(), response.headers.get("etag", ""))
        return True
