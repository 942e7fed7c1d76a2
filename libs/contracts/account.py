"""What the edge asks billing, and how leased credit lies in Redis.

All money is nano-USD. Addresses are under `/internal/v1` and take a service token.
"""

from typing import Final, Literal

import msgspec

from libs.contracts.usage import Attempt, Outcome
from libs.pricing import Usage

LEASES_PATH: Final = "/internal/v1/leases"
BALANCE_PATH: Final = "/internal/v1/orgs/{org}/balance"
SPEND_PATH: Final = "/internal/v1/orgs/{org}/keys/{key}/spend"
CHARGE_PATH: Final = "/internal/v1/orgs/{org}/charges/{request_id}"

LeaseState = Literal["ready", "insufficient", "recovering"]


class LeaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make ``need`` nano-USD spendable for this org in this Redis."""

    org: int
    shard: str
    need: int


class LeaseAnswer(msgspec.Struct, frozen=True):
    """``ready`` — try the hold again; ``insufficient`` — the org does not have it; ``recovering`` — it has, but part
    of its credit is in doubt after a loss of Redis. ``available`` is what a hold could take now."""

    state: LeaseState
    available: int


class Balance(msgspec.Struct, frozen=True):
    """``posted`` is the ledger's word. ``held`` is set aside for running requests, ``unposted`` is spent and on its way
    to the ledger, ``in_doubt`` is leased credit whose Redis was lost."""

    posted: int
    held: int
    unposted: int
    in_doubt: int
    frozen: bool

    @property
    def available(self) -> int:
        return self.posted - self.held - self.unposted - self.in_doubt


class Spend(msgspec.Struct, frozen=True):
    """What one key spent since 00:00 UTC today, since Monday, since the first of the month."""

    today: int
    week: int
    month: int


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
    price_id: str
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
    """The Redis keys of one org; the braces put them on one cluster slot.

    ``lease`` hash: e epoch · g run id of the Redis process that made it · lim granted · used · held.
    ``holds`` hash: request id → ``amount:epoch``. ``ticket``: one-time permission to make the lease hash.
    """

    lease: str
    holds: str
    ticket: str


def lease_keys(org: int) -> LeaseKeys:
    slot = f"to:{{{org}}}"
    return LeaseKeys(f"{slot}:lease", f"{slot}:holds", f"{slot}:ticket")
