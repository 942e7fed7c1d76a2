"""Streams on their whole way through a passage: where usage may stand, how bytes may be written, and that the cuts
between chunks never matter."""

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pricing import Usage
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.router import record
from services.router.choose import choose
from services.router.passages import Told, told_to
from services.router.prepare import Prepared
from services.router.terminal import Terminal
from tests.fixtures.conversions import (
    CHUNKINGS,
    DONE,
    answering,
    chunk,
    chunk_of,
    chunked,
    every_chunking,
    happenings,
    sent,
)
from tests.fixtures.message_events import TWO_TOOLS, ended, started, stream, text
from tests.fixtures.samples import NOW_MS, offer, order, shelf
from tests.fixtures.strategies import thorough

Json = dict[str, Any]
Cells = list[tuple[Protocol, Protocol]]
FIGURES: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
EARLY: Final = {**FIGURES, "completion_tokens": 1, "total_tokens": 11}
USED: Final = Usage(input=10, output=5)
BEGUN: Final = (chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"))
STOP: Final = chunk("stop")
WITH_USAGE: Final = chunk_of(usage=FIGURES)
callers: Final = pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])


def way(upstream: Protocol, caller: Protocol, *, usage_wanted: bool = True) -> Told:
    asked = order(protocol=caller, stream=True, usage_wanted=usage_wanted)
    converted = answering(model=asked.model) if upstream != caller else None
    chosen = choose(shelf(offer(protocol=upstream)), asked.model, lambda _: "key", "")
    return told_to(asked, chosen, Prepared(b"", True, (), converted), NOW_MS)


class Carried:
    """A stream that came in these pieces: what the caller got, up to its end if it has one."""

    def __init__(self, upstream: Protocol, caller: Protocol, pieces: list[bytes], **changes: Any) -> None:
        told = way(upstream, caller, **changes)
        self.passage = told.passage
        self.got = b""
        for event in happenings(pieces):
            self.got += told.passage.feed(event)
            if told.passage.stop_reading:
                break
        if told.passage.complete and told.passage.failure is None:
            self.got += told.passage.closing(told.passage.usage or Usage())

    @property
    def outcome(self) -> tuple[object, ...]:
        p = self.passage
        said = p.failure and (type(p.failure), p.failure.message)
        return (self.got, p.usage, p.final, p.complete, p.must_abort, said, p.delivered, p.upstream_id)

    @property
    def said(self) -> str:
        found = [json.loads(event.data) for event in happenings([self.got]) if event.data != b"[DONE]"]
        deltas = [d.get("delta") or {} for d in found] + [c["delta"] for d in found for c in d.get("choices", ())]
        return "".join(delta.get("text") or delta.get("content") or "" for delta in deltas)


def of_chat(data: bytes, how: str, caller: Protocol) -> Carried:
    return Carried(OPENAI_CHAT, caller, chunked(data, how))


def assert_counted(found: Carried) -> None:
    assert (found.passage.usage, found.passage.final, found.passage.complete) == (USED, True, True)
    assert found.said == "Hello"
    last = found.got.rsplit(b'"usage":', 1)[1]
    assert b'"completion_tokens":5' in last or b'"output_tokens":5' in last


@callers
@every_chunking
def test_s_usage_on_finish_counts(how: str, caller: Protocol) -> None:
    finish = chunk_of({"index": 0, "delta": {}, "finish_reason": "stop"}, usage=FIGURES)
    assert_counted(of_chat(sent(*BEGUN, finish), how, caller))


@callers
@every_chunking
def test_s_usage_trailing_counts(how: str, caller: Protocol) -> None:
    assert_counted(of_chat(sent(*BEGUN, STOP, WITH_USAGE), how, caller))


@callers
@every_chunking
def test_s_usage_every_chunk_the_last_counts(how: str, caller: Protocol) -> None:
    early = [{**part, "usage": EARLY} for part in BEGUN]
    assert_counted(of_chat(sent(*early, {**STOP, "usage": FIGURES}), how, caller))


