"""Holds in Redis: made inside a lease, and ended. The edge voids what never left, the router settles at once, billing
settles again after its commit: whoever comes second finds it gone. What Redis could not take now is given to it again,
because a hold that is forgotten is credit that its org has to wait for."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple
from uuid import UUID

import structlog

from libs.contracts.account import lease_keys
from libs.contracts.dispatch import Hold
from libs.runtime import redis

log = structlog.get_logger()

HOLD: Final = (Path(__file__).parent / "hold.lua").read_text(encoding="utf-8")
SETTLE: Final = (Path(__file__).parent / "settle.lua").read_text(encoding="utf-8")
AGAIN_SECONDS: Final = 1.0  # longer than a command may wait in a stalled Redis, so that no hold follows its own void
LAST_CALL_SECONDS: Final = 2
MOST_WAITING: Final = 100_000
IN_ONE_PIPELINE: Final = 500


Why = Literal["cold", "need", "keycold", "keycap"]


class Payer(NamedTuple):
    """Who a hold is for. ``cap``: nano-USD that the key may spend in its life; None for no limit."""

    org: int
    key: int = 0
    cap: int | None = None


class NotTaken(NamedTuple):
    """Why there is no hold, and the nano-USD that could be held.

    ``cold`` — this Redis has no lease of the org; ``need`` — too little is left in it; ``keycold`` — the lease does not
    know what the key spent before it; ``keycap`` — the key may not spend that much any more. ``doubt``: how much of
    what counts against the cap may yet turn out not to have been spent by it.
    """

    why: Why
    left: int = 0
    doubt: int = 0


class Ended(NamedTuple):
    """A hold that is over, and the nano-USD that its request cost."""

    org: int
    request_id: UUID
    cost: int


class Holds:
    """The holds of one Redis. Something has to run ``keep_trying`` beside it, and ``last_call`` after that."""

    def __init__(self, client: redis.Client) -> None:
        self._client = client
        self._hold = client.register_script(HOLD)
        self._settle = client.register_script(SETTLE)
        self._waiting: dict[UUID, tuple[float, Ended]] = {}

    async def take(
        self, payer: Payer, request_id: UUID, need: int, *, shard: str, again: bool = False
    ) -> Hold | NotTaken:
        """Sets ``need`` nano-USD aside. The same request again gets the hold that it has.

        Raises one of ``redis.Failed``. What may have been made all the same is then ended in a moment; but not for
        somebody who may ask for the same request ``again`` and go on with it.
        """
        keys = lease_keys(payer.org)
        cap = "" if payer.cap is None else payer.cap
        try:
            answer = await self._hold(
                keys=[keys.lease, keys.holds, keys.keys], args=[request_id.hex, need, payer.key, cap]
            )
        except (*redis.Failed, asyncio.CancelledError):
            if not again:
                self.later(Ended(payer.org, request_id, 0))
            raise
        return _read(answer, shard)

    async def end(self, hold: Ended) -> bool:
        """Ends the hold; False when it was already gone. Raises one of ``redis.Failed``."""
        answer = await self._end(hold, self._client)
        return bool(answer[0] == "OK")

    def _end(self, hold: Ended, client: redis.Client) -> Awaitable[list[str]]:
        keys = lease_keys(hold.org)
        answer: Awaitable[list[str]] = self._settle(
            keys=[keys.lease, keys.holds, keys.keys], args=[hold.request_id.hex, hold.cost], client=client
        )
        return answer

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
        keys = [lease_keys(hold.org) for hold in holds]
        try:
            answers = await redis.run_many(
                self._client,
                self._settle,
                [(key.lease, key.holds, key.keys) for key in keys],
                [(hold.request_id.hex, hold.cost) for hold in holds],
            )
        except redis.Failed as error:
            log.warning("settle_waits", holds=len(holds), error=str(error))
            return holds
        return [hold for hold, answer in zip(holds, answers, strict=True) if isinstance(answer, Exception)]


def _read(answer: list[str], shard: str) -> Hold | NotTaken:
    state, *numbers = answer
    if state in ("OK", "DUP"):
        epoch, cash, plan, authorized_at = map(int, numbers)
        return Hold(cash=cash, plan=plan, epoch=epoch, shard=shard, authorized_at=authorized_at)
    why: Why = state.lower()  # type: ignore[assignment] # the script answers nothing else
    return NotTaken(why, *map(int, numbers))
