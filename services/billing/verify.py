"""`ledger verify`: recomputes the books from their rows and stops at the first difference.

Each check is a claim about money that no crash may break. What others saw (``Truth``) and the Redis of a gateway at
rest can be given besides; without them a check claims what the database alone can show.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from libs import ids
from libs.pricing import Usage
from libs.runtime.postgres import Connection
from services.billing import months, reprice, resting
from services.billing.resting import Lender
from services.billing.store import audit, audit_charges
from services.billing.store.audit import Question
from services.billing.store.audit_charges import ChargeRow


class Truth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What others saw; None where nobody says.

    ``credited``: nano-USD per org that came from outside, less what went back. ``admitted``: every request that was
    let through, ``req_…``. ``served``: tokens that providers say they served, per request. ``parked`` and
    ``anomalies``: how many are known and explained.
    """

    credited: dict[int, int] | None = None
    admitted: tuple[str, ...] | None = None
    served: dict[str, Usage] | None = None
    parked: int | None = None
    anomalies: int | None = None

    def __post_init__(self) -> None:
        for text in (*(self.admitted or ()), *(self.served or {})):
            _id(text)


class Look(NamedTuple):
    """What the checks look at. ``at_rest``: nothing runs, nothing is under way. ``lender``: the Redis, if it is to be
    compared."""

    connection: Connection
    truth: Truth = Truth()
    at_rest: bool = False
    lender: Lender | None = None


class Difference(NamedTuple):
    """The first thing that is not as it should be."""

    check: str
    what: str


class Check(NamedTuple):
    """``run`` answers with what is wrong, or None. ``resting``: it can be made of books at rest only."""

    name: str
    claim: str
    run: Callable[[Look], Awaitable[str | None]]
    resting: bool = False


async def verify(
    connection: Connection,
    truth: Truth | None = None,
    *,
    at_rest: bool = False,
    lender: Lender | None = None,
    only: Collection[str] = (),
) -> AsyncIterator[tuple[Check, Difference | None]]:
    """Runs the checks, or ``only`` those named, in one snapshot of the books; ends after the first that finds a
    difference. Raises one of ``redis.Failed`` when a lender was given and is away."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        look = Look(connection, truth or Truth(), at_rest, lender)
        for check in CHECKS:
            if (only and check.name not in only) or (check.resting and not at_rest):
                continue
            found = await check.run(look)
            yield check, Difference(check.name, found) if found else None
            if found:
                return


def _asking(*questions: Question) -> Callable[[Look], Awaitable[str | None]]:
    async def run(look: Look) -> str | None:
        for question in questions:
            if found := await audit.ask(look.connection, question):
                return found
        return None

    return run


_conserved: Final = _asking(audit.CONSERVED, audit.HOMELESS)
_identified: Final = _asking(audit_charges.IDS, audit_charges.COPIES, audit_charges.OUTCOMES)
_accounted: Final = _asking(audit_charges.UNFOUNDED, audit_charges.UNNOTED)


async def _outside(look: Look) -> str | None:
    if look.truth.credited is not None and (found := await audit.told(look.connection, look.truth.credited)):
        return found
    return await _conserved(look)


async def _requests(look: Look) -> str | None:
    if found := await _identified(look):
        return found
    if look.truth.admitted is None:
        return None
    return await audit.ask(look.connection, audit_charges.ADMITTED, [_id(text) for text in look.truth.admitted])


async def _costs(look: Look) -> str | None:
    served = {_id(text): usage for text, usage in (look.truth.served or {}).items()}
    try:
        async for row, _, what in reprice.recomputed(look.connection):
            if what := what or _unlike(row, served.get(row.request_id)):
                return f"charge {ids.public(row.request_id)}: {what}"
    except reprice.NotReproduced as error:
        return str(error)
    return None


def _unlike(row: ChargeRow, served: Usage | None) -> str | None:
    """Where a provider's own figures were to be charged, they are."""
    if served is None or row.outcome != "usage" or row.usage == served:
        return None
    return f"{row.usage} charged, the provider served {served}"


async def _known(look: Look) -> str | None:
    kinds, keys, accounts = (list(column) for column in zip(*KINDS, strict=True))
    return await audit.ask(look.connection, audit.KEYS) or await audit.ask(
        look.connection, audit.KINDS, kinds, keys, accounts
    )


async def _rest(look: Look) -> str | None:
    if found := await audit.ask(look.connection, audit.DOUBT):
        return found
    return None if look.lender is None else await resting.first_unsettled(look.connection, look.lender)


async def _evidence(look: Look) -> str | None:
    if found := await _accounted(look):
        return found
    if look.at_rest and (found := await audit.ask(look.connection, audit_charges.REPLAYED)):
        return found
    noted = await audit_charges.noted(look.connection)
    nothing = 0 if look.at_rest else None
    for what, expected, count in (
        ("parked events wait for a decision", look.truth.parked, noted.parked),
        ("anomalies", look.truth.anomalies, sum(noted.anomalies.values())),
    ):
        known = nothing if expected is None else expected
        if known is not None and count != known:
            return f"{count} {what}, {known} are known"
    return None


async def _months(look: Look) -> str | None:
    return await months.first_difference(look.connection)


def _id(text: str) -> UUID:
    """Raises ValueError."""
    if (found := ids.parse_public(text)) is None:
        raise ValueError(f"{text[:80]!r} is not a request id")
    return found


# Each kind of transfer: what its key looks like, and between which accounts it may go.
KINDS: Final = (
    ("usage", "^usage:[0-9]+:{debit}$", "^cust_(cash|plan)>revenue$"),
    ("absorbed", "^absorbed:[0-9]+$", "^overrun_loss>revenue$"),
    ("adjustment", "^[a-z]+:", "^(promo_expense>cust_(cash|plan)|cust_(cash|plan)>promo_expense)$"),
)

CHECKS: Final = (
    Check(
        "C1",
        "every balance is the sum of its transfers, and debits are credits",
        _asking(audit.BALANCES, audit.BALANCED),
    ),
    Check("C2", "every org has what came from outside less what it was charged, in cash and in plan", _outside),
    Check("C3", "every charge has an id of its time and one outcome, and a void one moves nothing", _requests),
    Check("C4", "every charge is what its tokens cost at its price", _costs),
    Check("C5", "every batch's charges are its transfers, account by account", _asking(audit.BATCHES)),
    Check("C6", "no org has less than what is leased of its credit, unless it is frozen", _asking(audit.OVERDRAWN)),
    Check(
        "C7",
        "every charge is paid: from its hold, and by the house only beyond it or after its lease was closed",
        _asking(audit_charges.SPLITS, audit_charges.ABSORBED),
    ),
    Check("I3", "every lease's consumption is its charges", _asking(audit.LEASES)),
    Check("I1", "leased credit is what the leases have not consumed", _asking(audit.LEASED)),
    Check("K1", "every key's spending by lease is its charges", _asking(audit.KEY_SPEND)),
    Check("C8", "at rest nothing is in doubt or held, and Redis has spent what was charged", _rest, resting=True),
    Check("C9", "every transfer is of a known kind and between its accounts, once per key", _known),
    Check("C10", "what could not be charged as it came is noted, and is what is known", _evidence),
    Check("C11", "every closed month follows from the one before and from its transfers", _months),
)
