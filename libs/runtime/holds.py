"""Ending holds in Redis. The edge voids what never left, the router settles at once, billing settles again after its
commit: whoever comes second finds it gone. What Redis could not take now is given to it again, because a hold that is
forgotten is credit that its org never gets back."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from libs.contracts.account import lease_keys
from libs.runtime import redis

log = structlog.get_logger()

SETTLE: Final = (Path(__file__).parent / "settle.lua").read_text(encoding="utf-8")
AGAIN_SECONDS: Final = 1.0  # longer than a command may wait in a stalled Redis, so that no hold follows its own void
LAST_CALL_SECONDS: Final = 2
MOST_WAITING: Final = 100_000
IN_ONE_PIPELINE: Final = 500


class Ended(NamedTuple):
    """A hold that is over, and the nano-USD that its request cost."""

    org: int
    request_id: UUID
    cost: int


class Holds:
    """The holds of one Redis. Something has to run ``keep_trying`` beside it, and ``last_call`` after that."""

    def __init__(self, client: redis.Client) -> None:
        self._client = client
        self._script = client.register_script(SETTLE)
        self._waiting: dict[UUID, tuple[float, Ended]] = {}

    async def end(self, hold: Ended) -> bool:
        """Ends the hold; False when it was already gone. Raises one of ``redis.Failed``."""
        keys = lease_keys(hold.org)
        answer = await self._script(keys=[keys.lease, keys.holds], args=[hold.request_id.hex, hold.cost])
        return bool(answer[0] == "OK")

    async def settle(self, hold: Ended) -> None:
        """Ends the hold now, or as soon as Redis answers again."""
        try:
            await self.end(hold)
        except redis.Failed as error:
            log.warning("settle_waits", request_id=hold.request_id.hex, error=str(error))
            self.later(hold)
        except asyncio.CancelledError:
            self.later(hold)
            raise

    async def settle_all(self, holds: Iterable[Ended]) -> None:
        """The same for many, in few round trips."""
        left = list(holds)
        while left:
            now, left = left[:IN_ONE_PIPELINE], left[IN_ONE_PIPELINE:]
            for hold in await self._pipeline(now):
                self.later(hold)

    def later(self, hold: Ended, *, after: float = AGAIN_SECONDS) -> None:
        """Ends the hold in a moment: also one that Redis may have made although it did not say so. ``after``: seconds
        in which somebody else may still end it with what it cost."""
        if len(self._waiting) >= MOST_WAITING:
            forgotten = self._waiting.pop(next(iter(self._waiting)))
            log.error("hold_forgotten", org=forgotten[1].org, request_id=forgotten[1].request_id.hex)
        self._waiting[hold.request_id] = (time.monotonic() + after, hold)

    async def keep_trying(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            now = time.monotonic()
            await self._try_again([hold for at, hold in self._waiting.values() if at <= now])

    async def last_call(self) -> None:
        """Before the process ends: nobody else would end some of these. Those that somebody else may still end with
        what they cost are left to him."""
        soon = time.monotonic() + AGAIN_SECONDS
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                await self._try_again([hold for at, hold in self._waiting.values() if at <= soon])
        except TimeoutError:
            log.warning("holds_left", holds=len(self._waiting))

    async def _try_again(self, holds: list[Ended]) -> None:
        for start in range(0, len(holds), IN_ONE_PIPELINE):
            tried = holds[start : start + IN_ONE_PIPELINE]
            left = {hold.request_id for hold in await self._pipeline(tried)}
            for hold in tried:
                if hold.request_id not in left:
                    self._waiting.pop(hold.request_id, None)

    async def _pipeline(self, holds: list[Ended]) -> list[Ended]:
        """Those that Redis did not end."""
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for hold in holds:
                    keys = lease_keys(hold.org)
                    await self._script(
                        keys=[keys.lease, keys.holds], args=[hold.request_id.hex, hold.cost], client=pipe
                    )
                answers = await pipe.execute(raise_on_error=False)
        except redis.Failed as error:
            log.warning("settle_waits", holds=len(holds), error=str(error))
            return holds
        return [hold for hold, answer in zip(holds, answers, strict=True) if isinstance(answer, Exception)]
