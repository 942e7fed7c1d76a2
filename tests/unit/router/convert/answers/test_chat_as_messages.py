"""An OpenAI provider's stream for an Anthropic caller: text, thinking, figures, and what bytes may look like."""

from typing import Any, Final

import msgspec
import pytest

from libs.pricing import Usage
from services.router import chat_wire
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.fold_messages import fold
from tests.fixtures.conversions import (
    DONE,
    Json,
    answering,
    as_messages,
    chunk,
    chunk_of,
    chunked,
    compact,
    every_chunking,
    messages_of,
    sent,
)
from tests.fixtures.strict_messages_stream import check

USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
FIGURES: Final = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 5,
}
ESTIMATE: Final = {**FIGURES, "input_tokens": 12, "output_tokens": 0}
NOTHING: Final = {**FIGURES, "input_tokens": 0, "output_tokens": 0}
PING: Final = {"type": "ping"}
STOP: Final = {"type": "message_stop"}
CALL: Final = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
PLAIN_TEXT: Final = (chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"))


def started(message_id: str = "msg_1") -> Json:
    message = {"id": message_id, "type": "message", "role": "assistant", "model": "house-model", "content": []}
    return {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": ESTIMATE},
    }


def block(index: int, body: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": body},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Json]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def thinking(index: int, *pieces: str) -> list[Json]:
    signed = {"type": "signature_delta", "signature": f"tog1.{len(''.join(pieces))}"}
    said = ({"type": "thinking_delta", "thinking": piece} for piece in pieces)
    return block(index, {"type": "thinking", "thinking": "", "signature": ""}, *said, signed)


def tool(index: int, call_id: str, name: str, *pieces: str) -> list[Json]:
    said = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return block(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}, *said)


def ended(reason: str = "end_turn", usage: Json = FIGURES) -> list[Json]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        STOP,
    ]


def answer(how: str, *documents: Json, **changes: Any) -> list[Json]:
    """What comes of these chunks, as blocks and end: the beginning is checked here."""
    events = as_messages(sent(*documents), how, **changes)
    check(events)
    assert events[:2] == [started(), PING]
    return events[2:]


@every_chunking
def test_s_text_is_exactly_these_events(how: str) -> None:
    events = as_messages(sent(*PLAIN_TEXT, chunk("stop"), chunk_of(usage=USAGE)), how)
    assert events == [started(), PING, *text(0, "Hel", "lo"), *ended()]
    check(events)


@every_chunking
def test_s_text_bears_the_cost_beside_the_figures(how: str) -> None:
    events = as_messages(sent(*PLAIN_TEXT, chunk("stop", usage=USAGE), chunk_of(usage=USAGE)), how, cost="0.0012")
    assert events[-2]["usage"] == {**FIGURES, "cost": "0.0012"}


@every_chunking
def test_s_first_chunk_tool_still_has_the_message_before_it(how: str) -> None:
    assert answer(how, chunk(tool_calls=[CALL]), chunk("tool_calls")) == [
        *tool(0, "call_1", "look", '{"a":1}'),
        *ended("tool_use", NOTHING),
    ]


@every_chunking
def test_s_thinking_text_tools_is_the_documented_sequence(how: str) -> None:
    first = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "look", "arguments": ""}}
    second = {"index": 1, "id": "call_b", "type": "function", "function": {"name": "find", "arguments": ""}}
    documents = [
        chunk(role="assistant", content=None, reasoning_content=""),
        chunk(reasoning_content="Let me "),
        chunk(reasoning_content="see."),
        chunk(content="I look."),
        chunk(tool_calls=[first]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a":'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        chunk(tool_calls=[second]),
        chunk(tool_calls=[{"index": 1, "function": {"arguments": '{"b":2}'}}]),
        chunk("tool_calls"),
        chunk_of(usage=USAGE),
    ]
    assert answer(how, *documents) == [
        *thinking(0, "Let me ", "see."),
        *text(1, "I look."),
        *tool(2, "call_a", "look", '{"a":', "1}"),
        *tool(3, "call_b", "find", '{"b":2}'),
        *ended("tool_use"),
    ]


@every_chunking
def test_s_empty_reasoning_first_opens_nothing(how: str) -> None:
    documents = [chunk(role="assistant", content=None, reasoning_content=""), chunk(content="Hi"), chunk("stop")]
    assert answer(how, *documents) == [*text(0, "Hi"), *ended(usage=NOTHING)]


@every_chunking
def test_s_reasoning_and_content_null_alternating_stays_two_blocks(how: str) -> None:
    documents = [
        chunk(content=None, reasoning_content="a"),
        chunk(content=None, reasoning_content="b"),
        chunk(content="c", reasoning_content=None),
        chunk(content="", reasoning_content=""),
        chunk(content="d", reasoning_content=None),
        chunk("stop", content="", reasoning_content=None),
    ]
    assert answer(how, *documents) == [*thinking(0, "a", "b"), *text(1, "c", "d"), *ended(usage=NOTHING)]


@every_chunking
def test_s_reasoning_after_text_is_a_new_block(how: str) -> None:
    documents = [chunk(reasoning_content="a"), chunk(content="b"), chunk(reasoning_content="c"), chunk("stop")]
    assert answer(how, *documents) == [*thinking(0, "a"), *text(1, "b"), *thinking(2, "c"), *ended(usage=NOTHING)]


@every_chunking
@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "why"},
        {"reasoning": "why"},
        {"reasoning_content": "why", "reasoning": "why"},
        {"reasoning_content": "", "reasoning": "why"},
        {"reasoning_content": {"strange": 1}, "reasoning": "why"},
        {"reasoning": "why", "reasoning_details": [{"type": "reasoning.text", "text": "why"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "w"}, {"text": "hy"}, {"data": "x"}, 5]},
    ],
)
def test_s_both_reasoning_keys_are_told_once(how: str, said: Json) -> None:
    assert answer(how, chunk(**said), chunk("stop")) == [*thinking(0, "why"), *ended(usage=NOTHING)]


