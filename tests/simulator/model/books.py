"""The ledger's side of one org, as values: credit, leases, charges, and what waits for a decision.

Every function answers the next books. ``Overdrawn`` stands for a CHECK of the schema that would refuse.
"""

from typing import Literal

import msgspec

from tests.simulator.model.till import NOTHING, Pair

State = Literal["open", "doubt", "closed"]


class Overdrawn(Exception):
    """The schema refuses this change."""


class BookLease(msgspec.Struct, frozen=True):
    granted: Pair
    consumed: Pair = NOTHING
    state: State = "open"
    doubt_at: int = 0

    @property
    def left(self) -> Pair:
        return self.granted - self.consumed


class Charge(msgspec.Struct, frozen=True):
    """What the customer paid for a request, and out of which lease."""

    paid: Pair
    epoch: int


class Books(msgspec.Struct, frozen=True):
    """``credits`` came in, ``debits`` went out, ``leased`` is with Redis."""

    credits: Pair
    debits: Pair = NOTHING
    leased: Pair = NOTHING
    leases: dict[int, BookLease] = {}
    charges: dict[str, Charge] = {}
    parked: frozenset[str] = frozenset()
    frozen: bool = False

    @property
    def posted(self) -> Pair:
        return self.credits - self.debits

    @property
    def unleased(self) -> Pair:
        return NOTHING if self.frozen else self.posted - self.leased

    @property
    def open_epoch(self) -> int | None:
        return next((epoch for epoch, lease in self.leases.items() if lease.state == "open"), None)


def changed(books: Books, **fields: object) -> Books:
    return msgspec.structs.replace(books, **fields)


def with_lease(books: Books, epoch: int, lease: BookLease) -> Books:
    return changed(books, leases={**books.leases, epoch: lease})


def doubted(books: Books, epoch: int | None, now: int) -> Books:
    """The lease is lost; its credit stays leased."""
    if epoch is None or books.leases[epoch].state != "open":
        return books
    return with_lease(books, epoch, msgspec.structs.replace(books.leases[epoch], state="doubt", doubt_at=now))


def opened(books: Books, epoch: int, amount: Pair) -> Books:
    return changed(with_lease(books, epoch, BookLease(amount)), leased=books.leased + amount)


def granted(books: Books, epoch: int, amount: Pair) -> Books:
    lease = books.leases[epoch]
    books = with_lease(books, epoch, msgspec.structs.replace(lease, granted=lease.granted + amount))
    return changed(books, leased=books.leased + amount)


def lowered(books: Books, epoch: int, limit: Pair) -> Books:
    """What a lease has above this limit is nobody's to spend any more."""
    lease = books.leases[epoch]
    back = lease.granted - limit
    books = with_lease(books, epoch, msgspec.structs.replace(lease, granted=limit))
    return changed(books, leased=books.leased - back)


def closed(books: Books, epoch: int) -> Books:
    """What the lease has not consumed is free again."""
    lease = books.leases[epoch]
    books = with_lease(books, epoch, msgspec.structs.replace(lease, state="closed"))
    return changed(books, leased=books.leased - lease.left)


def charged(books: Books, request: str, paid: Pair, epoch: int) -> Books:
    """One charge per request; a second one changes nothing. Out of a closed lease nobody pays."""
    if request in books.charges:
        return books
    lease = books.leases[epoch]
    if lease.state == "closed":
        paid = NOTHING
    lease = msgspec.structs.replace(lease, consumed=lease.consumed + paid)
    if not lease.consumed.within(lease.granted) or not paid.within(books.leased):
        raise Overdrawn(f"epoch {epoch}: {lease}")
    books = with_lease(books, epoch, lease)
    return changed(
        books,
        charges={**books.charges, request: Charge(paid, epoch)},
        debits=books.debits + paid,
        leased=books.leased - paid,
        parked=books.parked - {request},
    )
