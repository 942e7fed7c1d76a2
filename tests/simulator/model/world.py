"""One org's credit with everything that happens to it, as one value: till, books, a router's spool, and what is under
way between them. ``told`` is the truth about requests, which no part of the protocol may look at."""

from typing import Literal, NamedTuple

import msgspec

from tests.simulator.model.books import Books
from tests.simulator.model.till import Hold, Pair, Till

Progress = Literal["held", "running", "ended", "refused"]


class Request(msgspec.Struct, frozen=True):
    """The truth: how far the request came, and what it cost, never more than was held."""

    hold: Hold
    progress: Progress = "held"
    cost: int = 0

    @property
    def paid(self) -> Pair:
        return self.hold.amount.part(self.cost)


class Create(NamedTuple):
    """A lease on its way to Redis."""

    ticket: str
    run: str
    epoch: int
    limit: Pair


class Grant(NamedTuple):
    """More of it on its way, and how many revocations were seen."""

    epoch: int
    limit: Pair
    revoked: int


class Settle(NamedTuple):
    request: str
    cost: int


Wire = Create | Grant | Settle


class World(msgspec.Struct, frozen=True):
    """``floor`` and ``spool`` survive a router's death. ``heard`` is what billing knows of its watermark. ``locked`` is
    the lease that billing is just making under the org's lock."""

    till: Till
    books: Books
    now: int = 0
    copy: Till | None = None
    told: dict[str, Request] = {}
    spool: frozenset[str] = frozenset()
    shipped: frozenset[str] = frozenset()
    floor: int = 0
    reports: tuple[int, ...] = ()
    heard: int = 0
    queue: tuple[str, ...] = ()
    wires: tuple[Wire, ...] = ()
    locked: Create | Grant | None = None

    def those(self, *progress: Progress) -> list[str]:
        return [name for name, request in self.told.items() if request.progress in progress]


def changed(world: World, **fields: object) -> World:
    return msgspec.structs.replace(world, **fields)


def told(world: World, name: str, **fields: object) -> World:
    request = msgspec.structs.replace(world.told[name], **fields)
    return changed(world, told={**world.told, name: request})


def new_world(credit: Pair) -> World:
    return World(till=Till(run="run0"), books=Books(credit))
