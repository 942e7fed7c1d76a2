"""Billing as far as it reads: events in any order and twice, some parked and decided later, and holds settled again."""

import random
from typing import Final

from libs.contracts import usage
from libs.contracts.usage import UsageEvent
from libs.runtime import postgres
from libs.runtime.holds import Ended, Holds
from services.billing import parcel
from services.billing.poster import Poster
from services.billing.replay import NotToBeDecided, replay
from services.billing.store import parked
from services.billing.verdict import Judge
from tests.fixtures import samples
from tests.fixtures.books import accepted
from tests.simulator.events import PRICE, PRICE_ID
from tests.simulator.oracle import Oracle
from tests.simulator.router import Router

BATCH: Final = 200
TWICE: Final = 0.1
PARKED: Final = 0.02
PRICES: Final = {PRICE_ID: PRICE}


class Books:
    """``queue`` is the broker, which may lose all of it. While ``paused`` is set nothing is read."""

    def __init__(  # noqa: PLR0917 - its collaborators
        self,
        pool: postgres.Pool,
        holds: Holds,
        routers: list[Router],
        oracle: Oracle,
        chance: random.Random,
        loses: float,
    ) -> None:
        self._pool = pool
        self._holds = holds
        self._routers = routers
        self._oracle = oracle
        self._loses = loses
        self._chance = chance
        self._poster = Poster(pool, revenue_shard=0)
        self.queue: list[UsageEvent] = []
        self.paused = False
        self.parks = True

    async def ship(self) -> None:
        for router in self._routers:
            for event in router.ship():
                self.queue += [event] * (2 if self._chance.random() < TWICE else 1)

    async def read(self) -> None:
        if self.paused or not self.queue:
            return
        batch, self.queue = self.queue[:BATCH], self.queue[BATCH:]
        self._chance.shuffle(batch)
        odd = [event for event in batch if self.parks and self._chance.random() < PARKED]
        async with self._pool.acquire() as connection:
            await parked.park(connection, [_parcel(event) for event in odd])
        good = [accepted(event, PRICES) for event in batch if event not in odd]
        posted = await self._poster.post(good, PRICES)
        self._oracle.violations += [f"refused: {item.reason}" for item in posted.refused]
        await self._settle([Ended(item.event.org, item.event.request_id, paid) for item, paid in posted.booked])

    async def _settle(self, ended: list[Ended]) -> None:
        """Unless billing died just now."""
        if self._chance.random() >= self._loses:
            await self._holds.settle_all(ended)

    async def decide(self) -> None:
        """What is parked is booked after all, by the operators' own way."""
        async with self._pool.acquire() as connection:
            waiting = await parked.listed(connection, "parked", 100)
        for row in waiting:
            if self._chance.random() < 0.3 or not self.parks:
                try:
                    await replay(self._pool, self._poster, Judge(samples.HOLD_SECRET, {}), row.id)
                except NotToBeDecided:
                    continue


def _parcel(event: UsageEvent) -> parcel.Parcel:
    return parcel.of_event(usage.encode_event(event), "router", PRICES, {}, "odd")
