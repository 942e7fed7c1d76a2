"""How what could not be booked is kept until somebody decides: one event, word for word, in an envelope of its own.
Pure. The same event makes the same bytes whenever and with whatever neighbours it comes, so that it is kept once."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from libs.contracts import usage
from libs.pricing import Price
from services.billing.verdict import UNREADABLE, Judge, Keys, Refused

MOST_OF_A_REASON: Final = 200
MAX_ID: Final = (1 << 63) - 1
MAX_EPOCH: Final = (1 << 31) - 1


class Named(NamedTuple):
    """What can be read of an event that makes no sense as a whole."""

    request_id: UUID | None = None
    org: int | None = None
    epoch: int | None = None
    price_id: str | None = None


class Parcel(msgspec.Struct, frozen=True):
    """``body``: a message that billing would read. Whose it is stands beside it where that can be read."""

    body: bytes
    reason: str
    request_id: UUID | None = None
    org: int | None = None
    epoch: int | None = None

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.body).digest()


def of_event(raw: bytes, producer: str, prices: Mapping[str, Price], keys: Keys, reason: str) -> Parcel:
    """One event, with the price that it names. A producer's event is sealed again, because its seal was good."""
    named = name(raw)
    needed = {price_id: price for price_id, price in prices.items() if price_id == named.price_id}
    alone = usage.Envelope(usage.SCHEMA, producer, 0, needed, [msgspec.Raw(raw)])
    if producer in keys:
        alone = usage.seal_envelope(alone, keys[producer][0])
    return Parcel(usage.encode_envelope(alone), sentence(reason), named.request_id, named.org, named.epoch)


def of_message(body: bytes, reason: str) -> Parcel:
    """A whole message that cannot be opened, or whose seal is not good: nothing of it may be written anew."""
    named = _only_event(body)
    return Parcel(body, sentence(reason), named.request_id, named.org, named.epoch)


def parcels(body: bytes, judge: Judge, reason: str) -> list[Parcel]:
    """A message event by event if it can be opened, else whole."""
    try:
        envelope = judge.open(body)
    except Refused as error:
        return [of_message(body, f"{reason}; {error}")]
    return [of_event(bytes(raw), envelope.producer, envelope.prices, judge.keys, reason) for raw in envelope.events]


def name(raw: bytes) -> Named:
    try:
        said = msgspec.json.decode(raw)
    except UNREADABLE:
        return Named()
    if not isinstance(said, dict):
        return Named()
    hold = said.get("hold")
    price_id = said.get("price_id")
    return Named(
        _uuid(said.get("request_id")),
        _whole(said.get("org"), MAX_ID),
        _whole(hold.get("epoch"), MAX_EPOCH) if isinstance(hold, dict) else None,
        price_id if isinstance(price_id, str) else None,
    )


def sentence(reason: str) -> str:
    """A reason as a database can keep it."""
    return reason.replace("\0", "␀").encode("utf-8", "replace").decode("utf-8")[:MOST_OF_A_REASON]


def _only_event(body: bytes) -> Named:
    try:
        events = usage.decode_envelope(body).events
    except UNREADABLE:
        return Named()
    return name(bytes(events[0])) if len(events) == 1 else Named()


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _whole(value: Any, most: int) -> int | None:
    return value if type(value) is int and 0 <= value <= most else None
