"""What the simulator's streams do on cue that other servers do by themselves."""

from typing import Any, Final

import pytest

from tests.unit.provider_simulator.calls import (
    GLM,
    MESSAGES,
    PLAIN,
    document,
    documents,
    events,
    planned,
    sent,
    tools_for,
)

ARGUMENTS: Final = '{"city": "Oslo"}'
FIRST: Final = "call_000_0123456789abcdef"
SECOND: Final = "call_001_0123456789abcdef"


def fragments(cue: str, path: str = PLAIN, **fields: Any) -> list[list[dict[str, Any]]]:
    """The `tool_calls` of each chunk in which two calls are made."""
    said = f"[sim: tools=a,b args='{ARGUMENTS}' {cue}]"
    chunks = documents(planned(path, said, stream=True, tools=tools_for(path, "a", "b"), **fields))
    return [delta["tool_calls"] for chunk in chunks if "tool_calls" in (delta := chunk["choices"][0]["delta"])]


def joined(cue: str, key: str) -> dict[Any, str]:
    """All arguments by the index or the id of their call."""
    arguments: dict[Any, str] = {}
    for calls in fragments(cue):
        for call in calls:
            arguments[call[key]] = arguments.get(call[key], "") + call["function"]["arguments"]
    return arguments


def test_calls_are_opened_once_and_come_in_pieces() -> None:
    usual = fragments("")
    assert [call["id"] for calls in usual for call in calls if "id" in call] == [FIRST, SECOND]
    assert [calls[0]["function"]["arguments"] for calls in usual if "id" in calls[0]] == ["", ""]
    assert len(usual) > 6
    assert joined("", "index") == {0: ARGUMENTS, 1: ARGUMENTS}


def test_calls_may_come_whole() -> None:
    whole = fragments("calls=whole")
    assert [[call["id"] for call in calls] for calls in whole] == [[FIRST], [SECOND]]
    assert [calls[0]["function"] for calls in whole] == [{"name": name, "arguments": ARGUMENTS} for name in "ab"]


def test_arguments_may_begin_in_the_first_chunk() -> None:
    assert fragments("calls=first")[0][0]["function"] == {"name": "a", "arguments": ARGUMENTS[:5]}
    assert joined("calls=first", "index") == {0: ARGUMENTS, 1: ARGUMENTS}


def test_id_and_name_may_be_repeated() -> None:
    repeated = fragments("calls=repeat")
    assert all(calls[0].keys() >= {"id", "type"} and "name" in calls[0]["function"] for calls in repeated)
    assert joined("calls=repeat", "id") == {FIRST: ARGUMENTS, SECOND: ARGUMENTS}


def test_an_index_may_be_missing_or_always_zero() -> None:
    assert all("index" not in call for calls in fragments("calls=noindex") for call in calls)
    zero = [call for calls in fragments("calls=zero") for call in calls]
    assert {call["index"] for call in zero} == {0}
    assert [call["id"] for call in zero if "id" in call] == [FIRST, SECOND]


def test_calls_may_be_interleaved() -> None:
    assert [calls[0]["index"] for calls in fragments("calls=interleaved")][:4] == [0, 1, 0, 1]
    assert joined("calls=interleaved", "index") == {0: ARGUMENTS, 1: ARGUMENTS}


def test_two_calls_may_come_in_one_delta() -> None:
    [both] = fragments("calls=two")
    assert [(call["index"], call["id"], call["function"]["arguments"]) for call in both] == [
        (0, FIRST, ARGUMENTS),
        (1, SECOND, ARGUMENTS),
    ]


def test_two_calls_may_have_one_id_and_shapes_can_be_combined() -> None:
    assert [calls[0]["id"] for calls in fragments("calls=dupid,whole")] == [FIRST, FIRST]
    plain = document(planned(PLAIN, "[sim: tools=a,b calls=dupid]", tools=tools_for(PLAIN, "a", "b")))
    assert [call["id"] for call in plain["choices"][0]["message"]["tool_calls"]] == [FIRST, FIRST]


@pytest.mark.parametrize("shape", ["whole", "first", "repeat", "noindex", "zero", "interleaved", "two", "dupid"])
def test_a_shape_does_not_change_what_is_billed(shape: str) -> None:
    said = f"[sim: tools=a,b calls={shape}]"
    plan = planned(PLAIN, said, stream=True, tools=tools_for(PLAIN, "a", "b"))
    assert plan.usage is not None
    assert plan.usage.output == sum(step.tokens for step in plan.steps) > 4


def test_glm_streams_arguments_only_when_it_is_asked_to() -> None:
    assert len(fragments("", GLM)) == 2
    assert len(fragments("", GLM, tool_stream=True)) > 4


