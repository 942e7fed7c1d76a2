"""May this request go? Sets its worst case aside in Redis, asking billing for more leased credit when there is too
little. Money fails closed: without Redis or billing the answer is 503, never a free ride."""

import asyncio
from pathlib import Path
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from libs.contracts.account import lease_keys
from libs.contracts.dispatch import Hold
from libs.errors import BillingRecovering, Unavailable
from libs.runtime import redis
from libs.runtime.holds import Ended, Holds
from services.edge import ask as asking
from services.edge.ask import Ask
from services.edge.neighbours import Billing

log = structlog.get_logger()

TRIES: Final = 8  # each one that fails has seen another request of the org take the credit
RETRY_AFTER: Final = 2
HOLD_SCRIPT: Final = (Path(__file__).parent / "admission.lua").read_text(encoding="utf-8")


class Admission:
    """The till at the door: one Redis, one billing service."""

    def __init__(self, client: redis.Client, holds: Holds, billing: Billing, *, shard: str, topup_url: str) -> None:
        self._hold = client.register_script(HOLD_SCRIPT)
        self._holds = holds
        self._billing = billing
        self._shard = shard
        self._topup_url = topup_url
        self._lanes: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def hold(self, org: int, request_id: UUID, ask: Ask) -> tuple[Ask, Hold]:
        """The request as it may go, which can be shorter than asked, and the credit set aside for it.

        Raises InsufficientBalance, BillingRecovering or Unavailable; nothing stays held then.
        """
        epoch = await self._try(org, request_id, ask.need)
        if epoch is None:
            async with self._lane(org):
                ask, epoch = await self._lease_and_try(org, request_id, ask)
        return ask, Hold(cash=ask.need, plan=0, epoch=epoch, shard=self._shard)

    async def _lease_and_try(self, org: int, request_id: UUID, ask: Ask) -> tuple[Ask, int]:
        """First once more, because whoever was in the lane before may have leased enough for us too."""
        for _ in range(TRIES):
            epoch = await self._try(org, request_id, ask.need)
            if epoch is not None:
                return ask, epoch
            ask = await self._more_credit(org, ask)
        raise Unavailable("Credit for this request could not be set aside just now.", retry_after=RETRY_AFTER)

    def _lane(self, org: int) -> asyncio.Lock:
        """One request of an org at a time asks for more credit; the others would only ask the same."""
        lane = self._lanes.get(org)
        if lane is None:
            lane = self._lanes[org] = asyncio.Lock()
        return lane

    async def _try(self, org: int, request_id: UUID, need: int) -> int | None:
        """The lease's epoch, or None when the lease is missing or too small."""
        keys = lease_keys(org)
        try:
            answer = await self._hold(keys=[keys.lease, keys.holds], args=[request_id.hex, need])
        except redis.Failed as error:
            log.warning("redis_away", error=str(error))
            self._holds.later(Ended(org, request_id, 0))  # it may have been made all the same
            raise Unavailable("Billing is away for a moment; nothing was charged.", retry_after=RETRY_AFTER) from error
        if answer[0] == "OK":
            return int(answer[1])
        return int(answer[2]) if answer[0] == "DUP" else None

    async def _more_credit(self, org: int, ask: Ask) -> Ask:
        answer = await self._billing.lease(org, self._shard, ask.need)
        if answer.state == "ready":
            return ask
        if answer.state == "recovering":
            raise BillingRecovering(
                "Part of this account's credit is being recovered; try again in a moment.", retry_after=RETRY_AFTER
            )
        return asking.smaller(ask, answer.available, self._topup_url)
