"""What all passages of an answer have in common: what was seen of it, and the small edits both protocols need. Pure."""

import json
from typing import Any, Final, Protocol, TypeVar

import msgspec

from libs import pricing
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError
from libs.pricing import Usage
from libs.sse import Event

T = TypeVar("T")
Fields = dict[str, msgspec.Raw]
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NO_ANSWER: Final = "The provider sent something that is no answer."
MAX_ID: Final = 200
_fields = msgspec.json.Decoder(Fields)


class Passage(Protocol):
    """A stream's way through the gateway: events in, bytes for the caller out. It owns its state and no socket."""

    usage: Usage | None
    final: bool
    complete: bool
    stop_reading: bool
    must_abort: bool
    failure: GatewayError | None
    delivered: int
    upstream_id: str | None

    def feed(self, event: Event) -> bytes:
        """What the caller gets for this event. The very last one is held back for ``closing``."""
        ...

    def closing(self) -> bytes:
        """The bytes that tell the caller that the answer is whole."""
        ...


def fields_of(raw: bytes | msgspec.Raw) -> Fields:
    """Raises one of UNREADABLE."""
    return _fields.decode(raw)


def read(decoder: "msgspec.json.Decoder[T]", kind: type[T], data: bytes) -> T:
    """One event. Raises one of UNREADABLE. Some providers cut an emoji in two between events: JSON allows half a
    surrogate pair, msgspec does not, and a caller's own parser will know what to do with it."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        try:
            return msgspec.convert(json.loads(data), kind)
        except ValueError:
            raise error from None


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def size_of(said: Any) -> int:
    """Bytes of what was said, in whatever shape: text as text, anything else as its JSON."""
    if not said:
        return 0
    return len(said.encode("utf-8", "surrogatepass")) if isinstance(said, str) else len(msgspec.json.encode(said))


def id_of(value: object) -> str | None:
    """The provider's id for the answer, if it is one that can be written down."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable() else None


def with_cost(usage: bytes | msgspec.Raw, metered: Usage, order: Dispatch, started_ms: int) -> msgspec.Raw:
    """The protocol's usage object with `cost`: the decimal USD that are charged, which never pass the hold."""
    fields = fields_of(usage)
    charged = min(pricing.cost(order.price, metered, started_ms), order.hold.amount)
    fields["cost"] = raw(pricing.usd(charged))
    return raw(fields)
