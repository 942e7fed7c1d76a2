"""A Redis server of the simulator's own: it may be killed, and come back with an old copy of its data."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local import ports, processes
from tests.fixtures import servers as private
from tests.fixtures.servers import BASES, Servers


class RedisServer:
    def __init__(self, servers: Servers) -> None:
        self._part = servers.part("redis")
        self._data = servers.stack.run_dir / "redis" / "data"
        self._copy = servers.stack.run_dir / "redis" / "copy"
        self.stores = servers.stack.stores
        self.lock = asyncio.Lock()

    async def restart(self) -> None:
        """Without warning, with the data that it had on disk."""
        async with self.lock:
            await asyncio.to_thread(processes.kill, self._part.record)
            await asyncio.to_thread(self._part.start)

    async def keep_copy(self) -> None:
        """As a replica that stops listening does."""
        async with self.lock:
            await asyncio.to_thread(self._copied, self._data, self._copy)

    async def come_back_old(self) -> None:
        """Without warning, with the copy."""
        async with self.lock:
            await asyncio.to_thread(processes.kill, self._part.record)
            await asyncio.to_thread(self._copied, self._copy, self._data)
            await asyncio.to_thread(self._part.start)

    def _copied(self, source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            shutil.copytree(source, target)


@asynccontextmanager
async def own_redis(folder: Path) -> AsyncIterator[RedisServer]:
    """On a port of its own; gone afterwards."""
    claim = ports.claim(BASES)
    folder = folder / f"simulator-{claim.base}"
    servers = private.open_servers(folder, claim.base)
    await asyncio.to_thread(servers.need, "redis")
    try:
        yield RedisServer(servers)
    finally:
        private.end(folder)
        shutil.rmtree(folder, ignore_errors=True)
        claim.close()
