"""What a router may promise of its past, and when it says something twice. Pure. All times are Unix milliseconds."""

from typing import Final
from uuid import UUID

from libs import ids
from libs.contracts.dispatch import Hold

BEHIND_MS: Final = 15_000
TAKEN_MS: Final = 12_000  # 10 s from the edge to here, and 2 s for clocks that differ: less than BEHIND_MS


def authorized_at(hold: Hold, request_id: UUID) -> int:
    """The moment by which watermarks count a request. Holds that do not tell theirs were made after their id was."""
    return hold.authorized_at or ids.millisecond_of(request_id)


def is_stale(hold: Hold, now: int) -> bool:
    """Whether an order has been under way for so long that it must not begin any more."""
    return bool(hold.authorized_at) and now - hold.authorized_at > TAKEN_MS


def bound(own: int, billings: int | None, behind_ms: int = BEHIND_MS) -> int:
    """How far a watermark may move when nothing is waiting, by the clock that is behind. A clock that runs ahead would
    make a router refuse everything until the time has caught up with its promise. 0 until billing told its time."""
    return 0 if billings is None else min(own, billings) - behind_ms


def is_overdue(shipped_at: int, shipments: int, now: int, patience: int) -> bool:
    """Whether a record that the broker has had for so long, and billing does not know, is to be sent again. Each time
    is given twice as long as the one before: a billing that lags is not helped by more to read."""
    return now - shipped_at >= patience << max(shipments - 1, 0)
