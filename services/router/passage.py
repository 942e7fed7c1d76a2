"""What all passages of an answer have in common: what was seen of it, whoever it is told to. Pure."""

from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError
from libs.pricing import Usage
from libs.protocols import Protocol
from libs.sse import Event
from services.router import refusals
from services.router.telling import Telling

NO_ANSWER: Final = "The provider sent something that is no answer."
NO_USAGE: Final = Usage()
MAX_ID: Final = 200


class Terms(msgspec.Struct, frozen=True):
    """What is known of the offer: its own error codes, and the model's limit in tokens (0: unknown)."""

    errors: refusals.Codes = refusals.NO_CODES
    context_tokens: int = 0

    def declared(self, error: object, caller: Protocol) -> GatewayError:
        """What an error inside an answer means to the caller."""
        return refusals.declared(error, errors=self.errors, protocol=caller, context_tokens=self.context_tokens)


UNKNOWN: Final = Terms()


class Passage(ABC):
    """A stream's way through the gateway: events in, bytes for the caller out. It owns its state and no socket.

    ``usage`` is what the provider has said so far and ``final`` whether that was its last word. ``complete``: the
    answer is whole. ``stop_reading``: nothing more of it matters. ``delivered`` counts bytes of what was said.
    """

    def __init__(self, order: Dispatch, telling: Telling[Any], terms: Terms) -> None:
        self.usage: Usage | None = None
        self.final = False
        self.complete = False
        self.stop_reading = False
        self.failure: GatewayError | None = None
        self.delivered = 0
        self.upstream_id: str | None = None
        self._order = order
        self._telling = telling
        self._terms = terms

    @abstractmethod
    def feed(self, event: Event) -> bytes:
        """What the caller gets for this event. The very last one is held back for ``closing``."""

    def closing(self, charged: Usage) -> bytes:
        """The bytes that tell the caller that the answer is whole; ``charged`` is what was recorded of it."""
        return self._telling.close(charged)

    def keep_alive(self) -> bytes:
        """Bytes for a caller who has waited long."""
        return self._telling.keep_alive()

    @property
    def meaningful(self) -> bool:
        """Something was said, or everything is over: no longer just the preamble."""
        return self.delivered > 0 or self.complete

    @property
    def must_abort(self) -> bool:
        """A break may only be shown by cutting the connection."""
        return self._telling.must_abort

    def _declared(self, error: object) -> bytes:
        return self._fail(self._terms.declared(error, self._order.protocol))

    def _fail(self, error: GatewayError) -> bytes:
        self.failure, self.stop_reading = error, True
        return b""


def id_of(value: object) -> str | None:
    """The provider's id for the answer, if it is one that can be written down."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isprintable() else None
