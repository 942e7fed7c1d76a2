"""The usage event, `usage.v1`: how each admitted request ended and what it used.

Published by the router (and, with their own producer key, by other internal services) to a direct exchange, one
message per batch; read by billing. Additive fields stay v1; a change of meaning is a v2 on queues of its own.
"""

import hashlib
import hmac
import zlib
from typing import Final, Literal
from uuid import UUID

import msgspec

from libs.contracts.dispatch import Hold
from libs.pricing import Price, Usage

SCHEMA: Final = "usage.v1"
EXCHANGE: Final = "usage.v1"
PARKING_EXCHANGE: Final = "usage.dlx"
PARKED_QUEUE: Final = "usage.parked"
PARTITIONS: Final = 8
MAX_EVENTS: Final = 100
MAX_BYTES: Final = 256 * 1024

Outcome = Literal["usage", "void", "estimated"]


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try of one Offer: the provider's HTTP status (0 when there was none), why it ended, and how long it took."""

    offer: str
    status: int
    reason: str
    ms: int


class UsageEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request's terminal record. Times are Unix milliseconds, money is nano-USD.

    ``usage`` — the provider's own figures; ``void`` — nothing is owed; ``estimated`` — the provider gave no final
    figures and ours stand in for them.
    """

    request_id: UUID
    outcome: Outcome
    reason: str
    org: int
    key: int
    model: str
    offer: str
    provider: str
    provider_model: str
    price_id: str
    usage: Usage
    cost: int
    hold: Hold
    sig: str
    accepted_at: int
    started_at: int
    ended_at: int
    first_token_at: int | None = None
    provider_request_id: str | None = None
    stream: bool = False
    client_gone: bool = False
    attempts: tuple[Attempt, ...] = ()


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message: at most ``MAX_EVENTS`` events and each price version they name, once.

    Events stay undecoded here so that one that makes no sense costs its neighbours nothing. ``mac`` is the seal of a
    producer that is not a router (``seal_envelope``); a router's events carry the word of the edge instead.
    """

    schema: str
    producer: str
    sent_at: int
    prices: dict[str, Price]
    events: list[msgspec.Raw]
    mac: str = ""


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(UsageEvent)
_envelope_decoder = msgspec.json.Decoder(Envelope)


def partition_of(org: int) -> int:
    """The queue an org's events go to. Only lock locality depends on it, never correctness."""
    return zlib.crc32(str(org).encode()) % PARTITIONS


def routing_key(partition: int) -> str:
    return f"p{partition}"


def queue_name(partition: int) -> str:
    return f"{EXCHANGE}.p{partition}"


def encode_event(event: UsageEvent) -> bytes:
    return _encoder.encode(event)


def decode_event(raw: bytes | msgspec.Raw) -> UsageEvent:
    """Raises ``msgspec.DecodeError`` for anything that is no v1 event."""
    return _event_decoder.decode(raw)


def encode_envelope(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def mac_of(envelope: Envelope, key: bytes) -> str:
    """HMAC-SHA256 over all of the envelope but ``mac``, as hex digits. What is signed is its JSON with keys in order
    and without white space, in which every event stands byte for byte as it is sent."""
    unsealed = msgspec.structs.replace(envelope, mac="")
    return hmac.new(key, b"envelope\0" + msgspec.json.encode(unsealed, order="sorted"), hashlib.sha256).hexdigest()


def seal_envelope(envelope: Envelope, key: bytes) -> Envelope:
    """The envelope with the seal of the producer that it names."""
    return msgspec.structs.replace(envelope, mac=mac_of(envelope, key))


def decode_envelope(body: bytes) -> Envelope:
    """Raises ``msgspec.DecodeError`` for anything that is no v1 envelope."""
    envelope = _envelope_decoder.decode(body)
    if envelope.schema != SCHEMA:
        raise msgspec.ValidationError(f"schema {envelope.schema!r} is not {SCHEMA!r}")
    return envelope
