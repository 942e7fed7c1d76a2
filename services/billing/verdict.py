"""Whether a usage event may be charged as it stands. Pure. One that may not is parked, alone."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from libs import ids, pricing
from libs.contracts import dispatch, usage
from libs.pricing import Price

ID_TOLERANCE_MS: Final = 60_000
FUTURE_TOLERANCE_MS: Final = 10 * 60_000
OLDEST_MS: Final = 35 * 24 * 3600 * 1000  # older ones could fall behind the partitions that guard against repeats
MAX_NANO: Final = (1 << 63) - 1


class Refused(ValueError):
    """Why the event is parked."""


class Accepted(msgspec.Struct, frozen=True):
    """An event that may be charged, and a digest of all it says."""

    event: usage.UsageEvent
    digest: bytes


def judge(raw: bytes, prices: Mapping[str, Price], secret: bytes, now_ms: int) -> Accepted:
    """Raises Refused with the reason."""
    try:
        event = usage.decode_event(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"malformed: {error}") from error
    _check_hold(event, secret)
    _check_times(event, now_ms)
    _check_cost(event, prices)
    return Accepted(event, hashlib.sha256(msgspec.json.encode(event, order="sorted")).digest())


def _check_hold(event: usage.UsageEvent, secret: bytes) -> None:
    if not all(0 <= amount <= MAX_NANO for amount in (event.hold.cash, event.hold.plan)):
        raise Refused("hold out of range")
    signed = dispatch.sign_hold(event.request_id, event.org, event.key, event.price_id, event.hold, secret=secret)
    if not hmac.compare_digest(signed.encode(), event.sig.encode()):
        raise Refused("bad signature")


def _check_times(event: usage.UsageEvent, now_ms: int) -> None:
    if abs(ids.millisecond_of(event.request_id) - event.accepted_at) > ID_TOLERANCE_MS:
        raise Refused("the id's time is not when the request was accepted")
    first_token_at = event.started_at if event.first_token_at is None else event.first_token_at
    times = (event.accepted_at, event.started_at, first_token_at, event.ended_at)
    if not all(now_ms - OLDEST_MS <= time <= now_ms + FUTURE_TOLERANCE_MS for time in times):
        raise Refused("time out of range")


def _check_cost(event: usage.UsageEvent, prices: Mapping[str, Price]) -> None:
    price = prices.get(event.price_id)
    if price is None or pricing.version_of(price) != event.price_id:
        raise Refused("the price is missing or is not the one that its id names")
    if price.model != event.model:
        raise Refused("the price is another model's")
    if event.outcome == "void" and event.usage != pricing.Usage():
        raise Refused("a void event with usage")
    if event.cost != pricing.cost(price, event.usage, event.started_at) or event.cost > MAX_NANO:
        raise Refused("the cost is not what the usage comes to")
