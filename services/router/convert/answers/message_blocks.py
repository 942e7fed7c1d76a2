"""The content blocks of one Message as events: one open at a time, numbered without gaps. Pure."""

from collections.abc import Callable
from typing import Any, Final, Literal

from services.router.convert.surrogates import Halves

Event = dict[str, Any]
Prose = Literal["text", "thinking"]
DELTAS: Final[dict[Prose, str]] = {"text": "text_delta", "thinking": "thinking_delta"}
EMPTY: Final[dict[Prose, dict[str, str]]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class MessageBlocks:
    """Events collect until they are drained. ``sign`` makes a thinking block's signature from its whole text."""

    def __init__(self, sign: Callable[[str], str]) -> None:
        self._sign = sign
        self._events: list[Event] = []
        self._index = -1
        self._open: Literal["", "text", "thinking", "tool_use"] = ""
        self._thought: list[str] = []
        self._halves = Halves()

    def send(self, event: Event) -> None:
        self._events.append(event)

    def drain(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def say(self, kind: Prose, text: str) -> None:
        """More text or thinking, in a block that is open or in a new one."""
        if self._open != kind:
            self._begin(kind, dict(EMPTY[kind]))
        shown = self._halves.join(text)
        if kind == "thinking":
            self._thought.append(shown)
        if shown:
            self._delta({"type": DELTAS[kind], kind: shown})

    def call(self, call_id: str, name: str) -> None:
        """A new tool call, whose arguments follow."""
        self._begin("tool_use", {"type": "tool_use", "id": call_id, "name": name, "input": {}})

    def argue(self, arguments: str) -> None:
        """More arguments of the call that is open."""
        if shown := self._halves.join(arguments):
            self._delta({"type": "input_json_delta", "partial_json": shown})

    def close(self) -> None:
        if not self._open:
            return
        if self._open == "thinking":
            self._delta({"type": "signature_delta", "signature": self._sign("".join(self._thought))})
            self._thought = []
        self._open = ""
        self.send({"type": "content_block_stop", "index": self._index})

    def _begin(self, kind: Literal["text", "thinking", "tool_use"], block: dict[str, Any]) -> None:
        self.close()
        self._index += 1
        self._open, self._halves = kind, Halves()
        self.send({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, str]) -> None:
        self._events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
