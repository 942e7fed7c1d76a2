"""How an answer is told to a caller of the other protocol: through a state machine of `convert`, as bytes of a stream
or collected for a plain answer. Pure."""

from collections.abc import Callable, Iterable
from typing import Any

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.pricing import Usage
from services.router.chat_wire import Chunk
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.messages_as_chat import MessagesAsChat
from services.router.convert.terms import Answering
from services.router.messages_wire import Happening
from services.router.raws import encoded
from services.router.telling import COMMENT, DONE, PING, Telling, cost_of

Tell = Callable[[Iterable[dict[str, Any]]], bytes]


class AsMessages(Telling[Chunk]):
    """An OpenAI provider's chunks for an Anthropic caller."""

    def __init__(self, order: Dispatch, started_ms: int, answering: Answering, tell: Tell) -> None:
        self._order = order
        self._started_ms = started_ms
        self._machine = ChatAsMessages(answering)
        self._tell = tell

    def tell(self, data: bytes, seen: Chunk, used: Usage | None) -> bytes:  # noqa: ARG002 - told anew, not edited
        told = self._tell(self._machine.take(seen))
        self.must_abort = self._machine.tool_opened
        return told

    def close(self, charged: Usage) -> bytes:
        return self._tell(self._machine.close(charged, cost_of(charged, self._order, self._started_ms)))

    def keep_alive(self) -> bytes:
        return PING if self._machine.started else self._tell(self._machine.start())


class AsChat(Telling[Happening]):
    """An Anthropic provider's events for an OpenAI caller."""

    def __init__(self, order: Dispatch, started_ms: int, answering: Answering, tell: Tell) -> None:
        self._order = order
        self._started_ms = started_ms
        self.machine = MessagesAsChat(answering)
        self._tell = tell

    def tell(self, data: bytes, seen: Happening, used: Usage | None) -> bytes:  # noqa: ARG002 - told anew, not edited
        return self._tell(self.machine.take(seen))

    def close(self, charged: Usage) -> bytes:
        chunks = self.machine.close(charged, cost_of(charged, self._order, self._started_ms))
        if self._order.stream and not self._order.usage_wanted:
            chunks = [chunk for chunk in chunks if chunk["choices"]]
        return self._tell(chunks) + DONE

    def keep_alive(self) -> bytes:
        return COMMENT


def as_chat_events(chunks: Iterable[dict[str, Any]]) -> bytes:
    return b"".join([sse.encode(encoded(chunk)) for chunk in chunks])


def as_messages_events(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join([sse.encode(encoded(event), event["type"]) for event in events])


class Collected:
    """Keeps what is told, to be folded into a plain answer."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, events: Iterable[dict[str, Any]]) -> bytes:
        self.events.extend(events)
        return b""
