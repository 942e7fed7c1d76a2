"""What Redis keeps of one org's credit, as values, and what each script answers. Nothing here knows the scripts' text.

Amounts are nano-USD, times are ticks. A till belongs to one process (``run``); a lease made in another one is cold.
"""

from typing import Final, Self

import msgspec


class Pair(msgspec.Struct, frozen=True):
    """An amount in both buckets."""

    cash: int = 0
    plan: int = 0

    def __add__(self, other: "Pair") -> "Pair":
        return Pair(self.cash + other.cash, self.plan + other.plan)

    def __sub__(self, other: "Pair") -> "Pair":
        return Pair(self.cash - other.cash, self.plan - other.plan)

    def within(self, other: "Pair") -> bool:
        return self.cash <= other.cash and self.plan <= other.plan

    def part(self, amount: int) -> "Pair":
        """So much of it at most, plan first."""
        plan = min(amount, self.plan)
        return Pair(cash=min(amount - plan, self.cash), plan=plan)

    @property
    def total(self) -> int:
        return self.cash + self.plan


NOTHING: Final = Pair()
Answer = tuple[object, ...]


class Hold(msgspec.Struct, frozen=True):
    """Credit set aside for one request of one key."""

    amount: Pair
    epoch: int
    authorized_at: int
    key: int = 0


class Lease(msgspec.Struct, frozen=True):
    """The lease hash: what was granted, spent and held of each bucket, and how often what was left was taken back."""

    epoch: int
    run: str
    limit: Pair
    used: Pair = NOTHING
    held: Pair = NOTHING
    revoked: int = 0

    @property
    def free(self) -> Pair:
        return self.limit - self.used - self.held


class Counted(msgspec.Struct, frozen=True):
    """A key's spending: before this lease if that is known, in it, and held."""

    before: int | None = None
    used: int = 0
    held: int = 0


class Till(msgspec.Struct, frozen=True):
    """One org's keys in one Redis process."""

    run: str
    lease: Lease | None = None
    holds: dict[str, Hold] = {}
    keys: dict[int, Counted] = {}
    ticket: str | None = None

    @property
    def warm(self) -> Lease | None:
        """The lease, if this process made it."""
        return self.lease if self.lease is not None and self.lease.run == self.run else None

    def restarted(self, run: str, copy: Self | None = None) -> Self:
        """The data of ``copy``, or its own, in another process."""
        return msgspec.structs.replace(copy or self, run=run)

    def flushed(self) -> Self:
        return type(self)(self.run)


def changed(till: Till, **fields: object) -> Till:
    return msgspec.structs.replace(till, **fields)


def _counted(till: Till, key: int, *, used: int = 0, held: int = 0) -> dict[int, Counted]:
    was = till.keys.get(key, Counted())
    return {**till.keys, key: Counted(was.before, was.used + used, was.held + held)}


def _over(counted: Counted, need: int, cap: int) -> Answer | None:
    """Why a key with this cap may not have so much."""
    if counted.before is None:
        return ("KEYCOLD",)
    left = cap - counted.before - counted.used - counted.held
    return ("KEYCAP", max(left, 0)) if need > left else None


def without(holds: dict[str, Hold], request: str) -> dict[str, Hold]:
    return {name: hold for name, hold in holds.items() if name != request}


