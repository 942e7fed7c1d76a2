"""A plain Message as the events of a stream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import GatewayError, UpstreamFailed
from services.router.convert.answers import fold_messages
from services.router.convert.answers.unfold_messages import unfold
from tests.fixtures.conversions import Json
from tests.fixtures.strategies import json_values, thorough

USAGE = {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 3}
MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "Hello"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "tool_use", "id": "toolu_A", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "toolu_B", "name": "Now", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
    "container": {"id": "c"},
}


def test_a_message_becomes_the_events_of_its_stream() -> None:
    first, *blocks, last, stop = unfold(MESSAGE)
    begun = {**MESSAGE, "content": [], "stop_reason": None}
    assert first == {"type": "message_start", "message": begun}
    assert last == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c"}},
        "usage": USAGE,
    }
    assert stop == {"type": "message_stop"}
    assert [(event["type"].removeprefix("content_block_"), event["index"]) for event in blocks] == [
        *(("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)),
        *(("start", 1), ("stop", 1)),
        *(("start", 2), ("delta", 2), ("stop", 2)),
        *(("start", 3), ("stop", 3)),
        *(("start", 4), ("delta", 4), ("stop", 4)),
        *(("start", 5), ("stop", 5)),
    ]
    assert [event["delta"] for event in blocks if "delta" in event] == [
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "signature_delta", "signature": "c2ln"},
        {"type": "text_delta", "text": "Hello"},
        {"type": "input_json_delta", "partial_json": '{"command":"ls"}'},
    ]
    assert [event["content_block"] for event in blocks if "content_block" in event][:4] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": ""},
        MESSAGE["content"][3],
    ]


def test_a_refusal_s_reason_comes_at_the_end() -> None:
    details = {"type": "refusal", "explanation": "Not allowed."}
    first, last, _ = unfold({**MESSAGE, "content": [], "stop_reason": "refusal", "stop_details": details})
    assert "stop_details" not in first["message"]
    assert (last["delta"]["stop_reason"], last["delta"]["stop_details"]) == ("refusal", details)


def test_what_was_unfolded_folds_to_the_same_message() -> None:
    assert fold_messages.fold(unfold(MESSAGE)) == MESSAGE


def test_the_message_that_was_given_is_not_changed() -> None:
    before = json.dumps(MESSAGE)
    unfold(MESSAGE)
    assert json.dumps(MESSAGE) == before


def test_content_null_is_none() -> None:
    assert [event["type"] for event in unfold({"content": None})] == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize("body", [{}, {"content": "text"}, {"content": {}}, {"choices": []}, {"type": "error"}])
def test_r_200_without_content_is_no_answer(body: Json) -> None:
    with pytest.raises(UpstreamFailed):
        unfold(body)


def test_an_input_that_is_nested_too_deeply_is_no_answer() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UpstreamFailed):
        unfold({"content": [{"type": "tool_use", "input": {"a": deep}}]})


BLOCK_NAMES = ["type", "text", "thinking", "signature", "data", "id", "name", "input", "citations", "content"]
KINDS = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "other"])
BLOCKS = st.builds(
    lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(st.sampled_from(BLOCK_NAMES), json_values(4))
)
NAMES = ["id", "content", "model", "usage", "stop_reason", "stop_details", "stop_sequence", "error"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values() | st.lists(BLOCKS | json_values(3), max_size=4)))
@thorough
def test_no_json_at_all_makes_it_raise_anything_else(body: Json) -> None:
    try:
        events = unfold(body)
    except GatewayError:
        assert not isinstance(body.get("content", ""), list | None)
    else:
        assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
        json.dumps(events)
