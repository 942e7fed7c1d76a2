"""What may be given back, and when. Pure: what was seen goes in, decisions come out. Times are Unix milliseconds.

**The low mark.** Each router promises a watermark: whatever was authorized before it is booked or parked, or never
began there and never will. The low mark is the lowest watermark of all routers that serve, a silent one's last word
included, and never later than a little before PostgreSQL's own now. Routers that said goodbye had nothing left and
begin nothing before they registered again; those that were declared lost are not waited for.

**No router at all.** A router that has not registered refuses requests, so where none ever did, nothing can have begun,
and nothing can be bought either. Yet a ledger that was moved without its routers, or routers that do not report yet,
look just the same. So there is no low mark then, and everything waits: it costs nobody anything.

**A router that registers** has to be above all low marks that came before it: see ``is_fresh``.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from libs import ids

Fate = Literal["leave", "settle", "void"]
State = Literal["serving", "gone", "lost"]

ROUND_TRIP_MS: Final = 1000  # a report may have been on its way for so long
HOLD_FIELDS: Final = 5
OLD_HOLD_FIELDS: Final = 2  # of an edge that knew no plans: cash and epoch


class Rules(msgspec.Struct, frozen=True):
    """How far behind everything stays. ``lag``: what routers stay behind their own now; ``margin``: on top of every
    comparison; ``skew``: how far clocks may be apart, at most ``margin``; ``idle``: after which a lease is closed."""

    lag_ms: int
    margin_ms: int
    skew_ms: int
    idle_ms: int


class Router(msgspec.Struct, frozen=True):
    """A router as it was last heard of. It is known by its spool."""

    spool: str
    instance: str
    state: State
    watermark: int
    unbooked: int
    skew_ms: int
    registered_at: int
    heard_at: int


class Held(msgspec.Struct, frozen=True):
    """A hold as Redis has it, nano-USD."""

    org: int
    request_id: UUID
    cash: int
    plan: int
    epoch: int
    authorized_at: int
    key: int

    @property
    def amount(self) -> int:
        return self.cash + self.plan


class Reading(NamedTuple):
    """How far another clock is ahead of ours, and by how much that may be wrong."""

    ahead_ms: int
    error_ms: int


class Skew(NamedTuple):
    """The two clocks that are farthest apart, and how far they are at the least."""

    between: str
    ms: int


def low_mark(routers: Iterable[Router], now_ms: int, rules: Rules) -> int | None:
    """Whatever was authorized before this is decided; None when nobody ever promised anything. ``now_ms`` is
    PostgreSQL's."""
    known = list(routers)
    if not known:
        return None
    serving = [router.watermark for router in known if router.state == "serving"]
    return min([*serving, now_ms - rules.lag_ms])


def is_fresh(watermark: int, registered_at: int, rules: Rules) -> bool:
    """Whether a router may begin requests. Until it registered nobody waited for it, so anything authorized more than
    lag and margin before that may have been given back: it has to promise not to begin that."""
    return watermark >= registered_at - rules.lag_ms - rules.margin_ms + rules.skew_ms


def given_back_before(low: int, rules: Rules) -> int:
    """Leases that were put in doubt, and holds that were authorized, before this may be decided."""
    return low - rules.margin_ms


def fate(held: Held, before: int | None, charged: int | None, *, parked: bool) -> Fate:
    """What becomes of a hold that is still in Redis. ``before``: ``given_back_before``; ``charged``: what its request
    was charged, None if it is not in the books; ``parked``: an event of it waits for somebody to decide.

    What is booked is settled whenever it is seen. What is not is voided only when no router can book it any more.
    """
    if charged is not None:
        return "settle"
    if parked or before is None or held.authorized_at >= before:
        return "leave"
    return "void"


def read_hold(org: int, field: str, value: str) -> Held:
    """One entry of a holds hash (see ``LeaseKeys``). Raises ValueError."""
    parts, request_id = value.split(":"), UUID(field)
    if len(parts) == OLD_HOLD_FIELDS:
        cash, epoch = map(int, parts)
        return Held(org, request_id, cash, 0, epoch, ids.millisecond_of(request_id), 0)
    if len(parts) != HOLD_FIELDS:
        raise ValueError(f"{value!r} is no hold")
    cash, plan, epoch, authorized_at, key = map(int, parts)
    return Held(org, request_id, cash, plan, epoch, authorized_at, key)


def reading(before_ms: int, theirs_ms: int, after_ms: int) -> Reading:
    """Of a clock that was asked at ``before_ms`` and had answered at ``after_ms``, by our own."""
    return Reading(theirs_ms - (before_ms + after_ms) // 2, (after_ms - before_ms + 1) // 2)


def skew_of_report(sent_at: int, now_ms: int) -> int:
    """How far a router's clock is from ours at the least: a report that seems old may have been on its way."""
    return max(sent_at - now_ms, now_ms - sent_at - ROUND_TRIP_MS, 0)


def widest(readings: Mapping[str, Reading], routers: Iterable[Router], now_ms: int) -> Skew:
    """``now_ms`` is PostgreSQL's; where it is behind what it wrote down before, it was set back."""
    known = list(routers)
    clocks = {"billing": Reading(0, 0), **readings}
    between = [Skew(f"{one} and {other}", _apart(clocks[one], clocks[other])) for one, other in combinations(clocks, 2)]
    reported = [Skew(f"billing and router {r.instance}", r.skew_ms) for r in known if r.state == "serving"]
    stepped = [Skew("postgresql and its own past", max([r.heard_at for r in known], default=now_ms) - now_ms)]
    return max([*between, *reported, *stepped], key=lambda skew: skew.ms)


def _apart(one: Reading, other: Reading) -> int:
    return max(abs(one.ahead_ms - other.ahead_ms) - one.error_ms - other.error_ms, 0)