@callers
@every_chunking
def test_s_usage_null_neither_counts_nor_takes_anything_back(how: str, caller: Protocol) -> None:
    early = [{**part, "usage": None} for part in BEGUN]
    found = of_chat(sent(*early, {**STOP, "usage": None}, WITH_USAGE, chunk_of(usage=None)), how, caller)
    assert (found.passage.usage, found.passage.final, found.passage.complete) == (USED, True, True)
    assert b'_tokens":5' in found.got
    nothing = of_chat(sent(*early, {**STOP, "usage": None}), how, caller)
    assert (nothing.passage.usage, nothing.passage.final, nothing.passage.complete) == (None, False, True)


def charged(found: Carried, **changes: Any) -> tuple[str, Usage]:
    """What the caller pays for it."""
    sold, asked = choose(shelf(offer()), "deepseek-chat", lambda _: "key", ""), order(**changes)
    spool: Any = None
    terminal = Terminal(asked, record.start(asked, sold, NOW_MS), spool)
    terminal.serve(sold, 400, NOW_MS)
    return terminal.charged(found.passage)


@callers
@every_chunking
def test_s_usage_none_is_a_whole_answer_all_the_same(how: str, caller: Protocol) -> None:
    found = of_chat(sent(*BEGUN, STOP), how, caller)
    assert (found.passage.complete, found.passage.failure, found.passage.usage) == (True, None, None)
    assert found.said == "Hello"


@callers
def test_u_missing_usage_is_estimated_and_marked(caller: Protocol) -> None:
    """A quarter of the bytes, on both sides."""
    outcome, used = charged(of_chat(sent(*BEGUN, STOP), "whole", caller))
    assert outcome == "estimated"
    assert (used.input, used.output) == (100, 1)


def test_u_missing_usage_of_an_anthropic_provider_keeps_the_input_that_it_told() -> None:
    delta, stop = ended(usage={})
    found = Carried(ANTHROPIC_MESSAGES, OPENAI_CHAT, [stream(started(), *text(0, "Hello"), delta, stop)])
    outcome, used = charged(found)
    assert (outcome, used.input, found.passage.final) == ("estimated", 10, False)
    assert used.output > 0


def test_u_missing_usage_of_nothing_delivered_costs_nothing() -> None:
    found = of_chat(sent(chunk(role="assistant", content=""), STOP), "whole", OPENAI_CHAT)
    assert charged(found) == ("void", Usage())


def bent_alike(bent: bytes, how: str, caller: Protocol) -> bool:
    """Whether this way of writing PLAIN comes to the same."""
    return of_chat(bent, how, caller).outcome == of_chat(PLAIN, "whole", caller).outcome


PLAIN: Final = sent(*BEGUN, STOP, WITH_USAGE)


@callers
@every_chunking
def test_s_cr_only_ends_lines_too(how: str, caller: Protocol) -> None:
    assert bent_alike(PLAIN.replace(b"\n", b"\r"), how, caller)
    assert bent_alike(PLAIN.replace(b"\n", b"\r\n"), how, caller)


@callers
@every_chunking
def test_s_no_space_after_the_colon(how: str, caller: Protocol) -> None:
    assert bent_alike(PLAIN.replace(b"data: ", b"data:"), how, caller)


@callers
@every_chunking
def test_s_comments_say_nothing(how: str, caller: Protocol) -> None:
    assert bent_alike(b": queued\n\n:\n\n" + PLAIN.replace(b"\n\n", b"\n: keep-alive\n\n: x\n\n"), how, caller)


@callers
@every_chunking
def test_s_bom_is_passed_over(how: str, caller: Protocol) -> None:
    assert bent_alike(b"\xef\xbb\xbf" + PLAIN, how, caller)


@callers
@every_chunking
def test_s_multi_data_lines_are_one_event(how: str, caller: Protocol) -> None:
    """A caller of the provider's own protocol may see the line break, which JSON does not mind."""
    found = of_chat(PLAIN.replace(b',"choices"', b',\ndata: "choices"'), how, caller)
    assert_counted(found)
    assert found.got.endswith(DONE if caller == OPENAI_CHAT else b'{"type":"message_stop"}\n\n')


