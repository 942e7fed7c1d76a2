"""Everything that goes wrong from outside."""

import asyncio
import random
from typing import Final

from libs.runtime import postgres, redis
from services.billing.leases import Leases
from services.billing.portion import Amounts
from services.billing.store import accounts
from tests.simulator.accidents import Died
from tests.simulator.books import Books
from tests.simulator.oracle import Oracle
from tests.simulator.router import Router
from tests.simulator.server import RedisServer
from tests.simulator.variant import Variant

WEIGHTS: Final = {
    "flush": 30,
    "restart": 15,
    "old_copy": 20,
    "pause_billing": 10,
    "kill_router": 10,
    "lose_queue": 6,
    "freeze": 5,
    "revoke": 5,
    "goodbye": 5,
    "top_up": 15,
}


class Chaos:
    def __init__(
        self,
        *,
        server: RedisServer,
        client: redis.Client,
        pool: postgres.Pool,
        leases: Leases,
        books: Books,
        routers: list[Router],
        oracle: Oracle,
        chance: random.Random,
        variant: Variant,
    ) -> None:
        self._server, self._client, self._pool, self._leases = server, client, pool, leases
        self._books, self._routers, self._oracle = books, routers, oracle
        self._chance, self._variant = chance, variant
        self._weights = {**WEIGHTS, **variant.strikes}
        self.done: list[str] = []

    async def strike(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))
        what = self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        self.done.append(what)
        try:
            await getattr(self, what)()
        except (*redis.Failed, *postgres.TRANSIENT, Died):
            return

    async def flush(self) -> None:
        await self._client.flushall()

    async def restart(self) -> None:
        await self._server.restart()

    async def old_copy(self) -> None:
        await self._server.keep_copy()
        await asyncio.sleep(self._chance.uniform(0.2, 0.7))
        await self._server.come_back_old()

    async def pause_billing(self) -> None:
        self._books.paused = True
        await asyncio.sleep(self._chance.uniform(0.2, 1.2))
        self._books.paused = False

    async def kill_router(self) -> None:
        router = self._chance.choice(self._routers)
        router.kill()
        await asyncio.sleep(self._chance.uniform(0.1, 0.6))
        router.up = True

    async def lose_queue(self) -> None:
        self._books.queue.clear()

    async def goodbye(self) -> None:
        await self._chance.choice(self._routers).say_goodbye(self._pool)

    async def freeze(self) -> None:
        org = self._org()
        await self._frozen(org, "chaos")
        await self._leases.revoke(org)
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))
        await self._frozen(org, None)

    async def revoke(self) -> None:
        await self._leases.revoke(self._org())

    async def top_up(self) -> None:
        org, plan = self._org(), self._chance.random() < 0.3
        more = Amounts(0, 3000) if plan else Amounts(8000, 0)
        self._oracle.credited(org, more)
        async with self._pool.acquire() as connection, connection.transaction():
            kind: accounts.Kind = "cust_plan" if plan else "cust_cash"
            key = f"more:{org}:{self._chance.getrandbits(60)}"
            await accounts.credit_org(connection, org, more.total, key, "chaos", kind)
        await self._variant.topped_up(self._client, org, more.total)

    async def mend(self) -> None:
        """Nothing is broken on purpose any more."""
        self._books.paused = False
        for router in self._routers:
            router.up = True
        for org in self._oracle.credited_to:
            await self._frozen(org, None)

    async def _frozen(self, org: int, reason: str | None) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await accounts.freeze(connection, org, reason)

    def _org(self) -> int:
        return self._chance.choice(list(self._oracle.credited_to))
