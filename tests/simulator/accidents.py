"""Billing between its ledger and Redis: it pauses, dies, is heard late, or does not hear the answer."""

import asyncio
import random
from typing import Any, Final

from libs.runtime import redis
from services.billing.leases import Leases

PAUSE: Final = 0.06
DEATH: Final = 0.03
LATE: Final = 0.03
UNHEARD: Final = 0.03
LONGEST: Final = 0.4


class Died(Exception):
    """The process is gone; nothing after this line happened."""


class Accidents:
    """Something has to wait for ``late`` at the end."""

    def __init__(self, chance: random.Random, late: float = LATE) -> None:
        self._chance = chance
        self._late = late
        self.late: set[asyncio.Task[Any]] = set()

    def around(self, leases: Leases) -> Leases:
        leases._create = self._script(leases._create)
        leases._grant = self._script(leases._grant)
        return leases

    def _script(self, script: redis.Script) -> Any:
        async def run(**call: Any) -> Any:
            dice = self._chance.random()
            if dice < PAUSE:
                await asyncio.sleep(self._chance.uniform(0, LONGEST))
            elif dice < PAUSE + DEATH:
                raise Died
            elif dice < PAUSE + DEATH + self._late:
                self._later(script, call)
                raise Died
            elif dice < PAUSE + DEATH + self._late + UNHEARD:
                await script(**call)
                raise TimeoutError
            return await script(**call)

        return run

    def _later(self, script: redis.Script, call: dict[str, Any]) -> None:
        async def run() -> None:
            await asyncio.sleep(self._chance.uniform(0, LONGEST))
            try:
                await script(**call)
            except redis.Failed:
                return

        task = asyncio.create_task(run())
        self.late.add(task)
        task.add_done_callback(self.late.discard)
