"""An openai_chat provider's stream: what it used, and whether it is whole. Pure.

Rules: the answer ends at `[DONE]`, or at the end of the bytes once every choice has its finish_reason; without one it
was cut.
"""

from typing import Any

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, UpstreamFailed
from services.router import meter, refusals
from services.router.chat_wire import Choice, Chunk, Delta, decoder
from services.router.passage import NO_ANSWER, NO_USAGE, UNKNOWN, Passage, Terms, id_of
from services.router.raws import UNREADABLE, read, size_of
from services.router.telling import Telling


class ChatPassage(Passage):
    """State of one stream. See ``Passage``."""

    def __init__(self, order: Dispatch, telling: Telling[Chunk], terms: Terms = UNKNOWN) -> None:
        super().__init__(order, telling, terms)
        self._begun: set[int] = set()
        self._finished: set[int] = set()

    def feed(self, event: sse.Event) -> bytes:
        if event.data == b"[DONE]":
            self.stop_reading = True
            self.complete = self.complete or (bool(self._finished) and self._finished == self._begun)
            return b""
        try:
            chunk = read(decoder, Chunk, event.data)
            if chunk.error is not None:
                return self._declared(chunk.error)
            return self._seen(event.data, chunk)
        except UNREADABLE:
            return self._fail(UpstreamFailed(NO_ANSWER))
        except GatewayError as error:
            return self._fail(error)

    def _seen(self, data: bytes, chunk: Chunk) -> bytes:
        self.upstream_id = self.upstream_id or id_of(chunk.id)
        if chunk.usage is not None:
            self._meter(chunk.usage)
        for choice in chunk.choices or ():
            self._see(choice)
        return self._telling.tell(data, chunk, self.usage) if self.failure is None else b""

    def _see(self, choice: Choice) -> None:
        index = choice.index or 0
        self._begun.add(index)
        if choice.finish_reason in refusals.BROKEN_FINISHES:
            self._fail(refusals.broken_finish(choice.finish_reason))
        elif choice.finish_reason:
            self._finished.add(index)
            self.complete = len(self._finished) >= self._order.choices
        if choice.delta is not None:
            self.delivered += said(choice.delta)

    def _meter(self, figures: dict[str, Any]) -> None:
        """Figures that are all zero are none: they neither replace real ones nor make an answer free."""
        used = meter.of_chat(figures)
        if used != NO_USAGE:
            self.usage, self.final = used, True


def said(delta: Delta) -> int:
    """Bytes of an answer in one delta: its texts, and of tool calls their names and arguments."""
    total = 0
    for text in (delta.content, delta.reasoning_content, delta.reasoning, delta.refusal):
        if text:
            total += size_of(text)
    if not delta.tool_calls and not delta.function_call:
        return total
    calls = delta.tool_calls if isinstance(delta.tool_calls, list) else []
    functions = [delta.function_call, *(call.get("function") for call in calls if isinstance(call, dict))]
    return total + sum(
        size_of(function.get("name")) + size_of(function.get("arguments"))
        for function in functions
        if isinstance(function, dict)
    )
