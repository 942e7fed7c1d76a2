"""The events of an anthropic_messages stream as the plain Message they make up. Pure.

For events of our own making and for those of a provider that only streams: what is not known passes by.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from libs.errors import UpstreamFailed
from services.router.convert.surrogates import mended

Json = dict[str, Any]
NO_ANSWER: Final = "The provider sent something that is no answer."
ADDED: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def fold(events: Iterable[Json]) -> Json:
    """Raises UpstreamFailed where no message was begun."""
    message: Json | None = None
    blocks = Blocks()
    for event in events:
        if event.get("type") == "message_start":
            message = dict_of(event.get("message"))
        elif event.get("type") == "message_delta" and message is not None:
            _end(message, event)
        else:
            blocks.take(event)
    if not message:
        raise UpstreamFailed(NO_ANSWER)
    return {"stop_reason": None, "stop_sequence": None, **message, "content": blocks.told()}


def tool_input(text: str) -> Json:
    """A tool's arguments as the object that the protocol wants. What is no JSON is handed on under a name of its own:
    the client then reports an input error to the model, which can try again."""
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(mended(text))
    except (msgspec.DecodeError, RecursionError):
        return {"_raw_arguments": mended(text)}
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


class Block:
    """One content block. Its pieces are joined at the end, because joining at each delta takes a square of time."""

    def __init__(self, begun: Json) -> None:
        self._block = begun
        self._texts: dict[str, list[str]] = {}
        self._arguments: list[str] = []
        self._citations: list[Any] = []

    def add(self, delta: Json) -> None:
        kind = str(delta.get("type"))
        if kind == "input_json_delta" and isinstance(piece := delta.get("partial_json"), str):
            self._arguments.append(piece)
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        elif (name := ADDED.get(kind)) and isinstance(piece := delta.get(name), str):
            self._texts.setdefault(name, [_text(self._block.get(name))]).append(piece)

    def told(self) -> Json:
        block = {**self._block, **{name: mended("".join(pieces)) for name, pieces in self._texts.items()}}
        if arguments := "".join(self._arguments):
            block["input"] = tool_input(arguments)
        elif block.get("type") == "tool_use":
            block["input"] = dict_of(block.get("input"))
        if self._citations:
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), *self._citations]
        return block


class Blocks:
    """All content blocks, in the order in which they began."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._at: dict[int, Block] = {}

    def take(self, event: Json) -> None:
        index = event.get("index")
        if event.get("type") == "content_block_start" and isinstance(begun := event.get("content_block"), dict):
            block = Block(begun)
            self._blocks.append(block)
            self._at[index if isinstance(index, int) else len(self._blocks) - 1] = block
        elif event.get("type") == "content_block_delta" and isinstance(delta := event.get("delta"), dict):
            block_at = self._at.get(index) if isinstance(index, int) else self._last()
            if block_at is not None:
                block_at.add(delta)

    def told(self) -> list[Json]:
        return [block.told() for block in self._blocks]

    def _last(self) -> Block | None:
        return self._blocks[-1] if self._blocks else None


def _end(message: Json, event: Json) -> None:
    """Figures are cumulative: what is named replaces what was said before, and null says nothing."""
    message.update(_said(dict_of(event.get("delta"))))
    message["usage"] = {**dict_of(message.get("usage")), **_said(dict_of(event.get("usage")))}


def _said(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def dict_of(value: Any) -> Json:
    """A copy of it; empty for anything else."""
    return dict(value) if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
