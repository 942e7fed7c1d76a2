"""The events of a Messages stream as a plain Message: ours, and those of a provider that only streams."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import UpstreamFailed
from services.router.convert.answers.fold_messages import fold, tool_input
from tests.fixtures.conversions import Json
from tests.fixtures.strategies import json_values, thorough

START: Json = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 2,
            "output_tokens": 1,
            "cache_creation": {"ephemeral_1h_input_tokens": 3},
            "service_tier": "standard",
        },
    },
}


def begun(index: int, **block: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def added(index: int, kind: str, **said: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **said}}


def stopped(reason: str | None = "end_turn", usage: Any = None, **delta: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None, **delta}, "usage": usage}


def content(*events: Json) -> list[Json]:
    found: list[Json] = fold([START, *events, stopped()])["content"]
    return found


def test_f_text_thinking_and_tools_of_a_providers_stream() -> None:
    events = [
        START,
        {"type": "ping"},
        begun(0, type="thinking", thinking="", signature=""),
        added(0, "thinking_delta", thinking="why "),
        added(0, "thinking_delta", thinking="not"),
        added(0, "signature_delta", signature="sig"),
        added(0, "signature_delta", signature="nature"),
        {"type": "content_block_stop", "index": 0},
        begun(1, type="redacted_thinking", data="xyz"),
        begun(2, type="text", text="He"),
        added(2, "text_delta", text="llo"),
        {"type": "future_event", "index": 2, "delta": {"text": "no"}},
        begun(3, type="tool_use", id="a", name="look", input={}),
        added(3, "input_json_delta", partial_json=""),
        added(3, "input_json_delta", partial_json='{"x"'),
        added(3, "input_json_delta", partial_json=":1}"),
        stopped("tool_use", {"output_tokens": 7}),
        {"type": "message_stop"},
    ]
    assert fold(events) == {
        **START["message"],
        "content": [
            {"type": "thinking", "thinking": "why not", "signature": "signature"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {**START["message"]["usage"], "output_tokens": 7},
    }


def test_u_message_delta_cumulative_replaces_and_null_says_nothing() -> None:
    later = {"output_tokens": 9, "input_tokens": None, "cache_read_input_tokens": 0}
    usage = fold([START, stopped(usage={"output_tokens": 5}), stopped(None, later)])["usage"]
    assert (usage["output_tokens"], usage["input_tokens"], usage["cache_read_input_tokens"]) == (9, 10, 0)
    assert usage["cache_creation"] == {"ephemeral_1h_input_tokens": 3}


def test_t_two_message_delta_second_null_keeps_the_stop_reason() -> None:
    assert fold([START, stopped("max_tokens"), stopped(None)])["stop_reason"] == "max_tokens"


def test_f_other_fields_of_the_end_are_carried_when_they_say_something() -> None:
    details = {"type": "refusal", "explanation": "no"}
    found = fold([START, stopped("refusal", stop_details=details, container=None, future=[1])])
    assert (found["stop_details"], found["future"]) == (details, [1])
    assert "container" not in found


def test_f_citations_are_kept() -> None:
    told = content(
        begun(0, type="text", text="", citations=[1]),
        added(0, "citations_delta", citation={"cited_text": "x"}),
        added(0, "text_delta", text="y"),
    )
    assert told == [{"type": "text", "text": "y", "citations": [1, {"cited_text": "x"}]}]


def test_f_input_of_server_tools_is_parsed_and_of_a_start_is_kept() -> None:
    told = content(
        begun(0, type="server_tool_use", id="a", name="web_search", input={}),
        added(0, "input_json_delta", partial_json='{"query":"x"}'),
        begun(1, type="tool_use", id="b", name="look", input={"x": 1}),
        begun(2, type="tool_use", id="c", name="look"),
        begun(3, type="web_search_tool_result", content=[1]),
    )
    assert [block.get("input") for block in told] == [{"query": "x"}, {"x": 1}, {}, None]


def test_f_an_emoji_that_was_cut_in_two_is_whole() -> None:
    told = content(
        begun(0, type="text", text=""),
        added(0, "text_delta", text="\ud83d"),
        added(0, "text_delta", text="\ude00"),
        begun(1, type="tool_use", id="b", name="look", input={}),
        added(1, "input_json_delta", partial_json='{"x":"\ud83d'),
        added(1, "input_json_delta", partial_json='\ude00"}'),
    )
    assert (told[0]["text"], told[1]["input"]) == ("😀", {"x": "😀"})


def test_f_without_indexes_deltas_belong_to_the_last_block() -> None:
    events: list[Json] = [
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
    ]
    assert content(*events, *events) == [{"type": "text", "text": "a"}] * 2


def test_f_interleaved_blocks_get_their_own_deltas() -> None:
    told = content(
        begun(0, type="text", text=""),
        begun(1, type="text", text=""),
        added(1, "text_delta", text="b"),
        added(0, "text_delta", text="a"),
        added(7, "text_delta", text="lost"),
    )
    assert [block["text"] for block in told] == ["a", "b"]


@pytest.mark.parametrize(
    "events", [[], [stopped()], [{"type": "message_start"}], [{"type": "message_start", "message": 5}]]
)
def test_f_without_a_message_it_is_the_providers_failure(events: list[Json]) -> None:
    with pytest.raises(UpstreamFailed, match="no answer"):
        fold(events)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ("[]", {"value": []}),
        ("false", {"value": False}),
        ("{", {"_raw_arguments": "{"}),
        ('{"a":1}{', {"_raw_arguments": '{"a":1}{'}),
        ('{"a":1e999}', {"_raw_arguments": '{"a":1e999}'}),
        ("\ud83d", {"_raw_arguments": "\ufffd"}),
        ("[" * 100_000, {"_raw_arguments": "[" * 100_000}),
    ],
)
def test_r_arguments_become_an_object(text: str, told: Json) -> None:
    assert tool_input(text) == told


KINDS = ["message_start", "content_block_start", "content_block_delta", "message_delta", "error", "ping"]
NAMES = ["index", "content_block", "delta", "message", "usage"]
PARTS = ["text", "thinking", "signature", "partial_json", "citation", "usage", "input", "content", "x"]
TYPES = ["text", "tool_use", "text_delta", "input_json_delta", "signature_delta", "citations_delta"]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(NAMES),
            json_values()
            | st.dictionaries(st.sampled_from(PARTS), json_values()).map(
                lambda part: {"type": TYPES[len(part) % len(TYPES)], **part}
            ),
        ),
        max_size=6,
    ),
    st.lists(st.sampled_from(KINDS), min_size=6, max_size=6),
)
@thorough
def test_f_no_events_at_all_make_it_raise(events: list[Json], kinds: list[str]) -> None:
    told = fold([START, *({**event, "type": kind} for event, kind in zip(events, kinds, strict=False)), START])
    assert isinstance(told["content"], list)
