"""What the edge asks billing, and how leased credit lies in Redis.

All money is nano-USD. Addresses are under `/internal/v1` and take a service token.
"""

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from libs.contracts.dispatch import Hold
from libs.contracts.usage import Attempt, Outcome
from libs.pricing import Price, Usage

LEASES_PATH: Final = "/internal/v1/leases"
HOLDS_PATH: Final = "/internal/v1/holds"
BALANCE_PATH: Final = "/internal/v1/orgs/{org}/balance"
SPEND_PATH: Final = "/internal/v1/orgs/{org}/keys/{key}/spend"
LIFETIME: Final = "lifetime"  # the query that asks for `Spend.total` too
CHARGE_PATH: Final = "/internal/v1/orgs/{org}/charges/{request_id}"

Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
LeaseState = Literal["ready", "insufficient", "recovering", "frozen"]


class LeaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Make ``need`` nano-USD spendable for this org in this Redis. ``key``: a key with a cap, whose earlier spending
    Redis has to be told; 0 for none."""

    org: int
    shard: str
    need: int
    key: int = 0


class LeaseAnswer(msgspec.Struct, frozen=True):
    """``ready`` — try the hold again; ``insufficient`` — the org does not have it; ``recovering`` — it has, but part
    of its credit is in doubt after a loss of Redis; ``frozen`` — it may not spend. ``available`` is what a hold could
    take now; below zero it is a debt."""

    state: LeaseState
    available: int


class HoldRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that is no router asks for ``need`` nano-USD to be set aside, before it does what it will publish usage
    of. ``request_id``: a UUIDv7 of now, the id of the later event; the same again gets the same hold. ``key``: the key
    that its customer called with."""

    producer: str
    org: Id
    key: Id
    request_id: UUID
    price: Price
    need: int


class HoldAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """``ready`` comes with the hold and its signature, both for the event. ``available`` is what a hold could take,
    where there is none."""

    state: LeaseState
    hold: Hold | None = None
    sig: str = ""
    available: int = 0


class Balance(msgspec.Struct, frozen=True, omit_defaults=True):
    """``posted`` is the ledger's word, ``plan`` the part of it that is plan or promotional credit and is spent before
    cash. ``held`` is set aside for running requests, ``unposted`` is spent and on its way to the ledger, ``in_doubt``
    is leased credit whose Redis was lost."""

    posted: int
    held: int
    unposted: int
    in_doubt: int
    frozen: bool
    plan: int = 0

    @property
    def available(self) -> int:
        return self.posted - self.held - self.unposted - self.in_doubt


class Spend(msgspec.Struct, frozen=True):
    """What one key spent since 00:00 UTC today, since Monday, since the first of the month, and ever; the last is told
    only to those who ask for it."""

    today: int
    week: int
    month: int
    total: int | None = None


class ChargeView(msgspec.Struct, frozen=True):
    """One request explained. ``settled_at`` and the other times are Unix milliseconds."""

    request_id: str
    key: int
    model: str
    provider: str
    provider_model: str
    provider_request_id: str | None
    outcome: Outcome
    reason: str
    usage: Usage
    price_id: str | None
    cost: int
    charged: int
    absorbed: int
    stream: bool
    client_gone: bool
    accepted_at: int
    started_at: int
    first_token_at: int | None
    ended_at: int
    settled_at: int
    attempts: tuple[Attempt, ...]


class LeaseKeys(msgspec.Struct, frozen=True):
    """The Redis keys of one org; the braces put them on one cluster slot. Amounts are nano-USD.

    ``lease`` hash: e epoch · g run id of the Redis process that made it · t Unix milliseconds of the last hold · r how
    often it was revoked, and per bucket what is granted, spent and held: lim used held of cash, plim pused pheld of the
    plan.
    ``holds`` hash: request id → ``cash:plan:epoch:authorized_at:key``.
    ``keys`` hash: ``<key>:u`` spent in this lease · ``<key>:h`` held, and for keys with a cap ``<key>:b`` spent before,
    ``<key>:d`` the part of that which is only in doubt.
    ``ticket``: one-time permission to make the lease hash.
    """

    lease: str
    holds: str
    keys: str
    ticket: str


def lease_keys(org: int) -> LeaseKeys:
    slot = f"to:{{{org}}}"
    return LeaseKeys(f"{slot}:lease", f"{slot}:holds", f"{slot}:keys", f"{slot}:ticket")
