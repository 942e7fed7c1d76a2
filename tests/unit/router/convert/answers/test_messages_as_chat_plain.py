"""Anthropic's plain answers for OpenAI's plain callers: unfolded, converted, folded again."""

from typing import Any

import msgspec
import pytest

from libs.pricing import Usage
from services.router import messages_wire, meter
from services.router.convert.answers import fold_chat
from services.router.convert.answers.messages_as_chat import MessagesAsChat
from services.router.convert.answers.unfold_messages import unfold
from services.router.convert.names import Names, short
from tests.fixtures.conversions import Json, answering, plain
from tests.fixtures.strict_chat_stream import checked

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 30,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 7},
}


def message(*blocks: Any, stop: Any = "end_turn", **fields: Any) -> Json:
    plain_message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": blocks,
    }
    ended = {"stop_reason": stop, "stop_sequence": None, "usage": USAGE}
    return dict(msgspec.json.decode(msgspec.json.encode({**plain_message, **ended, **fields})))


def completion(said: Json, cost: str | None = None, **changes: Any) -> Json:
    """What the caller gets for this Message, by way of a stream that is as strict as it has to be."""
    machine, usage = MessagesAsChat(answering(**changes)), Usage()
    chunks: list[Json] = []
    for event in unfold(said):
        seen = msgspec.convert(event, messages_wire.Happening)
        usage = meter.of_messages(seen.usage, usage) if seen.usage else usage
        chunks += machine.take(seen)
    return fold_chat.fold(checked(plain(chunks + machine.close(usage, cost))))


def told(said: Json, **changes: Any) -> Json:
    (choice,) = completion(said, **changes)["choices"]
    return dict(choice)


TEXT = {"type": "text", "text": "Hello"}
THINKING = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
TOOL = {"type": "tool_use", "id": "toolu_A", "name": "Bash", "input": {"command": "ls"}}
CALL = {"id": "toolu_A", "type": "function", "function": {"name": "Bash", "arguments": '{"command":"ls"}'}}


def test_r_text() -> None:
    assert completion(message(TEXT, {"type": "text", "text": " you"}), cost="0.5") == {
        "id": "chatcmpl-msg_1",
        "object": "chat.completion",
        "created": 1_780_000_000,
        "model": "house-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 60,
            "completion_tokens": 40,
            "total_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 7},
            "cost": "0.5",
        },
    }


def test_r_tool_has_no_content() -> None:
    wanted = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
    assert told(message(TOOL, stop="tool_use"))["message"] == wanted


def test_r_thinking_text_tool() -> None:
    second = {**TOOL, "id": "toolu_B", "input": {}}
    answer = told(message(THINKING, TEXT, TOOL, second, stop="tool_use"))
    assert answer == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "Hello",
            "refusal": None,
            "reasoning_content": "Hm",
            "tool_calls": [CALL, {**CALL, "id": "toolu_B", "function": {"name": "Bash", "arguments": "{}"}}],
        },
        "logprobs": None,
        "finish_reason": "tool_calls",
    }


@pytest.mark.parametrize(
    ("stop", "alone", "with_call"),
    [
        ("end_turn", "stop", "tool_calls"),
        ("stop_sequence", "stop", "tool_calls"),
        ("pause_turn", "stop", "tool_calls"),
        ("compaction", "stop", "tool_calls"),
        ("tool_use", "stop", "tool_calls"),
        ("max_tokens", "length", "length"),
        ("model_context_window_exceeded", "length", "length"),
        ("refusal", "content_filter", "content_filter"),
        ("of_tomorrow", "stop", "tool_calls"),
        (None, "stop", "tool_calls"),
    ],
)
def test_r_a_to_o_finish_map(stop: str | None, alone: str, with_call: str) -> None:
    assert told(message(TEXT, stop=stop))["finish_reason"] == alone
    assert told(message(TEXT, TOOL, stop=stop))["finish_reason"] == with_call


def test_r_a_to_o_refusal_without_content() -> None:
    answer = told(message(stop="refusal", stop_details={"type": "refusal", "explanation": "Not allowed."}))
    assert answer["message"] == {"role": "assistant", "content": None, "refusal": "Not allowed."}
    assert answer["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    "hidden",
    [
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "secret"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"title": "secret"}]},
        {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {"stdout": "secret"}},
        {"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "secret", "input": {}},
        {"type": "compaction", "content": "secret"},
        {"type": "of_tomorrow", "text": "secret", "thinking": "secret"},
        {"text": "secret"},
        "secret",
        None,
    ],
)
def test_r_a_to_o_does_not_leak(hidden: Any) -> None:
    assert told(message(hidden, TEXT)) == told(message(TEXT))


def test_r_a_to_o_drops_citations_and_not_their_text() -> None:
    cited = {**TEXT, "citations": [{"type": "char_location", "cited_text": "secret"}]}
    assert told(message(cited)) == told(message(TEXT))


def test_r_tool_name_mapped_back() -> None:
    long = "mcp__a_server__" + "x" * 70
    answer = told(message({**TOOL, "name": short(long)}), names=Names([long]))
    assert answer["message"]["tool_calls"][0]["function"]["name"] == long


def test_r_missing_or_dup_tool_ids_are_made() -> None:
    calls = told(message(TOOL, TOOL, {**TOOL, "id": None}))["message"]["tool_calls"]
    assert calls[0]["id"] == "toolu_A"
    assert len({call["id"] for call in calls}) == 3


@pytest.mark.parametrize(
    ("given", "said"), [(None, "{}"), ({}, "{}"), ("", "{}"), ('{"a": 1}', '{"a": 1}'), ({"n": 1.5}, '{"n":1.5}')]
)
def test_r_arguments_are_always_text(given: Any, said: str) -> None:
    (call,) = told(message({**TOOL, "input": given}))["message"]["tool_calls"]
    assert call["function"]["arguments"] == said


def test_r_model_name_is_the_callers() -> None:
    assert completion(message(TEXT), model="what-was-asked-for")["model"] == "what-was-asked-for"


def test_r_content_null_is_an_empty_answer() -> None:
    assert told(message(content=None))["message"] == {"role": "assistant", "content": "", "refusal": None}


def test_r_thinking_that_is_hidden_is_not_shown() -> None:
    assert told(message(THINKING, TEXT), thinking_hidden=True) == told(message(TEXT))
