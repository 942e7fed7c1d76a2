"""Callers, and the edge that admits them: it dies after the hold, dawdles, or finds no router."""

import asyncio
import random
from typing import Final
from uuid import UUID

from libs import ids
from libs.contracts.dispatch import Hold
from libs.errors import GatewayError
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds, Payer
from tests.simulator.events import CAP, KEYS, ask
from tests.simulator.router import Router
from tests.simulator.variant import Till, Variant

LEAST: Final = 100
MOST: Final = 900
MOST_OVER: Final = 300
LONG: Final = 0.6


class Edge:
    """One process: its own holds, any router. ``refused`` counts callers that were sent away."""

    def __init__(
        self, till: Till, holds: Holds, routers: list[Router], chance: random.Random, variant: Variant
    ) -> None:
        self._till = till
        self._holds = holds
        self._routers = routers
        self._chance = chance
        self._variant = variant
        self.refused = 0

    async def request(self, org: int) -> None:
        chance = self._chance
        number = chance.randrange(KEYS)
        payer = Payer(org, org * KEYS + number, CAP if number == KEYS - 1 else None)
        request = ids.uuid7(now_ms(), chance.randbytes(ids.RANDOM_BYTES))
        wanted = ask(chance.randint(LEAST, MOST), cap_given=chance.random() < 0.7)
        try:
            _, hold = await self._till(payer, request, wanted)
        except GatewayError:
            self.refused += 1
            return
        await self._dispatch(request, payer, hold)

    async def _dispatch(self, request: UUID, payer: Payer, hold: Hold) -> None:
        dice = self._chance.random()
        if dice < 0.03:
            return  # it died
        if dice < 0.05:
            await self._holds.settle(Ended(payer.org, request, 0))  # no router was there
            return
        if dice < 0.05 + self._variant.dawdles:
            await asyncio.sleep(self._chance.uniform(0, 2))
        router = self._chance.choice(self._routers)
        if router.start(request, payer, hold):
            await self._answer(router, request, payer, hold)
        else:
            await self._holds.settle(Ended(payer.org, request, 0))

    async def _answer(self, router: Router, request: UUID, payer: Payer, hold: Hold) -> None:
        """The provider's. Its router settles at once, if it does."""
        chance = self._chance
        await asyncio.sleep(min(chance.expovariate(20), LONG) if chance.random() < 0.9 else chance.uniform(0.2, LONG))
        if not router.runs(request):
            return
        over = chance.randint(1, MOST_OVER) if chance.random() < 0.05 else 0
        paid = router.finish(request, hold.amount + over if over else chance.randint(0, hold.amount))
        if chance.random() >= self._variant.loses:
            await self._holds.settle(Ended(payer.org, request, paid))
