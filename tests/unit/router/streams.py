"""Streams as providers send them, and a passage's way through one."""

import json
from collections.abc import Iterable
from typing import Any, Final

from libs import sse
from libs.contracts.dispatch import Dispatch
from services.router.chat_passage import ChatPassage
from services.router.messages_passage import MessagesPassage
from services.router.passage import Passage
from services.router.telling import SameChat, SameMessages
from tests.fixtures.samples import NOW_MS, order

USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(*choices: dict[str, Any], **fields: Any) -> bytes:
    """One event of a Chat stream."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "deepseek-chat"}
    return sse.encode(compact({**head, "choices": list(choices), **fields}))


def delta(index: int = 0, finish: str | None = None, **said: Any) -> dict[str, Any]:
    return {"index": index, "delta": said, "finish_reason": finish}


def happening(kind: str, **fields: Any) -> bytes:
    """One event of a Messages stream."""
    return sse.encode(compact({"type": kind, **fields}), kind)


def started(model: str = "deepseek-chat", **usage: Any) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [], "usage": usage}
    return happening("message_start", message=message)


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


DONE: Final = b"data: [DONE]\n\n"
TEXT: Final = b"".join(
    [
        chunk(delta(role="assistant", content="")),
        chunk(delta(content="Hello")),
        chunk(delta(content=" wörld")),
        chunk(delta(finish="stop")),
    ]
)
MESSAGES_TEXT: Final = b"".join(
    [
        started(input_tokens=10, cache_read_input_tokens=2, output_tokens=1),
        happening("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        happening("ping"),
        happening("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
        happening("content_block_delta", index=0, delta={"type": "text_delta", "text": " wörld"}),
        happening("content_block_stop", index=0),
    ]
)
STOPPED: Final = happening("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
STOP: Final = happening("message_stop")


class Carried:
    """What a stream came to: the passage, and the bytes that the caller got before the closing."""

    def __init__(self, passage: Passage, chunks: Iterable[bytes]) -> None:
        self.passage = passage
        self.raw = b"".join(_carry(passage, chunks))
        self.documents = [json.loads(event.data) for event in events(self.raw)]

    @property
    def outcome(self) -> tuple[object, ...]:
        p = self.passage
        said = p.failure and (type(p.failure), p.failure.message)
        return (self.raw, p.usage, p.final, p.complete, p.stop_reading, p.must_abort, said, p.delivered, p.upstream_id)


def events(raw: bytes) -> list[sse.Event]:
    reader = sse.Reader()
    return [*reader.feed(raw), *reader.finish()]


def _carry(passage: Passage, chunks: Iterable[bytes]) -> Iterable[bytes]:
    reader = sse.Reader()
    for piece in chunks:
        for event in reader.feed(piece):
            yield passage.feed(event)
            if passage.stop_reading:
                return
    for event in reader.finish():
        yield passage.feed(event)


def chat(*pieces: bytes, **changes: Any) -> Carried:
    order_ = chat_order(**changes)
    return Carried(ChatPassage(order_, SameChat(order_, NOW_MS)), pieces)


def messages(*pieces: bytes, **changes: Any) -> Carried:
    order_ = messages_order(**changes)
    return Carried(MessagesPassage(order_, SameMessages(order_, NOW_MS)), pieces)


def chat_order(**changes: Any) -> Dispatch:
    return order(**changes)


def messages_order(**changes: Any) -> Dispatch:
    return order(**{"protocol": "anthropic_messages", "usage_wanted": True, **changes})
