"""What a charge does to the books. Pure: values in, postings out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from libs.contracts.dispatch import Hold


class Split(msgspec.Struct, frozen=True):
    """Who pays a cost: the org's plan, its cash, or the house, which takes whatever passes the hold."""

    plan: int
    cash: int
    absorbed: int


class Charged(msgspec.Struct, frozen=True):
    """A charge that is new to the ledger."""

    org: int
    epoch: int
    split: Split


class Transfer(msgspec.Struct, frozen=True):
    """One line: ``amount`` nano-USD from ``debit`` to ``credit``, once per ``idem_key``."""

    idem_key: str
    kind: str
    debit: int
    credit: int
    amount: int


class Postings(msgspec.Struct, frozen=True):
    """What one batch changes: lines, and per (org, epoch) what was consumed of the lease."""

    transfers: tuple[Transfer, ...]
    consumed: dict[tuple[int, int], int]

    def debits(self) -> dict[int, int]:
        return _sum((t.debit, t.amount) for t in self.transfers)

    def credits(self) -> dict[int, int]:
        return _sum((t.credit, t.amount) for t in self.transfers)


def split(cost: int, hold: Hold) -> Split:
    """Plan before cash, and never more of either than was held of it."""
    plan = min(cost, hold.plan)
    cash = min(cost - plan, hold.cash)
    return Split(plan=plan, cash=cash, absorbed=cost - plan - cash)


def post(batch: int, charges: Iterable[Charged], cash_of: Mapping[int, int], revenue: int, loss: int) -> Postings:
    """One line per org and one for the house, however many charges there are."""
    by_org: dict[int, int] = defaultdict(int)
    consumed: dict[tuple[int, int], int] = defaultdict(int)
    absorbed = 0
    for charge in charges:
        by_org[charge.org] += charge.split.cash
        consumed[charge.org, charge.epoch] += charge.split.cash
        absorbed += charge.split.absorbed
    lines = [
        Transfer(f"usage:{batch}:{cash_of[org]}", "usage", cash_of[org], revenue, amount)
        for org, amount in sorted(by_org.items())
        if amount
    ]
    if absorbed:
        lines.append(Transfer(f"absorbed:{batch}", "absorbed", loss, revenue, absorbed))
    return Postings(tuple(lines), {key: amount for key, amount in consumed.items() if amount})


def _sum(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    totals: dict[int, int] = defaultdict(int)
    for account, amount in pairs:
        totals[account] += amount
    return dict(totals)
