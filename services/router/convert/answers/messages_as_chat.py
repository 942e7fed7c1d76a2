"""An anthropic_messages provider's stream for an openai_chat caller: events in, chunks out. Pure.

Every chunk has id, object, created and model, the first one the role; a tool call's id, type and name are said once.
OpenAI's own helpers fail or double them otherwise. Thinking is never part of the text.
"""

from typing import Any, Final

import msgspec

from libs.pricing import Usage
from services.router.convert import figures
from services.router.convert.answers import finish_reasons
from services.router.convert.answers.call_blocks import digest
from services.router.convert.answers.inputs import arguments_of
from services.router.convert.replay import Thought
from services.router.convert.surrogates import Halves, mended
from services.router.convert.terms import Answering
from services.router.messages_wire import Happening, Part

Json = dict[str, Any]
MAX_ID: Final = 200
NOTHING: Final = Part()


class Call(msgspec.Struct):
    """A tool call whose block is open. ``position`` counts calls only; ``said``: some arguments were sent."""

    position: int
    given_id: Any
    input: Any
    halves: Halves
    said: bool = False


class Thinking(msgspec.Struct):
    """The thinking block that is open."""

    pieces: list[str]
    signature: str


class MessagesAsChat:
    """State of one answer. ``call_ids`` and ``thoughts`` are what the signed thinking is later found by."""

    tool_opened: Final = False  # an openai_chat caller understands an error at any time

    def __init__(self, answering: Answering) -> None:
        self.call_ids: list[str] = []
        self.thoughts: list[Thought] = []
        self._answering = answering
        self._head: Json = {
            "id": f"chatcmpl-{digest(answering.nonce)}",
            "object": "chat.completion.chunk",
            "created": answering.created,
            "model": answering.model,
        }
        self._started = self._spoke = self._closed = False
        self._text, self._reasoning = Halves(), Halves()
        self._calls: dict[int | None, Call] = {}
        self._thinking: Thinking | None = None
        self._stop_reason: str | None = None
        self._explanation = ""

    def start(self) -> list[Json]:
        """The first chunk, once."""
        if self._started:
            return []
        self._started = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def take(self, event: Happening) -> list[Json]:
        """What the caller gets for this event. After ``close`` that is nothing."""
        match event.type if not self._closed else "":
            case "content_block_delta":
                return self._add(event.index, event.delta or NOTHING)
            case "content_block_start":
                return self._open(event.index, event.content_block or NOTHING)
            case "content_block_stop":
                self._keep_thinking()
                return self._settle(event.index)
            case "message_start":
                return self._begin(event.message or NOTHING)
            case "message_delta":
                self._remember(event.delta or NOTHING)
        return []

    def close(self, usage: Usage, cost: str | None) -> list[Json]:
        """The end of a complete answer. Later calls give nothing."""
        if self._closed:
            return []
        self._keep_thinking()
        chunks = self.start()
        for index in tuple(self._calls):
            chunks += self._settle(index)
        if self._stop_reason == "refusal" and self._explanation and not self._spoke and not self.call_ids:
            chunks.append(self._chunk({"refusal": self._explanation}))
        reason = finish_reasons.reason(self._stop_reason, called=bool(self.call_ids))
        self._closed = True
        counted = {**self._head, "choices": [], "usage": figures.chat(usage, cost)}
        return [*chunks, self._chunk({}, reason), counted]

    def _begin(self, message: Part) -> list[Json]:
        given = message.id
        if not self._started and isinstance(given, str) and 0 < len(given) <= MAX_ID and given.isprintable():
            self._head["id"] = f"chatcmpl-{given}"
        return self.start()

    def _open(self, index: int | None, block: Part) -> list[Json]:
        """Blocks of tools that the provider runs itself, and whatever else is unknown, show nothing."""
        self._keep_thinking()
        match block.type:
            case "text":
                return self._say(block.text)
            case "thinking":
                self._thinking = Thinking([], _text(block.signature))
                return self._think(block.thinking)
            case "redacted_thinking":
                self.thoughts.append(Thought(text="", redacted=_text(block.data)))
            case "tool_use":
                return self._call(index, block)
        return []

    def _add(self, index: int | None, delta: Part) -> list[Json]:
        match delta.type:
            case "text_delta":
                return self._say(delta.text)
            case "thinking_delta":
                return self._think(delta.thinking)
            case "input_json_delta":
                return self._argue(index, delta.partial_json)
            case "signature_delta" if self._thinking is not None:
                self._thinking.signature = _text(delta.signature) or self._thinking.signature
        return []

    def _say(self, said: Any) -> list[Json]:
        text = self._text.join(said) if isinstance(said, str) else ""
        if not text:
            return []
        self._spoke = True
        return self._send({"content": text})

    def _think(self, said: Any) -> list[Json]:
        text = self._reasoning.join(said) if isinstance(said, str) else ""
        if not text:
            return []
        if self._thinking is None:
            self._thinking = Thinking([], "")
        self._thinking.pieces.append(text)
        return [] if self._answering.thinking_hidden else self._send({"reasoning_content": text})

    def _keep_thinking(self) -> None:
        """Also where nothing of it was readable: the signature alone is worth giving back."""
        block, self._thinking = self._thinking, None
        if block is not None and (block.pieces or block.signature):
            self.thoughts.append(Thought(text="".join(block.pieces), signature=block.signature))

    def _call(self, index: int | None, block: Part) -> list[Json]:
        """Nobody can run a call without a name. A block that is opened twice is one block."""
        before = self._calls.get(index)
        if not (name := _text(block.name)) or (before is not None and before.given_id == block.id):
            return []
        settled = self._settle(index)
        self._calls[index] = Call(len(self.call_ids), block.id, block.input, Halves())
        self.call_ids.append(self._unique(_text(block.id)))
        function = {"name": self._answering.names.original(name), "arguments": ""}
        said = {"index": len(self.call_ids) - 1, "id": self.call_ids[-1], "type": "function", "function": function}
        return settled + self._send({"tool_calls": [said]})

    def _unique(self, given: str) -> str:
        if given and given not in self.call_ids:
            return given
        return f"call_{digest(f'{self._answering.nonce}:{len(self.call_ids)}')}"

    def _argue(self, index: int | None, said: Any) -> list[Json]:
        if (call := self._calls.get(index)) is None:
            return []
        text = call.halves.join(said if isinstance(said, str) else arguments_of(said))
        return self._send_arguments(call, text) if text else []

    def _settle(self, index: int | None) -> list[Json]:
        """A call is over. One that streamed no arguments has those it began with."""
        call = self._calls.pop(index, None)
        return [] if call is None or call.said else self._send_arguments(call, arguments_of(call.input) or "{}")

    def _send_arguments(self, call: Call, text: str) -> list[Json]:
        call.said = True
        return self._send({"tool_calls": [{"index": call.position, "function": {"arguments": text}}]})

    def _remember(self, delta: Part) -> None:
        """A later null takes nothing back."""
        self._stop_reason = delta.stop_reason or self._stop_reason
        if isinstance(delta.stop_details, dict):
            self._explanation = _text(delta.stop_details.get("explanation")) or self._explanation

    def _send(self, delta: Json) -> list[Json]:
        chunk = self._chunk(delta)
        return [chunk] if self._started else [*self.start(), chunk]

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._head, "choices": [choice]}


def _text(value: Any) -> str:
    return mended(value) if isinstance(value, str) else ""
