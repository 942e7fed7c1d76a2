"""Holds for services that publish usage and are no router: the same credit, the same script, signed for them alone."""

from typing import Final

from libs import pricing
from libs.contracts.account import HoldAnswer, HoldRequest, LeaseRequest
from libs.contracts.dispatch import Hold, sign_hold
from libs.errors import Unavailable
from libs.runtime.holds import Holds, Payer
from services.billing.leases import Leases

TRIES: Final = 8  # each one that fails has seen another request of the org take the credit
RETRY_AFTER: Final = 2


class Till:
    """Sets credit aside in the Redis that ``leases`` are of."""

    def __init__(self, holds: Holds, leases: Leases, secret: bytes) -> None:
        self._holds = holds
        self._leases = leases
        self._secret = secret

    async def hold(self, wanted: HoldRequest) -> HoldAnswer:
        """The hold, or why there is none. Raises one of ``redis.Failed`` or ``postgres.TRANSIENT``, or Unavailable."""
        lease = LeaseRequest(wanted.org, self._leases.shard, wanted.need)
        for _ in range(TRIES):
            payer = Payer(wanted.org, wanted.key)
            got = await self._holds.take(payer, wanted.request_id, wanted.need, shard=self._leases.shard, again=True)
            if isinstance(got, Hold):
                return HoldAnswer("ready", got, self._sign(wanted, got))
            answer = await self._leases.extend(lease)
            if answer.state != "ready":
                return HoldAnswer(answer.state, available=answer.available)
        raise Unavailable("Credit could not be set aside just now.", retry_after=RETRY_AFTER)

    def _sign(self, wanted: HoldRequest, hold: Hold) -> str:
        price_id = pricing.version_of(wanted.price)
        return sign_hold(
            wanted.request_id,
            wanted.org,
            wanted.key,
            price_id,
            hold,
            secret=self._secret,
            producer=wanted.producer,
        )
