"""Which passage an answer takes: by the provider's protocol, the caller's, and whether it is told as a stream. Pure."""

from typing import Any, NamedTuple

import msgspec

from libs.contracts.dispatch import Dispatch
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT
from services.router import whole
from services.router.chat_passage import ChatPassage
from services.router.choose import Chosen
from services.router.convert import replay
from services.router.convert.answers import fold_chat, fold_messages
from services.router.convert.terms import Answering
from services.router.converting import AsChat, AsMessages, Collected, Tell, as_chat_events, as_messages_events
from services.router.messages_passage import MessagesPassage
from services.router.passage import Passage, Terms
from services.router.prepare import Prepared
from services.router.raws import encoded, read
from services.router.telling import SameChat, SameMessages, Telling

_document = msgspec.json.Decoder(dict[str, Any])


class Kept(Telling[Any]):
    """A stream in the caller's own protocol, kept for a plain answer."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def tell(self, data: bytes, seen: Any, used: Usage | None) -> bytes:  # noqa: ARG002 - nothing is edited yet
        return self._collected([read(_document, dict[str, Any], data)])

    def close(self, charged: Usage) -> bytes:  # noqa: ARG002 - the figures are in the events
        return b""


class Memory(NamedTuple):
    """Signatures, and the keys under which they are found again."""

    keys: tuple[str, ...]
    signed: tuple[replay.Signed, ...]


class Told:
    """A passage, and for plain callers what is folded out of it."""

    def __init__(
        self, order: Dispatch, passage: Passage, telling: Telling[Any], collected: Collected, started_ms: int
    ) -> None:
        self.passage = passage
        self._order = order
        self._telling = telling
        self._collected = collected
        self._started_ms = started_ms

    def folded(self, charged: Usage) -> bytes:
        """The plain answer. Raises UpstreamFailed when the events do not make one."""
        self.passage.closing(charged)
        fold = fold_chat.fold if self._order.protocol == OPENAI_CHAT else fold_messages.fold
        body = encoded(fold(self._collected.events))
        if not isinstance(self._telling, Kept):
            return body
        return whole.answer(body, self._order, self._started_ms, charged=charged).body

    def to_remember(self) -> Memory | None:
        """What an OpenAI caller cannot give back of an answer's signed thinking."""
        if not isinstance(self._telling, AsChat) or not self._telling.machine.thoughts:
            return None
        machine = self._telling.machine
        return Memory(replay.keys_of(machine.thoughts, machine.call_ids), replay.signed(machine.thoughts))


def told_to(order: Dispatch, chosen: Chosen, prepared: Prepared, started_ms: int) -> Told:
    collected = Collected()
    telling = _telling(order, prepared.answering, started_ms, collected)
    make = ChatPassage if chosen.offer.protocol == OPENAI_CHAT else MessagesPassage
    return Told(order, make(order, telling, terms_of(chosen)), telling, collected, started_ms)


def terms_of(chosen: Chosen) -> Terms:
    return Terms(chosen.offer.profile.errors, chosen.context_tokens)


def _telling(order: Dispatch, answering: Answering | None, started_ms: int, collected: Collected) -> Telling[Any]:
    chat = order.protocol == OPENAI_CHAT
    if answering is not None:
        tell: Tell = collected if not order.stream else as_chat_events if chat else as_messages_events
        return (AsChat if chat else AsMessages)(order, started_ms, answering, tell)
    if not order.stream:
        return Kept(collected)
    return (SameChat if chat else SameMessages)(order, started_ms)
