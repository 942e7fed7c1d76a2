"""An OpenAI stream for an OpenAI caller. Pure.

Rules: the answer ends at `[DONE]`, or at the end of the bytes once every choice has its finish_reason; without one it
was cut. Usage is always asked for, so its chunk is kept from callers who did not ask.
"""

from typing import Any

import msgspec

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.errors import UpstreamFailed
from libs.pricing import Usage
from services.router import meter, refusals
from services.router.chat_wire import Choice, Chunk, Delta, decoder
from services.router.passage import NO_ANSWER, UNREADABLE, Passage, fields_of, id_of, read, size_of, with_cost

BROKEN_FINISHES = frozenset({"network_error", "insufficient_system_resource"})  # GLM's and DeepSeek's words for it
DONE = b"data: [DONE]\n\n"


class ChatPassage(Passage):
    """State of one stream. See ``Passage``."""

    def __init__(self, order: Dispatch, started_ms: int) -> None:
        super().__init__(order, started_ms)
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
                return self._fail(refusals.declared(chunk.error))
            data = self._for_the_caller(event.data, chunk)
        except UNREADABLE:
            return self._fail(UpstreamFailed(NO_ANSWER))
        self.upstream_id = self.upstream_id or id_of(chunk.id)
        for choice in chunk.choices or ():
            self._see(choice)
        return sse.encode(data) if data and self.failure is None else b""

    def closing(self) -> bytes:
        return DONE

    def _see(self, choice: Choice) -> None:
        index = choice.index or 0
        self._begun.add(index)
        if choice.finish_reason in BROKEN_FINISHES:
            self._fail(UpstreamFailed(f"The provider broke off: {choice.finish_reason}"))
        elif choice.finish_reason:
            self._finished.add(index)
            self.complete = len(self._finished) >= self._order.choices
        if choice.delta is not None:
            self.delivered += said(choice.delta)

    def _for_the_caller(self, data: bytes, chunk: Chunk) -> bytes:
        """The chunk under the name that was asked for; its usage with the cost, or kept from those who did not ask."""
        named = chunk.model is None or chunk.model == self._order.model
        if named and chunk.usage is None:
            return data
        fields = fields_of(data)
        if not named:
            fields["model"] = self._model
        if chunk.usage is not None:
            self._meter(chunk.usage)
            if not self._order.usage_wanted:
                del fields["usage"]
                return msgspec.json.encode(fields) if chunk.choices else b""
            if self.usage is not None:
                fields["usage"] = with_cost(fields["usage"], self.usage, self._order, self._started_ms)
        return msgspec.json.encode(fields)

    def _meter(self, figures: dict[str, Any]) -> None:
        """Figures that are all zero are none: they neither replace real ones nor make an answer free."""
        used = meter.of_chat(figures)
        if used != Usage():
            self.usage, self.final = used, True


def said(delta: Delta) -> int:
    """Bytes of an answer in one delta: its texts, and of tool calls their names and arguments."""
    total = sum(map(size_of, (delta.content, delta.reasoning_content, delta.reasoning, delta.refusal)))
    if not delta.tool_calls and not delta.function_call:
        return total
    calls = delta.tool_calls if isinstance(delta.tool_calls, list) else []
    functions = [delta.function_call, *(call.get("function") for call in calls if isinstance(call, dict))]
    return total + sum(
        size_of(function.get("name")) + size_of(function.get("arguments"))
        for function in functions
        if isinstance(function, dict)
    )
