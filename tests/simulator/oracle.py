"""What is true, noted by those who do it and asked by nobody in the protocol."""

from typing import NamedTuple
from uuid import UUID

from libs.contracts.dispatch import Hold
from libs.runtime.holds import Payer
from services.billing.ledger import split
from services.billing.portion import NOTHING, Amounts


class Dispatched(NamedTuple):
    """A request that the provider got, and at its end what it cost."""

    payer: Payer
    hold: Hold
    cost: int | None = None

    @property
    def paid(self) -> Amounts:
        """What its org owes: all of the hold as long as it runs."""
        if self.cost is None:
            return Amounts(self.hold.cash, self.hold.plan)
        parts = split(self.cost, self.hold)
        return Amounts(parts.cash, parts.plan)


class Oracle:
    """``violations``: dispatches that an org, or a key with a cap, could not pay for."""

    def __init__(self) -> None:
        self.credited_to: dict[int, Amounts] = {}
        self.requests: dict[UUID, Dispatched] = {}
        self.violations: list[str] = []
        self._exposed: dict[int, Amounts] = {}
        self._spent: dict[int, int] = {}

    def credited(self, org: int, more: Amounts) -> None:
        self.credited_to[org] = self.credited_to.get(org, NOTHING).plus(more)

    def dispatched(self, request: UUID, payer: Payer, hold: Hold) -> None:
        if request in self.requests:
            self.violations.append(f"{request} is dispatched again")
        self.requests[request] = Dispatched(payer, hold)
        self._expose(payer, Amounts(hold.cash, hold.plan))
        exposed, credit = self._exposed[payer.org], self.credited_to[payer.org]
        if exposed.cash > credit.cash or exposed.plan > credit.plan:
            self.violations.append(f"org {payer.org}: {exposed} exposed of {credit}, epoch {hold.epoch}")
        if payer.cap is not None and self._spent[payer.key] > payer.cap:
            self.violations.append(f"key {payer.key}: {self._spent[payer.key]} of {payer.cap}")

    def ended(self, request: UUID, cost: int) -> int:
        """What of it the org pays."""
        running = self.requests[request]
        assert running.cost is None, f"{request} ends twice"
        over = self.requests[request] = running._replace(cost=cost)
        self._expose(over.payer, over.paid.minus(running.paid))
        return over.paid.total

    def _expose(self, payer: Payer, more: Amounts) -> None:
        self._exposed[payer.org] = self._exposed.get(payer.org, NOTHING).plus(more)
        self._spent[payer.key] = self._spent.get(payer.key, 0) + more.total
