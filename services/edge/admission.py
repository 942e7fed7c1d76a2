"""May this request go? Sets its worst case aside in Redis, asking billing for more leased credit when there is too
little. Money fails closed: without Redis or billing the answer is 503, never a free ride."""

import asyncio
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from libs.contracts.account import LeaseAnswer
from libs.contracts.dispatch import Hold
from libs.errors import BillingRecovering, Unavailable
from libs.runtime import redis
from libs.runtime.holds import Holds, NotTaken, Payer
from services.edge import ask as asking
from services.edge.ask import Ask
from services.edge.neighbours import Billing

log = structlog.get_logger()

TRIES: Final = 8  # each one that fails has seen another request of the org take the credit
RETRY_AFTER: Final = 2


class Lane:
    """One request of an org at a time asks for more credit. What it learned holds for those who came while it asked."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._asked = 0
        self._last = 0, LeaseAnswer("ready", 0)

    @property
    def turn(self) -> int:
        """How often was asked so far, one that asks just now included: its answer may be older than who comes now."""
        return self._asked + self.lock.locked()

    def remember(self, need: int, answer: LeaseAnswer) -> None:
        self._asked += 1
        self._last = need, answer

    def refusal(self, turn: int, need: int) -> LeaseAnswer | None:
        """What somebody else was told after ``turn``, if ``need`` would be told the same."""
        asked, answer = self._last
        same = {
            "frozen": True,
            "insufficient": need >= asked,
            "recovering": answer.available < need <= asked,  # more could be more than there is
        }
        return answer if self._asked > turn and same.get(answer.state) else None


class Admission:
    """The till at the door: one Redis, one billing service."""

    def __init__(self, holds: Holds, billing: Billing, *, shard: str, topup_url: str) -> None:
        self._holds = holds
        self._billing = billing
        self._shard = shard
        self._topup_url = topup_url
        self._lanes: WeakValueDictionary[int, Lane] = WeakValueDictionary()

    async def hold(self, payer: Payer, request_id: UUID, ask: Ask) -> tuple[Ask, Hold]:
        """The request as it may go, which can be shorter than asked, and the credit set aside for it.

        Raises InsufficientBalance, BillingRecovering or Unavailable; nothing stays held then.
        """
        got = await self._take(payer, request_id, ask.need)
        if isinstance(got, Hold):
            return ask, got
        lane = self._lane(payer.org)
        turn = lane.turn
        async with lane.lock:
            return await self._lease_and_take(payer, request_id, ask, lane, turn)

    async def _lease_and_take(
        self, payer: Payer, request_id: UUID, ask: Ask, lane: Lane, turn: int
    ) -> tuple[Ask, Hold]:
        """First once more, because whoever was in the lane before may have leased enough for us too."""
        asked = False
        for _ in range(TRIES):
            got = await self._take(payer, request_id, ask.need)
            if isinstance(got, Hold):
                return ask, got
            if got.why == "keycap" and (asked or not got.doubt):
                ask = _within_cap(ask, payer, got)
            else:
                answer = lane.refusal(turn, ask.need) or await self._lease(payer, ask.need, lane)
                ask, asked = self._fitted(ask, answer), True
        raise Unavailable("Credit for this request could not be set aside just now.", retry_after=RETRY_AFTER)

    def _lane(self, org: int) -> Lane:
        lane = self._lanes.get(org)
        if lane is None:
            lane = self._lanes[org] = Lane()
        return lane

    async def _take(self, payer: Payer, request_id: UUID, need: int) -> Hold | NotTaken:
        try:
            return await self._holds.take(payer, request_id, need, shard=self._shard)
        except redis.Failed as error:
            log.warning("redis_away", error=str(error))
            raise Unavailable("Billing is away for a moment; nothing was charged.", retry_after=RETRY_AFTER) from error

    async def _lease(self, payer: Payer, need: int, lane: Lane) -> LeaseAnswer:
        """For a key with a cap, billing also tells Redis what the key has spent."""
        answer = await self._billing.lease(payer.org, self._shard, need, 0 if payer.cap is None else payer.key)
        lane.remember(need, answer)
        return answer

    def _fitted(self, ask: Ask, answer: LeaseAnswer) -> Ask:
        """The request as the answer lets it go. Raises InsufficientBalance or BillingRecovering."""
        if answer.state == "ready":
            return ask
        if answer.state == "recovering":
            raise _recovering()
        if answer.state == "frozen" or answer.available < 0:
            raise asking.barred(ask, answer.available, self._topup_url)
        return asking.smaller(ask, answer.available, self._topup_url)


def _within_cap(ask: Ask, payer: Payer, got: NotTaken) -> Ask:
    """Raises BillingRecovering while it is not known what the key has left, KeyCapExceeded when it is too little."""
    if got.left + got.doubt >= ask.need:
        raise _recovering()
    return asking.smaller_for_key(ask, got.left, payer.cap or 0)


def _recovering() -> BillingRecovering:
    return BillingRecovering(
        "Part of this account's credit is being recovered; try again in a moment.", retry_after=RETRY_AFTER
    )