@pytest.mark.parametrize(("word", "finish"), [("network_error", "network_error"), ("none", None)])
def test_an_answer_may_end_for_another_reason(word: str, finish: str | None) -> None:
    said = f"[sim: words=1 finish={word}]"
    assert documents(planned(PLAIN, said, stream=True))[-1]["choices"][0]["finish_reason"] == finish
    assert document(planned(PLAIN, said))["choices"][0]["finish_reason"] == finish
    assert documents(planned(MESSAGES, said, stream=True))[-2]["delta"]["stop_reason"] == finish
    assert document(planned(MESSAGES, said))["stop_reason"] == finish


def test_a_stream_may_end_without_its_last_event() -> None:
    assert b"[DONE]" not in sent(planned(PLAIN, "[sim: done=off]", stream=True))
    assert events(planned(MESSAGES, "[sim: done=off]", stream=True))[-1].name == "message_delta"


def test_a_messages_stream_may_come_without_event_lines() -> None:
    named, bare = (
        planned(MESSAGES, f"[sim: usage=in:5 {cue}]", stream=True) for cue in ("words=3", "words=3 events=off")
    )
    assert {event.name for event in events(bare)} == {""}
    assert documents(bare) == documents(named)


def test_thinking_may_be_tagged_text() -> None:
    said = "[sim: thinking=2 words=2 think=tags]"
    message = document(planned(PLAIN, said))["choices"][0]["message"]
    assert message.keys() == {"role", "content"}
    assert message["content"].startswith("<think>")
    assert message["content"].endswith("</think>\n\nYou said:")
    assert {block["type"] for block in document(planned(MESSAGES, said))["content"]} == {"text"}


def test_thinking_may_have_another_field() -> None:
    said = "[sim: thinking=2 words=1 reasoning=alias]"
    assert "reasoning" in document(planned(PLAIN, said))["choices"][0]["message"]
    deltas = [chunk["choices"][0]["delta"] for chunk in documents(planned(PLAIN, said, stream=True))]
    assert sum("reasoning" in delta for delta in deltas) == 2
    assert not any("reasoning_content" in delta for delta in deltas)


def test_a_stream_may_begin_with_silence() -> None:
    plan = planned(PLAIN, "[sim: start=3 first=2 words=2]", stream=True)
    assert [step.delay for step in plan.steps if step.delay] == [3, 2]
    assert (plan.wait, plan.steps[0].data) == (0, b"")
    assert sum(step.delay for step in planned(PLAIN, "[sim: start=3 chunking=byte]", stream=True).steps) == 3


@pytest.mark.parametrize(
    ("path", "stream", "cue", "names"),
    [
        (PLAIN, True, "events=off", "event:"),
        (MESSAGES, True, "calls=whole", "openai_chat"),
        (MESSAGES, True, "reasoning=alias", "openai_chat"),
        (PLAIN, False, "start=2", "for streams"),
        (PLAIN, False, "done=off", "for streams"),
        (PLAIN, True, "calls=odd", "calls"),
        (PLAIN, True, "tools=a*", "'a[*]'"),
    ],
)
def test_a_quirk_that_makes_no_sense_is_refused(path: str, stream: bool, cue: str, names: str) -> None:
    plan = planned(path, f"[sim: {cue}]", stream=stream)
    assert plan.status == 400
    assert names.replace("[*]", "*") in document(plan)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "words", "code"),
    [
        (
            PLAIN,
            "maximum context length is 10 tokens. However, you requested 118 tokens (18 in",
            "context_length_exceeded",
        ),
        ("/deepseek/chat/completions", "maximum context length is 10 tokens", "invalid_request_error"),
        ("/qwen/chat/completions", "Range of input length should be [1, 10]", "invalid_parameter_error"),
        (GLM, "Prompt exceeds max length", "1261"),
    ],
)
def test_a_prompt_beyond_the_context_is_refused_in_the_vendors_words(path: str, words: str, code: str) -> None:
    error = document(planned(path, "[sim: context=10]" + "x" * 40, max_tokens=100))["error"]
    assert (words in error["message"], error["code"]) == (True, code), error


def test_a_prompt_beyond_the_context_of_messages_says_which_part_is_too_much() -> None:
    prompt = document(planned(MESSAGES, "[sim: context=10] " + "x" * 40))["error"]["message"]
    assert prompt == "prompt is too long: 18 tokens > 10 maximum"
    both = document(planned(MESSAGES, "[sim: context=100] " + "x" * 40))["error"]["message"]
    assert both.startswith("input length and `max_tokens` exceed context limit: 18 + 500 > 100")