class Scripts:
    """The scripts. Each takes a till and answers the next one with the script's words."""

    def cold(self, till: Till) -> bool:
        return till.warm is None

    def hold(
        self, till: Till, request: str, need: int, now: int, *, key: int = 0, cap: int | None = None
    ) -> tuple[Till, Answer]:
        """``OK`` and ``DUP`` say epoch, cash, plan and when; ``NEED`` and ``KEYCAP`` what is left."""
        lease = till.lease
        if lease is None or self.cold(till):
            return till, ("COLD",)
        if (before := till.holds.get(request)) is not None:
            return till, ("DUP", before.epoch, before.amount.cash, before.amount.plan, before.authorized_at)
        if cap is not None and (refused := _over(till.keys.get(key, Counted()), need, cap)):
            return till, refused
        if need > lease.free.total:
            return till, ("NEED", lease.free.total)
        taken = lease.free.part(need)
        lease = msgspec.structs.replace(lease, held=lease.held + taken)
        holds = {**till.holds, request: Hold(taken, lease.epoch, now, key)}
        till = changed(till, lease=lease, holds=holds, keys=_counted(till, key, held=need))
        return till, ("OK", lease.epoch, taken.cash, taken.plan, now)

    def settle(self, till: Till, request: str, cost: int) -> tuple[Till, Answer]:
        if (hold := till.holds.get(request)) is None:
            return till, ("GONE",)
        till = changed(till, holds=without(till.holds, request))
        if till.lease is None or till.lease.epoch != hold.epoch:
            return till, ("GONE",)
        spent = self.spent(hold, cost)
        lease = msgspec.structs.replace(till.lease, held=till.lease.held - hold.amount, used=till.lease.used + spent)
        keys = _counted(till, hold.key, used=spent.total, held=-hold.amount.total)
        return changed(till, lease=lease, keys=keys), ("OK", spent.total)

    def spent(self, hold: Hold, cost: int) -> Pair:
        """Plan first, and never more of a bucket than was held of it."""
        return hold.amount.part(cost)

    def look(self, till: Till, ticket: str) -> tuple[Till, Answer]:
        """``WARM`` with all of the lease; a cold till takes the ticket and says its process."""
        lease = till.warm
        if lease is None:
            return changed(till, ticket=ticket), ("COLD", till.run)
        amounts = (lease.limit, lease.used, lease.held)
        numbers = (*(each.cash for each in amounts), *(each.plan for each in amounts))
        return till, ("WARM", lease.epoch, lease.revoked, *numbers)

    def create(self, till: Till, ticket: str, run: str, epoch: int, limit: Pair) -> tuple[Till, str]:
        """Makes the lease, once, for whoever holds the ticket."""
        if till.ticket != ticket or till.run != run:
            return till, "STALE"
        till = changed(till, ticket=None)
        if till.lease is not None and till.lease.epoch >= epoch:
            return till, "OLD"
        return changed(till, lease=Lease(epoch, till.run, limit), holds={}, keys={}), "OK"

    def grant(self, till: Till, epoch: int, limit: Pair, revoked: int = 0) -> tuple[Till, str]:
        """Raises the limits, if the lease is still this one and nothing was taken back since it was looked at."""
        lease = till.warm
        if lease is None or (lease.epoch, lease.revoked) != (epoch, revoked):
            return till, "OLD"
        higher = Pair(max(lease.limit.cash, limit.cash), max(lease.limit.plan, limit.plan))
        return changed(till, lease=msgspec.structs.replace(lease, limit=higher)), "OK"

    def revoke(self, till: Till, epoch: int) -> tuple[Till, Answer]:
        """Takes back what is left, and answers the limits now."""
        lease = till.warm
        if lease is None or lease.epoch != epoch:
            return till, ("OLD",)
        limit = lease.used + lease.held
        lease = msgspec.structs.replace(lease, limit=limit, revoked=lease.revoked + 1)
        return changed(till, lease=lease), ("OK", limit.cash, limit.plan)

    def base(self, till: Till, epoch: int, key: int, spent: int) -> tuple[Till, str]:
        """Tells the lease what a key spent before it."""
        lease = till.warm
        if lease is None or lease.epoch != epoch:
            return till, "OLD"
        was = till.keys.get(key, Counted())
        return changed(till, keys={**till.keys, key: msgspec.structs.replace(was, before=spent)}), "OK"

    def close(self, till: Till, epoch: int) -> tuple[Till, Answer]:
        """Deletes a lease of which nothing is held, and answers what was spent."""
        lease = till.warm
        if lease is None or lease.epoch != epoch:
            return till, ("OLD",)
        if lease.held != NOTHING:
            return till, ("BUSY",)
        return changed(till, lease=None, holds={}, keys={}), ("OK", lease.used.cash, lease.used.plan)
