"""What the edge hands the router with a request: who pays, what was set aside, what was seen of the body.

`POST /internal/v1/dispatch` carries the caller's own bytes; the Dispatch travels beside them in one header, sealed by
an HMAC so that the body never has to be parsed twice and no other caller can make one up.
"""

import base64
import hashlib
import hmac
from functools import lru_cache
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


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Credit set aside for one request: nano-USD by bucket, inside one lease (``epoch``) of one Redis (``shard``).

    ``authorized_at``: Unix milliseconds on that Redis's clock. Everything that is decided by watermarks compares this
    one number. 0 in events from before it was told.
    """

    cash: int
    plan: int
    epoch: int
    shard: str
    authorized_at: int = 0

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


def sign_hold(
    request_id: UUID, org: int, key: int, price_id: str, hold: Hold, *, secret: bytes, producer: str = ""
) -> str:
    """The word of whoever made a hold, to billing. The router carries it and cannot make one.

    ``producer``: the service other than a router that the hold was made for; nobody else can be paid out of it.
    """
    text = f"hold\0{request_id.hex}\0{org}\0{key}\0{price_id}\0{hold.cash}\0{hold.plan}\0{hold.epoch}\0{hold.shard}"
    if hold.authorized_at or producer:  # later additions: what was signed without them stays good
        text += f"\0{hold.authorized_at}\0{producer}"
    mac = _keyed(secret).copy()
    mac.update(text.encode())
    return mac.hexdigest()


@lru_cache(maxsize=8)
def _keyed(secret: bytes) -> hmac.HMAC:
    """Made once: to set up the hash costs more than to sign."""
    return hmac.new(secret, digestmod=hashlib.sha256)