@every_chunking
def test_s_reasoning_and_text_in_one_chunk_come_in_this_order(how: str) -> None:
    documents = [chunk(content="text", reasoning_content="thought", tool_calls=[CALL]), chunk("stop")]
    assert answer(how, *documents) == [
        *thinking(0, "thought"),
        *text(1, "text"),
        *tool(2, "call_1", "look", '{"a":1}'),
        *ended("tool_use", NOTHING),
    ]


@every_chunking
def test_s_thinking_hidden_shows_none(how: str) -> None:
    documents = [chunk(reasoning_content="a"), chunk(content="b"), chunk(reasoning="c"), chunk(content="d")]
    assert answer(how, *documents, chunk("stop"), thinking_hidden=True) == [
        *text(0, "b", "d"),
        *ended(usage=NOTHING),
    ]


@every_chunking
def test_s_white_space_before_a_call_is_kept(how: str) -> None:
    assert answer(how, chunk(content="\n\n"), chunk(tool_calls=[CALL]), chunk("tool_calls"))[:3] == text(0, "\n\n")


@every_chunking
def test_s_nothing_said_has_no_block(how: str) -> None:
    assert answer(how, chunk(role="assistant", content=""), chunk("stop")) == ended(usage=NOTHING)


@every_chunking
def test_s_only_the_first_choice_is_told(how: str) -> None:
    both = chunk_of({"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}})
    other = chunk_of({"index": 1, "delta": {"content": "no"}, "finish_reason": "length"})
    assert answer(how, both, other, chunk("stop")) == [*text(0, "yes"), *ended(usage=NOTHING)]


@every_chunking
@pytest.mark.parametrize(
    ("documents", "figures"),
    [
        ([chunk_of({"index": 0, "delta": {}, "finish_reason": "stop"}, usage=USAGE)], FIGURES),
        ([chunk("stop"), chunk_of(usage=USAGE)], FIGURES),
        ([chunk_of({"index": 0, "delta": {"content": "x"}}, usage={**USAGE, "completion_tokens": 1})] * 2, None),
        ([chunk_of({"index": 0, "delta": {}, "finish_reason": "stop"}, usage=None)], NOTHING),
        ([chunk("stop")], NOTHING),
    ],
    ids=["on_finish", "trailing", "every_chunk", "null", "none"],
)
def test_s_usage_may_come_anywhere(how: str, documents: list[Json], figures: Json | None) -> None:
    events = answer(how, *PLAIN_TEXT, *documents, *([] if figures else [chunk_of(usage=USAGE)]))
    assert [event["usage"] for event in events if "usage" in event] == [figures or FIGURES]


@every_chunking
@pytest.mark.parametrize("done", [b"", DONE, DONE[:-1], DONE[:-2], DONE + sent(chunk(content="late"))])
def test_s_no_done_or_more_after_it_makes_no_difference(how: str, done: bytes) -> None:
    events = as_messages(sent(*PLAIN_TEXT, chunk("stop"), chunk_of(usage=USAGE), done=done), how)
    assert events == [started(), PING, *text(0, "Hel", "lo"), *ended()]


@every_chunking
def test_s_done_missing_final_newline_keeps_the_last_chunk(how: str) -> None:
    raw = sent(*PLAIN_TEXT, chunk("length"), done=b"").removesuffix(b"\n\n")
    assert as_messages(raw, how)[-2:] == ended("max_tokens", NOTHING)


def test_s_extra_after_done_is_nothing() -> None:
    machine = ChatAsMessages(answering())
    assert machine.close(Usage(), None)[-1] == STOP
    late = msgspec.convert(chunk(content="late"), chat_wire.Chunk)
    assert (machine.take(late), machine.close(Usage(), None), machine.start()) == ([], [], [])


@every_chunking
def test_s_finish_empty_string_is_no_finish(how: str) -> None:
    documents = [chunk("length", content="a"), chunk("", content="b"), chunk("")]
    assert answer(how, *documents) == [*text(0, "a", "b"), *ended("max_tokens", NOTHING)]


@every_chunking
@pytest.mark.parametrize(
    "bent",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r"),
        lambda raw: raw.replace(b"data: ", b"data:"),
        lambda raw: b": queued\n\n" + raw.replace(b"\n\n", b"\n: keep-alive\n\n: keep-alive\n\n"),
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b',"choices"', b',\ndata: "choices"'),
        lambda raw: raw.replace(b"data: ", b"event: message\nid: 5\nretry: 1\ndata: "),
    ],
    ids=["crlf", "cr_only", "no_space", "comments", "bom", "multi_data_lines", "other_fields"],
)
def test_s_crlf_and_other_ways_of_writing_events_are_the_same(how: str, bent: Any) -> None:
    raw = bent(sent(*PLAIN_TEXT, chunk("stop"), chunk_of(usage=USAGE)))
    assert as_messages(raw, how) == [started(), PING, *text(0, "Hel", "lo"), *ended()]


