"""How much credit goes to Redis at a time. Pure: nano-USD in, nano-USD out."""

from typing import Final, NamedTuple

import msgspec

from libs.contracts.account import LeaseAnswer

MOST_LEASED: Final = 9 * 10**15  # in one lease; below 2**53, up to which Redis's scripts count exactly
FULL: Final = 8 * 10**15  # a lease that was granted this much is replaced by a new one
PACE_MS: Final = 60_000


class Amounts(NamedTuple):
    """nano-USD of both buckets."""

    cash: int
    plan: int = 0

    @property
    def total(self) -> int:
        return self.cash + self.plan

    def plus(self, more: "Amounts") -> "Amounts":
        return Amounts(self.cash + more.cash, self.plan + more.plan)

    def minus(self, less: "Amounts") -> "Amounts":
        return Amounts(self.cash - less.cash, self.plan - less.plan)

    def most(self, other: "Amounts") -> "Amounts":
        """The greater of each."""
        return Amounts(max(self.cash, other.cash), max(self.plan, other.plan))


NOTHING: Final = Amounts(0, 0)


class Bucket(msgspec.Struct, frozen=True):
    """One account of an org: what the ledger says, and how much of it is leased to Redis, part of that in doubt."""

    posted: int = 0
    leased: int = 0
    in_doubt: int = 0


class Posted(msgspec.Struct, frozen=True):
    """An org's credit, cash and plan."""

    cash: Bucket = Bucket()
    plan: Bucket = Bucket()
    frozen: bool = False

    @property
    def posted(self) -> int:
        return self.cash.posted + self.plan.posted

    @property
    def leased(self) -> int:
        return self.cash.leased + self.plan.leased

    @property
    def in_doubt(self) -> int:
        return self.cash.in_doubt + self.plan.in_doubt

    @property
    def unleased(self) -> Amounts:
        """What may still be leased. A debt in one bucket is no claim on the other."""
        cash, plan = self.cash.posted - self.cash.leased, self.plan.posted - self.plan.leased
        return Amounts(max(cash, 0), max(plan, 0))


class Warm(msgspec.Struct, frozen=True):
    """A lease as Redis has it, at ``now``, Unix milliseconds of that Redis."""

    epoch: int
    now: int
    revocations: int
    limit: Amounts
    used: Amounts
    held: Amounts

    @property
    def free(self) -> Amounts:
        return self.limit.minus(self.used).minus(self.held).most(NOTHING)


class Pace(NamedTuple):
    """What a lease had spent at a moment, in Unix milliseconds: how fast an org spends is seen from there."""

    epoch: int
    at: int
    used: int


def portion(there: Posted, limit: Amounts, free: Amounts, need: int, chunk: int) -> LeaseAnswer | Amounts:
    """How much more to lease so that ``need`` fits, the plan's first, or the answer when that cannot be."""
    unleased = there.unleased
    if there.frozen:
        return LeaseAnswer("frozen", min(there.posted, 0))
    if there.posted < 0:
        return LeaseAnswer("insufficient", there.posted)
    if free.total + unleased.total < need:
        available = free.total + unleased.total
        return LeaseAnswer("recovering" if available + there.in_doubt >= need else "insufficient", available)
    more = min(max(need - free.total, chunk), unleased.total, MOST_LEASED - limit.total)
    if free.total + more < need:
        return LeaseAnswer("insufficient", free.total + more)  # one request for millions of dollars
    plan = min(more, unleased.plan)
    return Amounts(more - plan, plan)


def pace(before: Pace | None, epoch: int, at: int, used: int) -> Pace:
    """Where to look from: it stays for a minute, as long as the lease is the same."""
    if before is None or before.epoch != epoch or not 0 <= at - before.at <= PACE_MS:
        return Pace(epoch, at, used)
    return before


def chunk(since: Pace | None, epoch: int, at: int, used: int, *, least: int, most: int) -> int:
    """A minute of what the org spends at its pace, within the bounds."""
    if since is None or since.epoch != epoch:
        return least
    spent = (used - since.used) * PACE_MS // max(at - since.at, 1000)
    return max(least, min(spent, most))
