"""The protocol with one rule wrong each. Whoever cannot tell these from the right one proves nothing."""

from tests.simulator.model import books as ledger
from tests.simulator.model.books import BookLease
from tests.simulator.model.protocol import Protocol
from tests.simulator.model.till import NOTHING, Hold, Pair, Till
from tests.simulator.model.till import changed as till_with
from tests.simulator.model.world import Create, World, changed


class SameEpochAgain(Protocol):
    """After a loss the open lease is made again."""

    def _open(self, world: World, amount: int) -> World:
        epoch = world.books.open_epoch
        if epoch is None:
            return super()._open(world, amount)
        ticket = f"t{world.now}"
        create = Create(ticket, world.till.run, epoch, world.books.leases[epoch].granted)
        return self._sent(changed(world, till=till_with(world.till, ticket=ticket)), create)

    def create(self, till: Till, ticket: str, run: str, epoch: int, limit: Pair) -> tuple[Till, str]:
        older = till_with(till, lease=None) if till.lease is not None and till.lease.epoch == epoch else till
        return super().create(older, ticket, run, epoch, limit)


class AnyProcess(Protocol):
    """A lease counts in every process that has its data."""

    def cold(self, till: Till) -> bool:
        return till.lease is None


class HastyClose(Protocol):
    """A lease in doubt is closed at once."""

    def may_close(self, world: World, epoch: int, lease: BookLease) -> bool:
        return True


class ParkedForgotten(Protocol):
    """A lease is closed although a parked event may still be charged to it."""

    def may_close(self, world: World, epoch: int, lease: BookLease) -> bool:
        return lease.doubt_at < self.low(world)


class HoldsExpire(Protocol):
    """A hold ends when it is old."""

    def orphaned(self, world: World, hold: Hold) -> bool:
        return hold.authorized_at + 10 < world.now


class NoFloor(Protocol):
    """The router begins what is below the watermark that it promised."""

    def begins(self, world: World, hold: Hold) -> bool:
        return True


class BlindVoid(Protocol):
    """An orphan is voided without a look at the charges."""

    def _ended(self, world: World, name: str, hold: Hold) -> World:
        books = ledger.charged(world.books, name, NOTHING, hold.epoch)
        return self._settled(changed(world, books=books), name, 0)


class ForgetsWhatIsShipped(Protocol):
    """The router forgets what the broker confirmed, booked or not."""

    def forgettable(self, world: World) -> frozenset[str]:
        return world.shipped


class GrantsAnyLease(Protocol):
    """A grant that comes late changes whatever lease it finds."""

    def grant(self, till: Till, epoch: int, limit: Pair, revoked: int = 0) -> tuple[Till, str]:
        return super().grant(till, till.warm.epoch if till.warm else epoch, limit, revoked)


class GrantsWhatWasRevoked(Protocol):
    """A grant from before a revocation raises the limit again."""

    def grant(self, till: Till, epoch: int, limit: Pair, revoked: int = 0) -> tuple[Till, str]:
        return super().grant(till, epoch, limit, till.warm.revoked if till.warm else revoked)


class CashFirst(Protocol):
    """Redis counts a cost as cash that the ledger takes from the plan."""

    def spent(self, hold: Hold, cost: int) -> Pair:
        cash = min(cost, hold.amount.cash)
        return Pair(cash, min(cost - cash, hold.amount.plan))


class NoTicket(Protocol):
    """A lease that comes late is made all the same, if its epoch is not older."""

    def create(self, till: Till, ticket: str, run: str, epoch: int, limit: Pair) -> tuple[Till, str]:
        return super().create(till_with(till, ticket=ticket), ticket, till.run, epoch, limit)


MUTANTS: tuple[type[Protocol], ...] = (
    SameEpochAgain,
    AnyProcess,
    HastyClose,
    ParkedForgotten,
    HoldsExpire,
    NoFloor,
    BlindVoid,
    ForgetsWhatIsShipped,
    GrantsAnyLease,
    GrantsWhatWasRevoked,
    CashFirst,
    NoTicket,
)