def test_s_utf8_split_at_every_byte_is_whole() -> None:
    raw = sent(chunk(content="漢字"), chunk(content="é👩‍🚀"), chunk("stop"))
    whole = as_messages(raw, "whole")
    assert whole[2:] == [*text(0, "漢字", "é👩‍🚀"), *ended(usage=NOTHING)]
    assert all(messages_of([raw[:cut], raw[cut:]]) == whole for cut in range(len(raw)))


@every_chunking
@pytest.mark.parametrize("name", ["content", "reasoning_content"])
def test_s_utf8_split_also_where_a_provider_cuts_an_emoji_in_two(how: str, name: str) -> None:
    raw = b"".join(
        b"data: " + compact(chunk(**{name: piece})).replace(b"@", half) + b"\n\n"
        for piece, half in [("a@", b"\\ud83d"), ("@b", b"\\ude00"), ("c@", b"\\ud83d")]
    )
    message = fold(as_messages(raw + sent(chunk("stop")), how))
    assert [part.get("text") or part.get("thinking") for part in message["content"]] == ["a😀bc"]


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ("chatcmpl-9f_A-b", "msg_9f_A-b"),
        ("msg_abc", "msg_abc"),
        ("2024 / x.é", "msg_2024x"),
        ("x" * 500, "msg_" + "x" * 64),
    ],
)
def test_s_text_has_the_providers_id_in_our_form(upstream: str, told: str) -> None:
    assert as_messages(sent({**chunk("stop"), "id": upstream}), "whole")[0] == started(told)


@pytest.mark.parametrize("upstream", [None, "", "chatcmpl-", "///", 5, ["x"]])
def test_s_text_without_an_id_gets_one_that_only_this_request_has(upstream: Any) -> None:
    raw = sent({**chunk("stop"), "id": upstream})
    first, again, other = (as_messages(raw, "whole", nonce=nonce)[0]["message"]["id"] for nonce in "aab")
    assert first == again != other
    assert len(first) == len("msg_") + 24


def test_s_silence_may_start_the_message_and_only_once() -> None:
    machine = ChatAsMessages(answering())
    begun = [machine.started, [event["type"] for event in machine.start()], machine.started, machine.start()]
    assert begun == [False, ["message_start", "ping"], True, []]
    told = machine.take(msgspec.convert(chunk(content="Hi"), chat_wire.Chunk))
    assert [event["type"] for event in told] == ["content_block_start", "content_block_delta"]
    check([*ChatAsMessages(answering()).start(), *told, *machine.close(Usage(), None)])


def test_s_nothing_at_all_is_still_a_message() -> None:
    assert ChatAsMessages(answering()).close(Usage(), None)[2:] == ended(usage=NOTHING)


def test_the_chunkings_cut_differently_and_lose_nothing() -> None:
    raw = sent(*PLAIN_TEXT)
    pieces = {how: chunked(raw, how) for how in ("whole", "event", "byte", "seven")}
    assert all(b"".join(piece) == raw for piece in pieces.values())
    assert [len(piece) for piece in pieces.values()] == [1, 4, len(raw), -(-len(raw) // 7)]
