"""What all passages of an answer have in common: what was seen of it, and the small edits both protocols need. Pure."""

import json
from abc import ABC, abstractmethod
from typing import Any, Final, TypeVar

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


class Passage(ABC):
    """A stream's way through the gateway: events in, bytes for the caller out. It owns its state and no socket.

    ``usage`` is what the provider has said so far and ``final`` whether that was its last word. ``complete``: the
    answer is whole. ``stop_reading``: nothing more of it matters. ``must_abort``: a break may only be shown by cutting
    the connection. ``delivered`` counts bytes of what was said.
    """

    def __init__(self, order: Dispatch, started_ms: int) -> None:
        self.usage: Usage | None = None
        self.final = False
        self.complete = False
        self.stop_reading = False
        self.must_abort = False
        self.failure: GatewayError | None = None
        self.delivered = 0
        self.upstream_id: str | None = None
        self._order = order
        self._model = raw(order.model)
        self._started_ms = started_ms

    @abstractmethod
    def feed(self, event: Event) -> bytes:
        """What the caller gets for this event. The very last one is held back for ``closing``."""

    @abstractmethod
    def closing(self) -> bytes:
        """The bytes that tell the caller that the answer is whole."""

    def _fail(self, error: GatewayError) -> bytes:
        self.failure, self.stop_reading = error, True
        return b""


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
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))


def id_of(value: object) -> str | None:
    """The provider's id for the answer, if it is one that can be written down."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable() else None


def with_cost(usage: bytes | msgspec.Raw, metered: Usage, order: Dispatch, started_ms: int) -> msgspec.Raw:
    """The protocol's usage object with `cost`: the decimal USD that are charged, which never pass the hold."""
    fields = fields_of(usage)
    charged = min(pricing.cost(order.price, metered, started_ms), order.hold.amount)
    fields["cost"] = raw(pricing.usd(charged))
    return raw(fields)
