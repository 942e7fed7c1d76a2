"""The protocol of money in its own words: every step that edge, router and billing can take, and every misfortune.

A step takes a world and two numbers, which choose among what is possible, and answers the next world; where nothing is
possible it answers the same one. A mutant is a subclass that gets one rule wrong.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from tests.simulator.model import books as ledger
from tests.simulator.model.books import BookLease
from tests.simulator.model.till import NOTHING, Hold, Pair, Scripts, Till
from tests.simulator.model.till import changed as till_with
from tests.simulator.model.world import Create, Grant, Request, Settle, Wire, World, changed, told

T = TypeVar("T")
Step = Callable[[World, int, int], World]

LAG: Final = 5  # a watermark stays so far behind the clock
MARGIN: Final = 1


def _one(candidates: Sequence[T], pick: int) -> T | None:
    return candidates[pick % len(candidates)] if candidates else None


class Protocol(Scripts):
    """Edge, router and billing as they should be."""

    # the edge

    def ask(self, world: World, pick: int, amount: int) -> World:
        """A new request sets its worst case aside."""
        name = f"q{len(world.told)}"
        till, answer = self.hold(world.till, name, amount // 3 + 1, world.now)
        world = changed(world, till=till)
        if answer[0] != "OK":
            return world
        return changed(world, told={**world.told, name: Request(till.holds[name])})

    def give_back(self, world: World, pick: int, amount: int) -> World:
        """The router provably did not get it: the edge ends the hold."""
        name = _one(world.those("held"), pick)
        return world if name is None else self._settled(told(world, name, progress="refused"), name, 0)

    # the router

    def dispatch(self, world: World, pick: int, amount: int) -> World:
        """However late it comes."""
        name = _one(world.those("held"), pick)
        if name is None:
            return world
        if not self.begins(world, world.told[name].hold):
            return self._settled(told(world, name, progress="refused"), name, 0)
        return changed(told(world, name, progress="running"), spool=world.spool | {name})

    def begins(self, world: World, hold: Hold) -> bool:
        return hold.authorized_at >= world.floor

    def finish(self, world: World, pick: int, amount: int) -> World:
        """The settling at once is lost now and then; what passes the hold is not the customer's."""
        name = _one(world.those("running"), pick)
        if name is None:
            return world
        world = told(world, name, progress="ended", cost=min(amount, world.told[name].hold.amount.total))
        return world if pick % 3 == 0 else self._settled(world, name, world.told[name].cost)

    def ship(self, world: World, pick: int, amount: int) -> World:
        """Everything in the spool that the broker does not have, or may have lost again."""
        ended = [name for name in world.spool if world.told[name].progress == "ended"]
        return changed(world, queue=world.queue + tuple(sorted(ended)), shipped=world.shipped | set(ended))

    def forget(self, world: World, pick: int, amount: int) -> World:
        return changed(world, spool=world.spool - self.forgettable(world))

    def forgettable(self, world: World) -> frozenset[str]:
        return frozenset(name for name in world.shipped if name in world.books.charges or name in world.books.parked)

    def kill_router(self, world: World, pick: int, amount: int) -> World:
        """What it had begun ends as its last record says."""
        for name in world.those("running"):
            world = told(world, name, progress="ended", cost=min(amount % 3, world.told[name].hold.amount.total))
        return world

    def report(self, world: World, pick: int, amount: int) -> World:
        """The promise is on disk before it is told."""
        lowest = min((world.told[name].hold.authorized_at for name in world.spool), default=world.now)
        floor = max(world.floor, min(lowest, world.now - LAG))
        return changed(world, floor=floor, reports=(*world.reports, floor))

    # billing

    def hear(self, world: World, pick: int, amount: int) -> World:
        mark = _one(world.reports, pick)
        return world if mark is None else changed(world, heard=max(world.heard, mark))

    def low(self, world: World) -> int:
        return min(world.heard, world.now - LAG)

    def lease(self, world: World, pick: int, amount: int) -> World:
        """Looks, writes the ledger, and sends the lease on its way; under the org's lock."""
        if world.locked is not None:
            return world
        if self.cold(world.till):
            return self._open(world, amount)
        return self._extend(world, amount)

    def _open(self, world: World, amount: int) -> World:
        ticket = f"t{world.now}"
        world = changed(world, till=till_with(world.till, ticket=ticket))
        books = ledger.doubted(world.books, world.books.open_epoch, world.now)
        portion = books.unleased.part(amount)
        if portion == NOTHING:
            return changed(world, books=books)
        epoch = max(books.leases, default=0) + 1
        create = Create(ticket, world.till.run, epoch, portion)
        return self._sent(changed(world, books=ledger.opened(books, epoch, portion)), create)

    def _extend(self, world: World, amount: int) -> World:
        lease = world.till.lease
        if lease is None or lease.epoch != world.books.open_epoch:
            return world
        books = ledger.granted(world.books, lease.epoch, world.books.unleased.part(amount))
        grant = Grant(lease.epoch, books.leases[lease.epoch].granted, lease.revoked)
        return self._sent(changed(world, books=books), grant)

    def take_back(self, world: World, pick: int, amount: int) -> World:
        """What Redis has left is the ledger's again, unless billing dies before it says so."""
        lease = world.till.warm
        if lease is None or world.locked is not None:
            return world
        till, _ = self.revoke(world.till, lease.epoch)
        world = changed(world, till=till)
        if amount % 3 == 0 or lease.epoch != world.books.open_epoch:
            return world
        return changed(world, books=ledger.lowered(world.books, lease.epoch, lease.used + lease.held))

    def _sent(self, world: World, wire: Create | Grant) -> World:
        return changed(world, wires=(*world.wires, wire), locked=wire)

    def die(self, world: World, pick: int, amount: int) -> World:
        """Billing dies with a lease on its way, which may still arrive."""
        left = world.wires if pick % 2 else tuple(wire for wire in world.wires if wire != world.locked)
        return changed(world, locked=None, wires=left)

    def give_up(self, world: World, pick: int, amount: int) -> World:
        """No answer: if the ticket is still there, the lease was not made and never will be."""
        create = world.locked
        if not isinstance(create, Create):
            return world
        world = changed(world, locked=None)
        if world.till.ticket is None:
            return world
        return self._taken_back(changed(world, till=till_with(world.till, ticket=None)), create)

    def _taken_back(self, world: World, create: Create) -> World:
        return changed(world, books=ledger.closed(world.books, create.epoch))

    def deliver(self, world: World, pick: int, amount: int) -> World:
        """Something reaches Redis: now, late, or once more."""
        wire = _one(world.wires, pick)
        if wire is None:
            return world
        till, answer = self._run(world.till, wire)
        world = changed(world, till=till)
        if isinstance(wire, Create) or amount % 4:
            world = changed(world, wires=tuple(other for other in world.wires if other != wire))
        if wire != world.locked:
            return world
        world = changed(world, locked=None)
        return self._taken_back(world, wire) if isinstance(wire, Create) and answer != "OK" else world

    def _run(self, till: Till, wire: Wire) -> tuple[Till, object]:
        if isinstance(wire, Create):
            return self.create(till, *wire)
        return self.grant(till, *wire) if isinstance(wire, Grant) else self.settle(till, *wire)

    def book(self, world: World, pick: int, amount: int) -> World:
        """An event, in any order, perhaps again."""
        name = _one(world.queue, pick)
        if name is None or name in world.books.parked:
            return world
        return self._booked(world if amount % 4 == 0 else self._read(world, name), name)

    def _read(self, world: World, name: str) -> World:
        return changed(world, queue=tuple(other for other in world.queue if other != name))

    def _booked(self, world: World, name: str) -> World:
        request = world.told[name]
        books = ledger.charged(world.books, name, request.paid, request.hold.epoch)
        return self._settled(changed(world, books=books), name, request.cost)

    def park(self, world: World, pick: int, amount: int) -> World:
        name = _one(world.queue, pick)
        if name is None or amount % 2 or name in world.books.charges:
            return world
        books = ledger.changed(world.books, parked=world.books.parked | {name})
        return changed(self._read(world, name), books=books)

    def replay(self, world: World, pick: int, amount: int) -> World:
        """Somebody decided: what was parked is charged after all."""
        name = _one(sorted(world.books.parked), pick)
        return world if name is None else self._booked(world, name)

    def reclaim(self, world: World, pick: int, amount: int) -> World:
        """Closes leases in doubt of which nothing can come any more."""
        for epoch, lease in world.books.leases.items():
            if lease.state == "doubt" and self.may_close(world, epoch, lease):
                world = changed(world, books=ledger.closed(world.books, epoch))
        return world

    def may_close(self, world: World, epoch: int, lease: BookLease) -> bool:
        undecided = any(world.told[name].hold.epoch == epoch for name in world.books.parked)
        return lease.doubt_at + MARGIN < self.low(world) and not undecided

    def sweep(self, world: World, pick: int, amount: int) -> World:
        """Holds that are older than every promise end: by their charge, or void."""
        for name, hold in world.till.holds.items():
            if self.orphaned(world, hold) and name not in world.books.parked:
                world = self._ended(world, name, hold)
        return world

    def orphaned(self, world: World, hold: Hold) -> bool:
        return hold.authorized_at + MARGIN < self.low(world)

    def _ended(self, world: World, name: str, hold: Hold) -> World:
        charge = world.books.charges.get(name)
        if charge is None:
            books = ledger.charged(world.books, name, NOTHING, hold.epoch)
            return self._settled(changed(world, books=books), name, 0)
        return self._settled(world, name, charge.paid.total)

    def idle(self, world: World, pick: int, amount: int) -> World:
        """Redis first: what cannot be spent any more may be doubted."""
        lease = world.till.warm
        if lease is None or world.locked is not None:
            return world
        till, answer = self.close(world.till, lease.epoch)
        world = changed(world, till=till)
        if answer[0] != "OK" or amount % 3 == 0:  # billing died before it told the ledger
            return world
        return changed(world, books=ledger.doubted(world.books, lease.epoch, world.now))

    def top_up(self, world: World, pick: int, amount: int) -> World:
        more = Pair(cash=amount) if pick % 2 else Pair(plan=amount)
        return changed(world, books=ledger.changed(world.books, credits=world.books.credits + more))

    def freeze(self, world: World, pick: int, amount: int) -> World:
        return changed(world, books=ledger.changed(world.books, frozen=pick % 4 == 0))

    def _settled(self, world: World, name: str, cost: int) -> World:
        """On its way: it may be late, or be lost with its sender."""
        wire = Settle(name, cost)
        return world if wire in world.wires else changed(world, wires=(*world.wires, wire))

    # misfortune and time

    def flush(self, world: World, pick: int, amount: int) -> World:
        return changed(world, till=world.till.flushed())

    def restart(self, world: World, pick: int, amount: int) -> World:
        """Redis comes back as another process, with its data or with an old copy."""
        return changed(world, till=world.till.restarted(f"run{world.now}", world.copy if pick % 2 else None))

    def keep_copy(self, world: World, pick: int, amount: int) -> World:
        return changed(world, copy=world.till)

    def lose_queue(self, world: World, pick: int, amount: int) -> World:
        return changed(world, queue=())

    def lose_wire(self, world: World, pick: int, amount: int) -> World:
        lost = _one([wire for wire in world.wires if isinstance(wire, Settle)], pick)
        return changed(world, wires=tuple(wire for wire in world.wires if wire != lost))

    def wait(self, world: World, pick: int, amount: int) -> World:
        return changed(world, now=world.now + amount % 3)


OFTEN: Final = ("ask", "lease", "deliver", "dispatch", "finish")
NORMAL: Final = ("ship", "book", "forget", "report", "hear", "reclaim", "sweep", "top_up")
RARE: Final = (
    *("give_back", "kill_router", "die", "give_up", "park", "replay", "idle", "take_back", "freeze"),
    *("flush", "restart", "keep_copy", "lose_queue", "lose_wire", "wait"),
)
STEPS: Final = OFTEN * 10 + NORMAL * 3 + RARE


def taken(protocol: Protocol, world: World, step: str, pick: int, amount: int) -> World:
    """The world after one step, a tick later."""
    act: Step = getattr(protocol, step)
    world = act(world, pick, amount)
    return changed(world, now=world.now + 1)
