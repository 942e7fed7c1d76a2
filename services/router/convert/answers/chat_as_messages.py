"""An openai_chat provider's stream as the events of anthropic_messages. Pure.

Rules: `message_start` is first whatever comes, blocks follow one after the other, one `message_delta` after all of them
has the stop reason and the final figures. Nothing empty opens a block.
"""

import re
from typing import Any, Final

from libs.pricing import Usage
from services.router.chat_wire import Choice, Chunk, Delta
from services.router.convert import figures
from services.router.convert.answers import said, stop_reasons
from services.router.convert.answers.call_blocks import CallBlocks, digest
from services.router.convert.answers.message_blocks import MessageBlocks, Prose
from services.router.convert.answers.think_tags import ThinkTags
from services.router.convert.terms import Answering

Event = dict[str, Any]
UNFIT_FOR_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
MAX_ID: Final = 64


class ChatAsMessages:
    """One answer. ``started``: the message was begun. ``finish``: the provider's last word on why it ended."""

    def __init__(self, answering: Answering) -> None:
        self.started = False
        self.finish: str | None = None
        self._answering = answering
        self._blocks = MessageBlocks(answering.sign)
        self._calls = CallBlocks(self._blocks, answering.names, answering.nonce)
        self._tags = ThinkTags() if answering.think_tags else None
        self._matched: object = None
        self._refused = self._closed = False

    @property
    def tool_opened(self) -> bool:
        """A tool's block was opened: a break may only be shown by cutting the connection."""
        return self._calls.opened

    @property
    def nameless(self) -> int:
        """Calls that were left out because they never got a name; known after ``close``."""
        return self._calls.nameless

    def start(self) -> list[Event]:
        """The message's beginning, for a provider that is silent for long. Later calls give nothing."""
        self._start(None)
        return self._blocks.drain()

    def take(self, chunk: Chunk) -> list[Event]:
        """What the caller gets for this chunk. After ``close`` that is nothing."""
        if self._closed:
            return []
        if not self.started:
            self._start(chunk.id)
        for choice in chunk.choices or ():
            if not choice.index:
                self._hear(choice)
                break
        return self._blocks.drain()

    def close(self, usage: Usage, cost: str | None) -> list[Event]:
        """The end of an answer that is whole. Later calls give nothing."""
        if self._closed:
            return []
        self._start(None)
        self._end_of_tags()
        self._calls.finish()
        self._blocks.close()
        self._blocks.send({"type": "message_delta", "delta": self._ended(), "usage": figures.messages(usage, cost)})
        self._blocks.send({"type": "message_stop"})
        self._closed = True
        return self._blocks.drain()

    def _start(self, upstream_id: object) -> None:
        if self.started:
            return
        self.started = True
        message: dict[str, Any] = {
            "id": _message_id(upstream_id, self._answering.nonce),
            "type": "message",
            "role": "assistant",
            "model": self._answering.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": figures.messages(Usage(input=self._answering.prompt_tokens)),
        }
        self._blocks.send({"type": "message_start", "message": message})
        self._blocks.send({"type": "ping"})

    def _hear(self, choice: Choice) -> None:
        if choice.delta is not None:
            self._say_all(choice.delta)
        if choice.finish_reason:
            self.finish = choice.finish_reason
        if choice.stop_reason is not None:
            self._matched = choice.stop_reason

    def _say_all(self, delta: Delta) -> None:
        if thought := said.reasoning(delta):
            self._say("thinking", thought)
        if text := said.text(delta.content):
            self._say_text(text)
        if refusal := said.text(delta.refusal):
            self._refused = True
            self._say("text", refusal)
        if (delta.tool_calls or delta.function_call) and (fragments := said.fragments(delta)):
            self._end_of_tags()
            self._calls.take(fragments)

    def _say_text(self, text: str) -> None:
        if self._tags is None:
            self._say("text", text)
            return
        for kind, part in self._tags.take(text):
            self._say(kind, part)

    def _end_of_tags(self) -> None:
        for kind, part in self._tags.rest() if self._tags else ():
            self._say(kind, part)

    def _say(self, kind: Prose, text: str) -> None:
        if kind == "text" or not self._answering.thinking_hidden:
            self._calls.say(kind, text)

    def _ended(self) -> dict[str, Any]:
        stops, called = self._answering.stops, self.tool_opened
        return stop_reasons.delta(self.finish, self._matched, stops, called=called, refused=self._refused)


def _message_id(upstream_id: object, nonce: str) -> str:
    """The provider's own id in this protocol's form, so that both sides' logs can be matched."""
    known = upstream_id.removeprefix("chatcmpl-").removeprefix("msg_") if isinstance(upstream_id, str) else ""
    return "msg_" + (UNFIT_FOR_ID.sub("", known)[:MAX_ID] or digest(nonce))
