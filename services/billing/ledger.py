"""What a charge does to the books. Pure: values in, postings out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from libs.contracts.dispatch import Hold

K = TypeVar("K")


class NoAccount(LookupError):
    """A charge for an org that has no account of that kind."""


class Split(msgspec.Struct, frozen=True):
    """Who pays a cost: the org's plan, its cash, or the house, which takes whatever passes the hold."""

    plan: int
    cash: int
    absorbed: int


class Charged(msgspec.Struct, frozen=True):
    """A charge that is new to the ledger."""

    org: int
    epoch: int
    key: int
    split: Split


class Wallet(msgspec.Struct, frozen=True):
    """An org's accounts; not every org has both."""

    cash: int | None = None
    plan: int | None = None


class House(msgspec.Struct, frozen=True):
    """The accounts that customers pay to, and out of which the house pays."""

    revenue: int
    loss: int


class Consumed(msgspec.Struct, frozen=True):
    """What was taken out of one lease."""

    plan: int
    cash: int


class Transfer(msgspec.Struct, frozen=True):
    """One line: ``amount`` nano-USD from ``debit`` to ``credit``, once per ``idem_key``."""

    idem_key: str
    kind: str
    debit: int
    credit: int
    amount: int


class Postings(msgspec.Struct, frozen=True):
    """What one batch changes: lines, what each account paid out of leased credit, per (org, epoch) what was consumed
    of the lease, and per (org, key, epoch), in that order, what the key was charged there."""

    transfers: tuple[Transfer, ...]
    released: dict[int, int]
    consumed: dict[tuple[int, int], Consumed]
    spent: dict[tuple[int, int, int], int]

    def debits(self) -> dict[int, int]:
        return _sum((t.debit, t.amount) for t in self.transfers)

    def credits(self) -> dict[int, int]:
        return _sum((t.credit, t.amount) for t in self.transfers)


def split(cost: int, hold: Hold) -> Split:
    """Plan before cash, and never more of either than was held of it."""
    plan = min(cost, hold.plan)
    cash = min(cost - plan, hold.cash)
    return Split(plan, cash, cost - plan - cash)


def split_late(cost: int) -> Split:
    """The lease is closed and its credit may have been given to somebody else: the house pays."""
    return Split(0, 0, cost)


def post(batch: int, charges: Iterable[Charged], wallets: Mapping[int, Wallet], house: House) -> Postings:
    """One line per account and one for the house, however many charges there are. Raises NoAccount."""
    charges = list(charges)
    plan = _sum(((c.org, c.epoch), c.split.plan) for c in charges)
    cash = _sum(((c.org, c.epoch), c.split.cash) for c in charges)
    paid = _sum(
        [(_account(org, "plan", wallets[org].plan), amount) for (org, _), amount in plan.items()]
        + [(_account(org, "cash", wallets[org].cash), amount) for (org, _), amount in cash.items()]
    )
    lines = [Transfer(f"usage:{batch}:{id_}", "usage", id_, house.revenue, paid[id_]) for id_ in sorted(paid)]
    if absorbed := sum(c.split.absorbed for c in charges):
        lines.append(Transfer(f"absorbed:{batch}", "absorbed", house.loss, house.revenue, absorbed))
    consumed = {key: Consumed(plan.get(key, 0), cash.get(key, 0)) for key in sorted(plan.keys() | cash.keys())}
    spent = _sum(((c.org, c.key, c.epoch), c.split.plan + c.split.cash) for c in charges)
    return Postings(tuple(lines), paid, consumed, dict(sorted(spent.items())))


def _account(org: int, kind: str, account: int | None) -> int:
    if account is None:
        raise NoAccount(f"org {org} has no {kind} account")
    return account


def _sum(pairs: Iterable[tuple[K, int]]) -> dict[K, int]:
    """Per key, without those that come to nothing."""
    totals: dict[K, int] = defaultdict(int)
    for key, amount in pairs:
        if amount:
            totals[key] += amount
    return dict(totals)
