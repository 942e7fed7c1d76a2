"""How an answer is told to a caller of the provider's own protocol: as it came, under the name that was asked for and
with the cost beside the usage. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from libs import pricing, sse
from libs.contracts.dispatch import Dispatch
from libs.pricing import Usage
from services.router.chat_wire import Choice, Chunk
from services.router.convert.answers.tidy import CallTidy
from services.router.messages_wire import Happening
from services.router.raws import Fields, fields_of, raw

Seen_contra = TypeVar("Seen_contra", contravariant=True)

DONE: Final = b"data: [DONE]\n\n"
STOP: Final = sse.encode(b'{"type":"message_stop"}', "message_stop")
COMMENT: Final = b": keep-alive\n\n"
PING: Final = sse.encode(b'{"type":"ping"}', "ping")
_choices: Final = msgspec.json.Decoder(list[Fields])


class Telling(ABC, Generic[Seen_contra]):
    """Events in, bytes for the caller out. ``must_abort``: a break may only be shown by cutting the connection."""

    must_abort = False

    @abstractmethod
    def tell(self, data: bytes, seen: Seen_contra, used: Usage | None) -> bytes:
        """What the caller gets for one event; ``used`` are the provider's figures so far. Raises one of UNREADABLE."""

    @abstractmethod
    def close(self, charged: Usage) -> bytes:
        """The bytes that tell the caller that the answer is whole."""

    def keep_alive(self) -> bytes:
        """Something that says nothing, for a caller who has waited long."""
        return COMMENT


class SameChat(Telling[Chunk]):
    """A provider's chunks for an OpenAI caller. Usage is always asked for, so it is kept from those who did not ask."""

    def __init__(self, order: Dispatch, started_ms: int) -> None:
        self._order = order
        self._model = raw(order.model)
        self._started_ms = started_ms
        self._calls: dict[int, CallTidy] = {}

    def tell(self, data: bytes, seen: Chunk, used: Usage | None) -> bytes:
        edits = self._edits(data, seen)
        if not edits and seen.usage is None:
            return sse.encode(data)
        fields = fields_of(data)
        fields.update(edits)
        if seen.usage is not None:
            if not self._order.usage_wanted:
                del fields["usage"]
                return sse.encode(msgspec.json.encode(fields)) if seen.choices else b""
            if used is not None:
                fields["usage"] = with_cost(fields["usage"], used, self._order, self._started_ms)
        return sse.encode(msgspec.json.encode(fields))

    def close(self, charged: Usage) -> bytes:  # noqa: ARG002 - the provider's own figures have been told
        return DONE

    def _edits(self, data: bytes, seen: Chunk) -> Fields:
        edits: Fields = {}
        if seen.model is not None and seen.model != self._order.model:
            edits["model"] = self._model
        tidied = [self._tidied(choice) for choice in seen.choices or ()]
        if any(calls is not None for calls in tidied):
            edits["choices"] = _with_calls(fields_of(data)["choices"], tidied)
        return edits

    def _tidied(self, choice: Choice) -> list[Any] | None:
        """The calls of one choice as OpenAI would have cut them, where they are cut in another way."""
        if choice.delta is None or not isinstance(choice.delta.tool_calls, list):
            return None
        return self._calls.setdefault(choice.index or 0, CallTidy()).tidy(choice.delta.tool_calls)


class SameMessages(Telling[Happening]):
    """A provider's events for an Anthropic caller."""

    def __init__(self, order: Dispatch, started_ms: int) -> None:
        self._order = order
        self._model = raw(order.model)
        self._started_ms = started_ms
        self._begun = False

    def tell(self, data: bytes, seen: Happening, used: Usage | None) -> bytes:
        self._begun = True
        if seen.type == "message_start" and seen.message is not None:
            data = self._under_the_asked_name(data, seen.message.model)
        elif seen.type == "message_delta" and used is not None and _tells_output(seen):
            fields = fields_of(data)
            fields["usage"] = with_cost(fields["usage"], used, self._order, self._started_ms)
            data = msgspec.json.encode(fields)
        elif seen.content_block is not None and seen.content_block.type == "tool_use":
            self.must_abort = True
        return sse.encode(data, seen.type)

    def close(self, charged: Usage) -> bytes:  # noqa: ARG002 - the provider's own figures have been told
        return STOP

    def keep_alive(self) -> bytes:
        return PING if self._begun else COMMENT

    def _under_the_asked_name(self, data: bytes, model: object) -> bytes:
        if model is None or model == self._order.model:
            return data
        fields = fields_of(data)
        inner = fields_of(fields["message"])
        inner["model"] = self._model
        fields["message"] = raw(inner)
        return msgspec.json.encode(fields)


def _with_calls(choices: msgspec.Raw, tidied: Sequence[list[Any] | None]) -> msgspec.Raw:
    found = _choices.decode(choices)
    for choice, calls in zip(found, tidied, strict=True):
        if calls is not None:
            choice["delta"] = raw({**fields_of(choice["delta"]), "tool_calls": calls})
    return raw(found)


def _tells_output(seen: Happening) -> bool:
    return seen.usage is not None and seen.usage.get("output_tokens") is not None


def with_cost(usage: bytes | msgspec.Raw, metered: Usage, order: Dispatch, started_ms: int) -> msgspec.Raw:
    """The protocol's usage object with `cost`."""
    fields = fields_of(usage)
    fields["cost"] = raw(cost_of(metered, order, started_ms))
    return raw(fields)


def cost_of(metered: Usage, order: Dispatch, started_ms: int) -> str:
    """Decimal USD that are charged, which never pass the hold."""
    return pricing.usd(min(pricing.cost(order.price, metered, started_ms), order.hold.amount))
