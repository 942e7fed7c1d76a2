"""`make bench-convert`: what conversion costs, in microseconds of one core: a request, and each chunk of a stream.

Processor time is counted, not the clock's: the machine may be busy with other things. The parts are measured apart,
each a median of rounds, so that one sees what dominates. `all` is the whole way: its parts, and metering.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from libs import sse
from libs.contracts.profile import Profile
from services.router import chat_wire, messages_wire
from services.router.chat_passage import ChatPassage
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.messages_as_chat import MessagesAsChat
from services.router.convert.terms import Converted, Terms
from services.router.convert.to_chat import request as to_chat
from services.router.convert.to_messages import request as to_messages
from services.router.converting import AsChat, AsMessages, as_chat_events, as_messages_events
from services.router.messages_passage import MessagesPassage
from tests.fixtures.conversions import answering
from tests.fixtures.message_events import ended, started, stream, text, thinking
from tests.fixtures.profiles import ANTHROPIC, DEEPSEEK_CHAT
from tests.fixtures.samples import NOW_MS, order

ROUNDS: Final = 7
REQUESTS: Final = 20
CHUNKS: Final = 2000
CLIENTS: Final = Path(__file__).parents[1] / "data" / "clients"
WORDS: Final = ("The ", "quick ", "brown ", "fox ", "— ", "狐狸 ", "jumps. ")
Parts = dict[str, Callable[[], object]]


def report(title: str, parts: Parts, per: int) -> None:
    """One line: microseconds per unit, of each part. Rounds are interleaved, because a shared machine has moods."""
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(ROUNDS):
        for name, part in parts.items():
            began = time.thread_time()
            part()
            seconds[name].append(time.thread_time() - began)
    told = "   ".join(f"{name} {statistics.median(taken) / per * 1e6:8.1f}" for name, taken in seconds.items())
    print(f"  {title:<47} {told}")


def request(title: str, client: str, profile: Profile, convert: Callable[[bytes, Terms], Converted]) -> None:
    body = msgspec.json.encode(json.loads((CLIENTS / client).read_bytes())["body"])
    terms = Terms(upstream_model="upstream-model", output_cap=8192, upstream_stream=True, profile=profile)
    converted = convert(body, terms).body
    parts: Parts = {
        "all": lambda: msgspec.json.encode(convert(body, terms).body),
        "convert": lambda: convert(body, terms),
        "encode": lambda: msgspec.json.encode(converted),
        "JSON alone": lambda: msgspec.json.decode(body),
    }
    report(f"{title}, {len(body) // 1000} kB", {name: _often(part) for name, part in parts.items()}, REQUESTS)


def _often(part: Callable[[], object]) -> Callable[[], object]:
    return lambda: [part() for _ in range(REQUESTS)]


def answer(
    title: str,
    raw: bytes,
    decoder: "msgspec.json.Decoder[Any]",
    machine: Callable[[], Any],
    *,
    tell: Callable[[list[dict[str, Any]]], bytes],
    passage: Callable[[], Any],
) -> None:
    """A stream as it comes from the network, an event at a time."""
    pieces = [piece + b"\n\n" for piece in raw.split(b"\n\n") if piece]
    events = _read(pieces)
    seen = [decoder.decode(event.data) for event in events]
    told = _taken(machine(), seen)
    parts: Parts = {
        "all": lambda: _through(passage(), pieces),
        "read": lambda: _read(pieces),
        "decode": lambda: [decoder.decode(event.data) for event in events],
        "convert": lambda: _taken(machine(), seen),
        "encode": lambda: [tell(documents) for documents in told],
    }
    report(f"{title}, {len(pieces)} chunks", parts, len(pieces))


def _read(pieces: list[bytes]) -> list[sse.Event]:
    reader = sse.Reader()
    return [event for piece in pieces for event in reader.feed(piece)]


def _taken(machine: Any, seen: list[Any]) -> list[list[dict[str, Any]]]:
    return [machine.take(one) for one in seen]


def _through(passage: Any, pieces: list[bytes]) -> int:
    reader = sse.Reader()
    return sum(len(passage.feed(event)) for piece in pieces for event in reader.feed(piece))


def pieces_of_text() -> list[str]:
    return [WORDS[number % len(WORDS)] for number in range(CHUNKS // 2)]


def chat_stream() -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "upstream-model"}
    said = [{name: piece} for name in ("reasoning_content", "content") for piece in pieces_of_text()]
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in said]
    return b"".join(sse.encode(msgspec.json.encode({**head, "choices": [choice]})) for choice in choices)


def message_stream() -> bytes:
    return stream(started(), *thinking(0, *pieces_of_text()), *text(1, *pieces_of_text()), *ended()[:1])


def main() -> None:
    anthropic = order(protocol="anthropic_messages", usage_wanted=True)
    openai = order(usage_wanted=True)
    known = answering()
    print("µs per request")
    request("Claude Code → openai_chat", "cc_two_tools_thinking_error.json", DEEPSEEK_CHAT, to_chat.convert)
    request(
        "qwen-code → anthropic_messages",
        "qwen_two_tools_thinking.json",
        ANTHROPIC,
        lambda body, terms: to_messages.convert(body, terms, lambda _: None),
    )
    print("µs per chunk of a stream")
    answer(
        "openai_chat → Anthropic caller",
        chat_stream(),
        chat_wire.decoder,
        lambda: ChatAsMessages(known),
        tell=as_messages_events,
        passage=lambda: ChatPassage(anthropic, AsMessages(anthropic, NOW_MS, known, as_messages_events)),
    )
    answer(
        "anthropic_messages → OpenAI caller",
        message_stream(),
        messages_wire.decoder,
        lambda: MessagesAsChat(known),
        tell=as_chat_events,
        passage=lambda: MessagesPassage(openai, AsChat(openai, NOW_MS, known, as_chat_events)),
    )


if __name__ == "__main__":
    main()
