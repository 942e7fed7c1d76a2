"""What the simulator answers, and how each protocol and provider puts it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.provider.signatures import signature_of
from libs.pricing import Usage
from tests.unit.provider_simulator.calls import (
    BOTH,
    CHAT,
    MESSAGES,
    PLAIN,
    QWEN,
    WITH_USAGE,
    document,
    documents,
    events,
    planned,
    sent,
    tools_for,
)

FIGURES = "[sim: usage=in:10,out:20,cache_read:4,cache_write:2,reasoning:3]"


def chat_text(plan_documents: list[Any], field: str = "content") -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in plan_documents if chunk["choices"]]
    return "".join(delta.get(field) or "" for delta in deltas)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_gets_the_same_answer(path: str, stream: bool) -> None:
    first = planned(path, "Tell me", stream=stream)
    assert planned(path, "Tell me", stream=stream) == first
    assert sent(planned(path, "Tell him", stream=stream)) != sent(first)


@pytest.mark.parametrize("path", BOTH)
def test_a_cue_does_not_change_the_words(path: str) -> None:
    first, cued = document(planned(path, "Tell me")), document(planned(path, "Tell me [sim: delay=1 usage=in:4]"))
    del first["usage"], cued["usage"]
    assert cued == first


def test_a_stream_says_what_the_plain_answer_says() -> None:
    said = "Tell me [sim: thinking=4]"
    message = document(planned(CHAT, said))["choices"][0]["message"]
    chunks = documents(planned(CHAT, said, stream=True))
    assert (chat_text(chunks), chat_text(chunks, "reasoning_content")) == (
        message["content"],
        message["reasoning_content"],
    )
    thinking, text = document(planned(MESSAGES, said))["content"]
    streamed = [e["delta"] for e in documents(planned(MESSAGES, said, stream=True)) if "index" in e and "delta" in e]
    assert "".join(delta.get("text", "") for delta in streamed) == text["text"]
    assert "".join(delta.get("thinking", "") for delta in streamed) == thinking["thinking"]


def test_a_chat_stream_has_its_chunks_in_order() -> None:
    chunks = documents(planned(CHAT, "[sim: words=2]", **WITH_USAGE))
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "You"},
        {"content": " said:"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == ([], 2)
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-0123456789abcdef"}


def test_a_chat_stream_reports_usage_only_when_asked() -> None:
    unasked = planned(CHAT, stream=True)
    assert b"usage" not in sent(unasked)
    assert events(unasked)[-1].data == b"[DONE]"
    assert [chunk["usage"] is None for chunk in documents(planned(CHAT, "[sim: words=0]", **WITH_USAGE))] == [
        True,
        True,
        False,
    ]


def test_usage_can_stand_on_the_finish_chunk_or_on_all() -> None:
    finish = documents(planned(CHAT, "[sim: words=1 usage=finish]", stream=True))
    assert [bool(chunk.get("usage")) for chunk in finish] == [False, False, True]
    every = documents(planned(CHAT, "[sim: words=1 usage=every]", **WITH_USAGE))
    assert [bool(chunk.get("usage")) for chunk in every] == [True] * 4


def test_a_messages_stream_has_its_events_in_order() -> None:
    said = "[sim: thinking=1 words=1 tools=get_weather args={} usage=in:9]"
    plan = planned(MESSAGES, said, stream=True, tools=tools_for(MESSAGES, "get_weather"))
    block = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"]
    text = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert [event.name for event in events(plan)] == [
        "message_start",
        "ping",
        *block,
        *text,
        *block,
        "message_delta",
        "message_stop",
    ]
    for event, decoded in zip(events(plan), documents(plan), strict=True):
        assert decoded["type"] == event.name
    start, end = documents(plan)[0]["message"], documents(plan)[-2]
    assert (start["usage"]["input_tokens"], start["content"], start["stop_reason"]) == (9, [], None)
    assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"]) == ("tool_use", 3)


def test_each_protocol_counts_the_cache_its_own_way() -> None:
    usage = document(planned(QWEN, FIGURES))["usage"]
    assert usage == {
        "prompt_tokens": 16,
        "completion_tokens": 20,
        "total_tokens": 36,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_creation_input_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    usage = document(planned(CHAT, "[sim: usage=in:10,out:20,cache_read:4]"))["usage"]
    assert (usage["prompt_cache_hit_tokens"], usage["prompt_cache_miss_tokens"]) == (4, 10)
    usage = document(planned(MESSAGES, FIGURES.replace("write:2", "write:2,cache_write_1h:5")))["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (10, 4, 20)
    assert usage["cache_creation_input_tokens"] == 7
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5}


@pytest.mark.parametrize("path", BOTH)
@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 30))
def test_output_is_counted_token_by_token_up_to_the_limit(path: str, limit: int, thinking: int, words: int) -> None:
    said = f"[sim: thinking={thinking} words={words}]"
    plan = planned(path, said, stream=True, max_tokens=limit)
    assert plan.usage is not None
    assert plan.usage.output == sum(step.tokens for step in plan.steps) == min(limit, thinking + words)
    assert plan.usage.reasoning == sum(step.thinking for step in plan.steps) == min(limit, thinking)


def test_a_limit_that_is_reached_is_told() -> None:
    assert document(planned(CHAT, max_tokens=3))["choices"][0]["finish_reason"] == "length"
    assert document(planned(CHAT, max_completion_tokens=3))["choices"][0]["finish_reason"] == "length"
    assert document(planned(MESSAGES, max_tokens=3))["stop_reason"] == "max_tokens"


def test_a_stop_sequence_ends_the_text_before_itself() -> None:
    choice = document(planned(CHAT, "one two three", stop=["three", "wo th"]))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: one t", "stop")
    message = document(planned(MESSAGES, "one two three", stop_sequences=["two"]))
    assert (message["content"][0]["text"], message["stop_reason"]) == ("You said: one ", "stop_sequence")
    assert message["stop_sequence"] == "two"


def test_several_choices_differ_and_are_all_counted() -> None:
    plan = planned(CHAT, n=3)
    choices = document(plan)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in choices}) == 3
    chunks = documents(planned(CHAT, n=3, stream=True))
    assert [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == [0, 1, 2]
    assert plan.usage is not None
    assert plan.usage.output == sum(len(choice["message"]["content"].split()) for choice in choices)


@pytest.mark.parametrize("path", BOTH)
def test_arguments_fit_the_tools_schema(path: str) -> None:
    plan = planned(path, "[sim: tools=a,b]", tools=tools_for(path, "a", "b"))
    if path == CHAT:
        calls = document(plan)["choices"][0]["message"]["tool_calls"]
        arguments = [msgspec.json.decode(call["function"]["arguments"]) for call in calls]
        names = [call["function"]["name"] for call in calls]
    else:
        calls = document(plan)["content"]
        arguments, names = [call["input"] for call in calls], [call["name"] for call in calls]
    assert names == ["a", "b"]
    assert len({call["id"] for call in calls}) == 2
    for given_arguments in arguments:
        assert given_arguments.keys() == {"city", "days"}
        assert isinstance(given_arguments["city"], str)
        assert isinstance(given_arguments["days"], int)


def test_calls_of_the_same_tool_are_kept_apart_in_a_stream() -> None:
    plan = planned(CHAT, "[sim: tools=a,a args='{\"k\": 12}']", tools=tools_for(CHAT, "a"), stream=True)
    deltas = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in documents(plan)[1:-1]]
    arguments = {place: "".join(d["function"]["arguments"] for d in deltas if d["index"] == place) for place in (0, 1)}
    assert arguments == {0: '{"k": 12}', 1: '{"k": 12}'}
    assert [delta["index"] for delta in deltas if "id" in delta] == [0, 1]


def test_a_forced_tool_is_called_without_a_cue() -> None:
    tools = tools_for(CHAT, "a", "b")
    named = {"type": "function", "function": {"name": "b"}}
    choice = document(planned(PLAIN, tools=tools, tool_choice=named))["choices"][0]
    assert (choice["message"]["tool_calls"][0]["function"]["name"], choice["finish_reason"]) == ("b", "tool_calls")
    message = document(planned(MESSAGES, tools=tools_for(MESSAGES, "a"), tool_choice={"type": "any"}))
    assert message["content"][0]["name"] == "a"


@pytest.mark.parametrize("path", BOTH)
def test_a_cue_is_obeyed_once_in_a_conversation(path: str) -> None:
    cue = {"role": "user", "content": "Hello [sim: status=500]"}
    answered = [cue, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And now?"}]
    assert planned(path, messages=[cue]).status == 500
    assert planned(path, messages=answered).status == 200


def test_a_tools_result_gets_a_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "Go [sim: tools=a]"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "12 degrees"},
    ]
    choice = document(planned(PLAIN, messages=turns, tools=tools_for(PLAIN, "a")))["choices"][0]
    assert (choice["finish_reason"], choice["message"].get("tool_calls")) == ("stop", None)
    assert choice["message"]["content"].startswith("The tool said: 12 degrees —")
    turns = [
        turns[0],
        {"role": "assistant", "content": [{"type": "tool_use", "id": i, "name": "a", "input": {}} for i in "xy"]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "x", "content": "12 degrees"},
                {"type": "tool_result", "tool_use_id": "y", "content": [{"type": "text", "text": "rain"}]},
                {"type": "text", "text": "Tool loaded."},
            ],
        },
    ]
    [block] = document(planned(MESSAGES, messages=turns, tools=tools_for(MESSAGES, "a")))["content"]
    assert block["text"].startswith("The tool said: 12 degrees — and: rain —")


@pytest.mark.parametrize("path", [PLAIN, MESSAGES])
def test_a_cue_beside_a_reminder_is_obeyed_and_the_reminder_is_not_quoted(path: str) -> None:
    parts = [
        {"type": "text", "text": "<system-reminder>\nBe brief.\n</system-reminder>"},
        {"type": "text", "text": "Go [sim: tools=a*]"},
    ]
    turns = [{"role": "user", "content": parts}]
    called = document(planned(path, messages=turns, tools=tools_for(path, "a_rather_long_name", "b")))
    assert "a_rather_long_name" in str(called)
    parts[1]["text"] = "Go"
    assert "You said: Go —" in str(document(planned(path, messages=turns)))


def test_a_conversation_is_cached_from_its_second_turn_on() -> None:
    first = [{"role": "user", "content": "x" * 1000}]
    later = [*first, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Go on."}]
    one, two = planned(CHAT, messages=first).usage, planned(CHAT, messages=later).usage
    assert one == Usage(input=253, output=one.output if one else 0)
    assert two is not None
    assert (two.cache_read, two.prompt) == (256, 253 + 4 + 5)


def test_messages_are_cached_where_they_are_marked() -> None:
    system = [{"type": "text", "text": "x" * 400, "cache_control": {"type": "ephemeral"}}]
    first = [{"role": "user", "content": "Hello"}]
    later = [*first, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "Go on."}]
    one, two = planned(MESSAGES, messages=first, system=system), planned(MESSAGES, messages=later, system=system)
    assert one.usage is not None
    assert two.usage is not None
    assert (one.usage.cache_write, one.usage.cache_read, one.usage.input) == (100, 0, 5)
    assert (two.usage.cache_write, two.usage.cache_read, two.usage.input) == (0, 109, 5)


@pytest.mark.parametrize(
    ("switch", "thinks"),
    [
        ({"model": "deepseek-reasoner"}, True),
        ({"thinking": {"type": "enabled"}}, True),
        ({"reasoning_effort": "low"}, True),
        ({"model": "deepseek-reasoner", "thinking": {"type": "disabled"}}, False),
        ({}, False),
    ],
)
def test_thinking_is_on_when_it_is_switched_on(switch: dict[str, Any], thinks: bool) -> None:
    plan = planned(CHAT, **switch)
    assert ("reasoning_content" in document(plan)["choices"][0]["message"]) == thinks
    assert plan.usage is not None
    assert bool(plan.usage.reasoning) == thinks


@pytest.mark.parametrize("thinks", [True, False])
def test_qwen_thinks_when_its_own_switch_says_so(thinks: bool) -> None:
    plan = planned(QWEN, enable_thinking=thinks, stream=True)
    assert plan.usage is not None
    assert bool(plan.usage.reasoning) == thinks


def test_thinking_is_signed() -> None:
    thinking, _ = document(planned(MESSAGES, max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 2000}))[
        "content"
    ]
    assert thinking["signature"] == signature_of(thinking["thinking"]) != signature_of("else")


def test_providers_have_their_own_habits_in_a_thinking_stream() -> None:
    said = "[sim: thinking=1 words=1]"
    deepseek = [chunk["choices"][0]["delta"] for chunk in documents(planned(CHAT, said, stream=True))]
    assert deepseek[0] == {"role": "assistant", "content": None, "reasoning_content": ""}
    qwen = [chunk["choices"][0]["delta"] for chunk in documents(planned(QWEN, said, stream=True))]
    assert (qwen[1]["content"], qwen[2]["reasoning_content"]) == (None, None)


@pytest.mark.parametrize("path", BOTH)
def test_arguments_cut_short_do_not_break_the_answer(path: str) -> None:
    plan = planned(path, "[sim: tools=a]", tools=tools_for(path, "a"), max_tokens=2)
    if path == CHAT:
        choice = document(plan)["choices"][0]
        assert (choice["finish_reason"], len(choice["message"]["tool_calls"][0]["function"]["arguments"])) == (
            "length",
            10,
        )
    else:
        assert (document(plan)["stop_reason"], document(plan)["content"][0]["input"]) == ("max_tokens", {})
