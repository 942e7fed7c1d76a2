"""What must hold in every world (I1 to I4), and at its end (I5)."""

from tests.simulator.model.protocol import LAG, MARGIN, Protocol, taken
from tests.simulator.model.till import NOTHING, Pair
from tests.simulator.model.world import Request, Settle, World, changed


class Broken(AssertionError):
    """An invariant does not hold."""


def check(protocol: Protocol, world: World) -> None:
    """Raises Broken with the name of the invariant."""
    _leased(world)
    _limits(protocol, world)
    _charges(world)
    _exposure(world)


def _leased(world: World) -> None:
    books = world.books
    out = sum((lease.left for lease in books.leases.values() if lease.state != "closed"), NOTHING)
    if books.leased != out:
        raise Broken(f"I1: {books.leased} leased, the leases come to {out}")
    if not (NOTHING.within(books.leased) and books.leased.within(books.posted)):
        raise Broken(f"I1: {books.leased} leased of {books.posted}")


def _limits(protocol: Protocol, world: World) -> None:
    """Of the lease that is spent from."""
    lease = world.till.lease
    if lease is None or protocol.cold(world.till):
        return
    held = sum((hold.amount for hold in world.till.holds.values() if hold.epoch == lease.epoch), NOTHING)
    granted = world.books.leases[lease.epoch].granted
    if lease.held != held or not (lease.used + held).within(lease.limit) or not lease.limit.within(granted):
        raise Broken(f"I2: {lease}, {held} held, {granted} granted")
    if not (exposed := _exposed(world, lease.epoch)).within(lease.used + lease.held):
        raise Broken(f"I2: {lease} counts less than {exposed}")


def _charges(world: World) -> None:
    for name, charge in world.books.charges.items():
        request = world.told[name]
        if request.progress == "running":
            raise Broken(f"I3: {name} is charged and still runs")
        if charge.paid != request.paid:
            raise Broken(f"I3: {name} paid {charge.paid}, its cost was {request.paid}")


def _exposure(world: World) -> None:
    exposed = sum((_exposed(world, epoch) for epoch in world.books.leases), NOTHING)
    if not exposed.within(world.books.credits):
        raise Broken(f"I4: exposed {exposed}, credits {world.books.credits}")


def _exposed(world: World, epoch: int) -> Pair:
    """What was truly spent of a lease, and what may be."""
    of_it = [request for request in world.told.values() if request.hold.epoch == epoch]
    return sum((_worst(request) for request in of_it), NOTHING)


def _worst(request: Request) -> Pair:
    if request.progress == "running":
        return request.hold.amount
    return request.paid if request.progress == "ended" else NOTHING


def settled(protocol: Protocol, world: World) -> World:
    """The world once everything that is under way has arrived, checked on the way. Raises Broken.

    Settlings that were under way are lost with their senders, and what is parked is decided last.
    """
    while world.those("running"):
        world = _checked(protocol, world, "finish", 0)
    world = changed(world, wires=tuple(wire for wire in world.wires if not isinstance(wire, Settle)))
    world = _promised(protocol, world)
    while world.books.parked:
        world = _checked(protocol, world, "replay", 0)
    world = _promised(protocol, _promised(protocol, world))
    _at_rest(world)
    return world


def _promised(protocol: Protocol, world: World) -> World:
    """A round of everything; the next watermark follows from what it books."""
    world = _arrived(protocol, _checked(protocol, world, "ship", 0))
    world = changed(world, now=world.now + LAG + MARGIN + 1)
    for step, pick in (("forget", 0), ("report", 0), ("hear", -1), ("sweep", 0), ("reclaim", 0)):
        world = _checked(protocol, world, step, pick)
    return _arrived(protocol, world)


def _arrived(protocol: Protocol, world: World) -> World:
    turn = 0
    while world.wires or set(world.queue) - world.books.parked:
        for step in ("book", "deliver"):
            world = _checked(protocol, world, step, turn)
        turn += 1
    return world


def _checked(protocol: Protocol, world: World, step: str, pick: int) -> World:
    world = taken(protocol, world, step, pick, 1)
    check(protocol, world)
    return world


def _at_rest(world: World) -> None:
    lease = world.till.warm
    if lease is not None and lease.held != NOTHING:
        raise Broken(f"I5: {lease.held} is still held")
    if doubt := [epoch for epoch, lease in world.books.leases.items() if lease.state == "doubt"]:
        raise Broken(f"I5: epochs {doubt} are still in doubt")
    if unpaid := [name for name in world.those("ended") if name not in world.books.charges]:
        raise Broken(f"I5: {unpaid} ended and were never charged")
