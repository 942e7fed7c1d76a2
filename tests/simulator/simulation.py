"""One run: clients, edges, routers, billing and chaos for some seconds, then rest, then the accounts."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from structlog.testing import capture_logs

from libs.runtime import postgres, redis
from services.billing.store import accounts
from tests.simulator import final
from tests.simulator.accidents import Accidents, Died
from tests.simulator.books import Books
from tests.simulator.chaos import Chaos
from tests.simulator.clients import Edge
from tests.simulator.events import CREDIT
from tests.simulator.oracle import Oracle
from tests.simulator.server import RedisServer
from tests.simulator.variant import Variant

CLIENTS: Final = 24
EDGES: Final = 2
ROUTERS: Final = 3
REDIS_SECONDS: Final = 0.5
STRIKES: Final = 6
DISPATCHED: Final = 150
EXTRA_SECONDS: Final = 8
AWAY: Final = (*redis.Failed, *postgres.TRANSIENT, Died)


class Verdict(NamedTuple):
    """``violations``: what an org could not pay for; ``difference``: the first thing that is wrong at the end."""

    dispatched: int
    refused: int
    strikes: int
    violations: list[str]
    difference: str | None

    @property
    def clean(self) -> bool:
        return not self.violations and self.difference is None


class Simulation:
    """``patience``: seconds in which everything has to come to rest."""

    def __init__(self, server: RedisServer, seed: int, variant: Variant, *, patience: float) -> None:
        self._server = server
        self._chance = random.Random(seed)  # noqa: S311 - chaos, no secret
        self._variant = variant
        self._patience = patience
        self._end = 0.0
        self.oracle = Oracle()

    async def run(self, database_url: str, seconds: float) -> Verdict:
        async with AsyncExitStack() as stack:
            said = stack.enter_context(capture_logs())
            await self._set_up(stack, database_url)
            async with AsyncExitStack() as background:
                await self._live(background, seconds)
                await self._chaos.mend()
                difference = await self._rest()
        self.oracle.violations += sorted({entry["event"] for entry in said if _is_alarm(entry)})
        refused = sum(edge.refused for edge in self._edges)
        return Verdict(len(self.oracle.requests), refused, self._strikes, self.oracle.violations, difference)

    async def _set_up(self, stack: AsyncExitStack, database_url: str) -> None:
        variant, chance, stores = self._variant, self._chance, self._server.stores
        pool = self._pool = await stack.enter_async_context(postgres.pool(database_url, "billing", 10))
        client = self._client = await stack.enter_async_context(self._redis(stores.redis_url, 1))
        await client.flushall()
        once = await stack.enter_async_context(self._redis(stores.billing_redis_url, 0))
        settling = await stack.enter_async_context(self._redis(stores.billing_redis_url, 1))
        at_door = await stack.enter_async_context(self._redis(variant.door(stores), 1))
        await self._credit(pool)
        self._accidents = Accidents(chance, variant.late)
        self._routers = [variant.router(f"spool{n}", self.oracle, chance) for n in range(ROUTERS)]
        self._holds = [variant.holds(settling), *(variant.holds(at_door) for _ in range(EDGES))]
        leases = [variant.leases(pool, once) for _ in range(EDGES)]
        tills = [
            variant.till(pool, holds, mine, self._accidents)
            for holds, mine in zip(self._holds[1:], leases, strict=True)
        ]
        self._edges = [
            Edge(till, holds, self._routers, chance, variant)
            for till, holds in zip(tills, self._holds[1:], strict=True)
        ]
        self._books = Books(pool, self._holds[0], self._routers, self.oracle, chance, variant.loses_again)
        self._reclaimer = variant.reclaimer(pool, settling, variant.leases(pool, once), self._holds[0])
        self._chaos = Chaos(
            server=self._server,
            client=client,
            pool=pool,
            leases=variant.leases(pool, once),
            books=self._books,
            routers=self._routers,
            oracle=self.oracle,
            chance=chance,
            variant=variant,
        )

    @asynccontextmanager
    async def _redis(self, url: str, retries: int) -> AsyncIterator[redis.Client]:
        async with redis.client(url, seconds=REDIS_SECONDS, retries=retries) as client:
            yield client

    async def _credit(self, pool: postgres.Pool) -> None:
        async with pool.acquire() as connection, connection.transaction():
            for org in range(1, self._variant.orgs + 1):
                self.oracle.credited(org, CREDIT)
                await accounts.credit_org(connection, org, CREDIT.cash, f"start:{org}", "simulator")
                await accounts.credit_org(connection, org, CREDIT.plan, f"plan:{org}", "simulator", "cust_plan")
        await self._variant.prepare(pool, list(self.oracle.credited_to))

    async def _live(self, background: AsyncExitStack, seconds: float) -> None:
        """Until the time is over or something is wrong. What supports it goes on in the background."""
        for work, every in (
            (self._books.ship, 0.02),
            (self._books.read, 0.03),
            (self._books.decide, 0.3),
            (self._report, 0.1),
            (self._reclaimer.turn, 0.2),
        ):
            await background.enter_async_context(_running(self._over_and_over(work, every)))
        for holds in self._holds:
            await background.enter_async_context(_running(holds.keep_trying()))
        self._end = time.monotonic() + seconds
        await asyncio.gather(self._strike(), *(self._call(self._edges[n % EDGES]) for n in range(CLIENTS)))

    @property
    def _goes_on(self) -> bool:
        """Long enough, and until enough has happened; a machine that stalls is given time, though not for ever."""
        now, enough = time.monotonic(), self._strikes >= STRIKES and len(self.oracle.requests) >= DISPATCHED
        return not self.oracle.violations and (now < self._end or (not enough and now < self._end + EXTRA_SECONDS))

    @property
    def _strikes(self) -> int:
        return len(self._chaos.done)

    async def _strike(self) -> None:
        while self._goes_on:
            await self._chaos.strike()

    async def _call(self, edge: Edge) -> None:
        while self._goes_on:
            await edge.request(self._chance.randint(1, self._variant.orgs))
            await asyncio.sleep(self._chance.uniform(0, 0.06))

    async def _report(self) -> None:
        for router in self._routers:
            await router.report(self._pool)

    async def _over_and_over(self, work: Callable[[], Awaitable[Any]], every: float) -> None:
        while True:
            with suppress(*AWAY):
                await work()
            await asyncio.sleep(every)

    async def _rest(self) -> str | None:
        """The difference that stays."""
        self._books.parks = False
        await asyncio.gather(*self._accidents.late)
        end = time.monotonic() + self._patience
        while True:
            await asyncio.sleep(0.3)
            found = await final.first_difference(self._pool, self._client, self.oracle)
            if found is None or found.lasting or self.oracle.violations or time.monotonic() > end:
                return found.what if found else None


def _is_alarm(entry: Any) -> bool:
    """Whether billing itself says that somebody has to look. Clocks seem apart where a machine stalls."""
    return entry["log_level"] in ("error", "critical") and entry["event"] != "clocks_apart"


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        failed = task.exception() if task.done() and not task.cancelled() else None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if failed is not None:
            raise failed
