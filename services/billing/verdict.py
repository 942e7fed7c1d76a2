"""Whether a usage event may be charged as it stands. Pure. One that may not is parked, alone."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final, NewType

import msgspec

from libs import ids, pricing
from libs.contracts import dispatch, usage
from libs.pricing import Price

ID_TOLERANCE_MS: Final = 60_000
FUTURE_TOLERANCE_MS: Final = 10 * 60_000
OLDEST_MS: Final = 35 * 24 * 3600 * 1000  # older ones could fall behind the partitions that guard against repeats
MAX_NANO: Final = (1 << 63) - 1
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NOTHING: Final = pricing.Usage()

Honest = NewType("Honest", dict[str, Price])
"""Prices by id, each the one that its id names."""

Keys = Mapping[str, Sequence[bytes]]
"""The keys of producers that are not routers, by name."""


class Refused(ValueError):
    """Why the event is parked."""


class Accepted(msgspec.Struct, frozen=True):
    """An event that may be charged: who sent it, its own words, and a digest of all it says."""

    event: usage.UsageEvent
    digest: bytes
    producer: str = ""
    raw: bytes = b""


class Judge(msgspec.Struct, frozen=True):
    """What a verdict takes: the secret that holds are signed with, and the producers' keys."""

    secret: bytes
    keys: Keys

    def open(self, body: bytes) -> usage.Envelope:
        """Raises Refused for what is no envelope, or not from whom it says."""
        try:
            envelope = usage.decode_envelope(body)
        except UNREADABLE as error:
            raise Refused(f"malformed envelope: {error}") from error
        self.check_seal(envelope)
        return envelope

    def check_seal(self, envelope: usage.Envelope) -> None:
        """A router needs none: its events bear the word of the edge. Raises Refused."""
        keys = self.keys.get(envelope.producer, ())
        if not keys and envelope.mac:
            raise Refused("sealed by a producer that is not known")
        if keys and not any(_same(usage.mac_of(envelope, key), envelope.mac) for key in keys):
            raise Refused("the producer's seal is missing or wrong")

    def judge(self, raw: bytes, envelope: usage.Envelope, prices: Honest, now_ms: int) -> Accepted:
        """Raises Refused with the reason. ``envelope``: the one that the event came in, opened."""
        try:
            event = usage.decode_event(raw)
        except UNREADABLE as error:
            raise Refused(f"malformed: {error}") from error
        signed_for = envelope.producer if envelope.producer in self.keys else ""
        _check_hold(event, self.secret, signed_for)
        _check_times(event, now_ms)
        _check_cost(event, prices)
        return Accepted(event, _digest(event), envelope.producer, raw)


def honest(prices: Mapping[str, Price]) -> Honest:
    """Those that are what their ids say."""
    return Honest({name: price for name, price in prices.items() if pricing.version_of(price) == name})


def _digest(event: usage.UsageEvent) -> bytes:
    """Of what the event means and not of how it is written: another version may write the same event again."""
    return hashlib.sha256(msgspec.json.encode(event, order="sorted")).digest()


def _check_hold(event: usage.UsageEvent, secret: bytes, producer: str) -> None:
    hold = event.hold
    if not (0 <= hold.cash <= MAX_NANO and 0 <= hold.plan <= MAX_NANO and hold.amount <= MAX_NANO):
        raise Refused("hold out of range")
    signed = dispatch.sign_hold(
        event.request_id, event.org, event.key, event.price_id, hold, secret=secret, producer=producer
    )
    if "\0" in hold.shard or not _same(signed, event.sig):  # what separates the parts may be in none of them
        raise Refused("bad signature")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _check_times(event: usage.UsageEvent, now_ms: int) -> None:
    if abs(ids.millisecond_of(event.request_id) - event.accepted_at) > ID_TOLERANCE_MS:
        raise Refused("the id's time is not when the request was accepted")
    first_token_at = event.started_at if event.first_token_at is None else event.first_token_at
    times = (event.accepted_at, event.started_at, first_token_at, event.ended_at)
    if min(times) < now_ms - OLDEST_MS or max(times) > now_ms + FUTURE_TOLERANCE_MS:
        raise Refused("time out of range")


def _check_cost(event: usage.UsageEvent, prices: Honest) -> None:
    price = prices.get(event.price_id)
    if price is None:
        raise Refused("the price is missing or is not the one that its id names")
    if price.model != event.model:
        raise Refused("the price is another model's")
    if event.outcome == "void" and event.usage != NOTHING:
        raise Refused("a void event with usage")
    if event.cost != pricing.cost(price, event.usage, event.started_at) or event.cost > MAX_NANO:
        raise Refused("the cost is not what the usage comes to")