TOOLS: Final = sent(
    chunk(role="assistant", content=None, reasoning_content="思考 "),
    chunk(content="Ich schaue 👩‍🚀 nach."),
    chunk(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": '{"é"'}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": ':"漢"}'}}]),
    chunk(tool_calls=[{"index": 1, "id": "b", "type": "function", "function": {"name": "find", "arguments": "{}"}}]),
    chunk("tool_calls"),
    WITH_USAGE,
)
CUT: Final = TOOLS[: TOOLS.index(b'"index":1')]
ERROR: Final = sent(*BEGUN, {"error": {"message": "boom", "code": "overloaded_error"}})
STREAMS: Final[dict[str, tuple[Protocol, bytes]]] = {
    "chat": (OPENAI_CHAT, TOOLS),
    "chat, CRLF": (OPENAI_CHAT, TOOLS.replace(b"\n", b"\r\n")),
    "chat, BOM and comments": (OPENAI_CHAT, b"\xef\xbb\xbf: queued\n\n" + TOOLS),
    "chat, cut": (OPENAI_CHAT, CUT),
    "chat, error": (OPENAI_CHAT, ERROR),
    "messages": (ANTHROPIC_MESSAGES, TWO_TOOLS),
    "messages, CR": (ANTHROPIC_MESSAGES, TWO_TOOLS.replace(b"\n", b"\r")),
    "messages, without names": (
        ANTHROPIC_MESSAGES,
        re.sub(rb"event: .*\n", b"", stream(started(), *text(0, "é👩‍🚀"), *ended())),
    ),
}


@callers
@pytest.mark.parametrize("how", CHUNKINGS)
@pytest.mark.parametrize("name", STREAMS)
def test_s_utf8_split_and_every_other_chunking_is_the_same_on_the_whole_way(
    name: str, how: str, caller: Protocol
) -> None:
    upstream, data = STREAMS[name]
    found = Carried(upstream, caller, chunked(data, how))
    assert found.got
    assert found.outcome == Carried(upstream, caller, [data]).outcome


@pytest.mark.parametrize(
    ("name", "caller"), [("chat", ANTHROPIC_MESSAGES), ("messages", OPENAI_CHAT), ("chat, CRLF", OPENAI_CHAT)]
)
def test_s_utf8_split_at_every_byte_boundary_is_the_same_on_the_whole_way(name: str, caller: Protocol) -> None:
    upstream, data = STREAMS[name]
    whole = Carried(upstream, caller, [data]).outcome
    assert all(Carried(upstream, caller, [data[:cut], data[cut:]]).outcome == whole for cut in range(len(data)))


