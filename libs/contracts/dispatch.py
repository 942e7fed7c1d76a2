"""What the edge hands the router with a request: who pays, what was set aside, what was seen of the body.

`POST /internal/v1/dispatch` carries the caller's own bytes; the Dispatch travels beside them in one header, sealed by
an HMAC so that the body never has to be parsed twice and no other caller can make one up.
"""

import base64
import hashlib
import hmac
from typing import Final
from uuid import UUID

import msgspec

from libs.pricing import Price
from libs.protocols import Protocol

PATH: Final = "/internal/v1/dispatch"
HEADER: Final = "x-tokenoutput-dispatch"
ANSWERED: Final = {"x-tokenoutput-answered": "1"}  # the router took the request and has seen to its hold
FORWARDED_HEADERS: Final = ("anthropic-version", "anthropic-beta", "x-tokenoutput-explain")


class BadSeal(ValueError):
    """The header is not one that the edge sealed."""


class Hold(msgspec.Struct, frozen=True):
    """Credit set aside for one request: nano-USD by bucket, inside one lease (``epoch``) of one Redis (``shard``)."""

    cash: int
    plan: int
    epoch: int
    shard: str

    @property
    def amount(self) -> int:
        return self.cash + self.plan


class Dispatch(msgspec.Struct, frozen=True):
    """One admitted request. Times are Unix milliseconds; ``output_cap`` is the number of output tokens held for and
    therefore the number that must reach the provider; ``hold_sig`` is for billing, not for the router."""

    request_id: UUID
    org: int
    key: int
    protocol: Protocol
    model: str
    stream: bool
    usage_wanted: bool
    choices: int
    output_cap: int
    cap_given: bool
    input_bound: int
    price_id: str
    price: Price
    hold: Hold
    hold_sig: str
    accepted_at: int
    dispatch_by: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Dispatch)


def _mac(payload: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, b"dispatch\0" + payload, hashlib.sha256).digest()


def seal(dispatch: Dispatch, secret: bytes) -> str:
    """The header's value: the Dispatch and its MAC, URL-safe base64."""
    payload = _encoder.encode(dispatch)
    return base64.urlsafe_b64encode(_mac(payload, secret) + payload).decode("ascii")


def unseal(header: str, secret: bytes) -> Dispatch:
    """Raises BadSeal for anything that this secret did not seal."""
    try:
        raw = base64.urlsafe_b64decode(header.encode("ascii"))
    except ValueError as error:
        raise BadSeal("not base64") from error
    mac, payload = raw[:32], raw[32:]
    if not hmac.compare_digest(mac, _mac(payload, secret)):
        raise BadSeal("the seal does not fit")
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise BadSeal(str(error)) from error


def sign_hold(request_id: UUID, org: int, key: int, price_id: str, hold: Hold, *, secret: bytes) -> str:
    """The edge's word to billing about a hold. The router carries it and cannot make one."""
    parts = (request_id.hex, org, key, price_id, hold.cash, hold.plan, hold.epoch, hold.shard)
    text = "hold\0" + "\0".join(map(str, parts))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