@given(st.sampled_from(sorted(STREAMS)), st.sampled_from([OPENAI_CHAT, ANTHROPIC_MESSAGES]), st.data())
@thorough
def test_s_utf8_split_at_any_set_of_bytes_is_the_same_on_the_whole_way(
    name: str, caller: Protocol, data: st.DataObject
) -> None:
    upstream, raw = STREAMS[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert Carried(upstream, caller, pieces).outcome == Carried(upstream, caller, [raw]).outcome


NUMBERS: Final = (
    b'{"id":"1","model":"deepseek-chat","choices":[{"index":0,"delta":{"content":"x"},"z":[1.00,1e2]}],"of":{"b":1}}'
)


@every_chunking
def test_p_same_dialect_bytes_of_chat_pass_and_the_model_is_rewritten(how: str) -> None:
    """Order, digits and escapes of what is not ours to change stay; only the name is another."""
    strange = b'{"of_tomorrow":[1.00,-0.0,12345678901234567890123,"\\u00e9\\ud83d"],"b":{"b":1,"a":2}}'
    renamed = NUMBERS.replace(b"deepseek-chat", b"upstream-name")
    end = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop","logprobs":{"content":[]}}]}'
    data = b"".join(b"data: " + line + b"\n\n" for line in (strange, renamed, NUMBERS, end)) + DONE
    found = Carried(OPENAI_CHAT, OPENAI_CHAT, chunked(data, how))
    assert found.got == data.replace(b"upstream-name", b"deepseek-chat")


@every_chunking
def test_p_same_dialect_bytes_of_messages_pass_and_the_model_is_rewritten(how: str) -> None:
    """Thinking with its signature, events and blocks of tomorrow, and pings, as they came."""
    start = (
        b'{"type":"message_start","message":{"id":"msg_1","model":"upstream-name","usage":{"input_tokens":10},"x":1.0}}'
    )
    lines = (
        start,
        b'{"index":0,"type":"content_block_start","content_block":{"signature":"","thinking":"","type":"thinking"}}',
        b'{"type":"ping"}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB+/=\\u002b"}}',
        b'{"type":"of_tomorrow","n":1.00,"deep":[[{}]]}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"block_of_tomorrow","data":"\\ud83d"}}',
        b'{"type":"content_block_stop","index":1}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"context_management":null}',
        b'{"type":"message_stop"}',
    )
    data = b"".join(b"event: " + json.loads(line)["type"].encode() + b"\ndata: " + line + b"\n\n" for line in lines)
    found = Carried(ANTHROPIC_MESSAGES, ANTHROPIC_MESSAGES, chunked(data, how))
    assert found.got == data.replace(b"upstream-name", b"deepseek-chat")


@every_chunking
@pytest.mark.parametrize("wanted", [True, False])
def test_p_usage_injected_and_hidden_wherever_the_provider_puts_it(how: str, wanted: bool) -> None:
    """It was asked for on the caller's behalf; one who did not ask gets neither the chunk nor the key."""
    finish = {**STOP, "usage": FIGURES}
    for data in (sent(*BEGUN, STOP, WITH_USAGE), sent(*BEGUN, finish), sent(*BEGUN, finish, WITH_USAGE)):
        found = Carried(OPENAI_CHAT, OPENAI_CHAT, chunked(data, how), usage_wanted=wanted)
        assert (found.passage.usage, found.passage.final, found.said) == (USED, True, "Hello")
        assert (b'"usage"' in found.got, b'"choices":[]' in found.got) == (wanted, wanted and b'"choices":[]' in data)
        assert b'"finish_reason":"stop"' in found.got


def fragments(found: Carried) -> list[Json]:
    documents = [json.loads(event.data) for event in happenings([found.got]) if event.data != b"[DONE]"]
    return [call for d in documents for c in d["choices"] for call in c["delta"].get("tool_calls", ())]


@every_chunking
@pytest.mark.parametrize("shape", ["repeat", "noindex", "both"])
def test_p_normalise_index_and_repeat_id_as_the_sdks_need_them(how: str, shape: str) -> None:
    """OpenAI's helpers join a repeated id or name, and lose a call without its index."""
    said = [("a", "look", ""), ("a", "look", '{"x"'), ("a", "look", ":1}"), ("b", "find", "{}")]
    calls: list[Json] = []
    for call_id, name, arguments in said:
        again = any(call.get("id") == call_id for call in calls)
        function = {"arguments": arguments} if again and shape == "noindex" else {"name": name, "arguments": arguments}
        whose = {} if again and shape == "noindex" else {"id": call_id, "type": "function"}
        index = {} if shape in ("noindex", "both") else {"index": "ab".index(call_id)}
        calls.append({**index, **whose, "function": function})
    data = sent(*(chunk(tool_calls=[call]) for call in calls), chunk("tool_calls"))
    found = fragments(Carried(OPENAI_CHAT, OPENAI_CHAT, chunked(data, how)))
    assert [call["index"] for call in found] == [0, 0, 0, 1]
    assert [(call["id"], call["function"]["name"]) for call in found if "id" in call] == [("a", "look"), ("b", "find")]
    assert [call["function"]["name"] for call in found if "name" in call["function"]] == ["look", "find"]
    assert [call["function"]["arguments"] for call in found] == ["", '{"x"', ":1}", "{}"]
