"""A plain OpenAI completion as the chunks of its stream."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import UpstreamFailed
from services.router import chat_wire
from services.router.convert.answers.unfold_chat import unfold
from tests.fixtures.conversions import Json, plain
from tests.fixtures.strategies import json_values, thorough

HEAD = {"id": "chatcmpl-1", "created": 1, "model": "deepseek-chat", "system_fingerprint": "fp"}
CALL = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def completion(*choices: Json, **fields: Any) -> Json:
    return {**HEAD, "object": "chat.completion", "choices": list(choices), **fields}


def chunk(index: int, finish: str | None = None, **delta: Any) -> Json:
    part = {"index": index, "delta": delta, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [part]}


def test_r_text_becomes_the_chunks_of_its_stream() -> None:
    usage = {"prompt_tokens": 1}
    said = {"role": "assistant", "content": "Hi", "refusal": None}
    answer = completion({"index": 0, "message": said, "finish_reason": "stop"}, usage=usage)
    assert unfold(answer) == [
        chunk(0, role="assistant", content=""),
        chunk(0, content="Hi"),
        chunk(0, "stop"),
        {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": usage},
    ]


def test_r_thinking_text_tool_in_this_order_and_numbered() -> None:
    said = {"tool_calls": [CALL, CALL], "content": "Hi", "reasoning": "why", "reasoning_content": "why"}
    answer = completion({"index": 0, "message": {**said, "annotations": [1]}, "finish_reason": "tool_calls"})
    assert unfold(answer) == [
        chunk(0, role="assistant", content="", annotations=[1]),
        chunk(0, reasoning_content="why", reasoning="why"),
        chunk(0, content="Hi"),
        chunk(0, tool_calls=[{**CALL, "index": 0}, {**CALL, "index": 1}]),
        chunk(0, "tool_calls"),
    ]


def test_r_all_choices_are_told() -> None:
    both = [{"index": n, "message": {"content": f"c{n}"}, "finish_reason": "stop"} for n in (1, 0)]
    deltas = [part for document in unfold(completion(*both)) for part in document["choices"]]
    assert [(part["index"], part["delta"].get("content")) for part in deltas] == [
        *((1, ""), (1, "c1"), (1, None)),
        *((0, ""), (0, "c0"), (0, None)),
    ]


def test_r_what_else_a_choice_says_comes_with_its_end() -> None:
    more = {"logprobs": {"content": []}, "stop_reason": "END"}
    answer = completion({"index": 0, "message": {"content": "x"}, "finish_reason": "stop", **more})
    assert unfold(answer)[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop", **more}


def test_r_legacy_function_call_passes() -> None:
    called = {"name": "look", "arguments": "{}"}
    answer = completion({"message": {"function_call": called}, "finish_reason": "function_call"})
    assert unfold(answer)[0]["choices"][0]["delta"]["function_call"] == called


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": None}, {"choices": []}, {"choices": {}}, {"choices": "x"}, {"choices": [None, 5]}],
)
def test_r_200_without_choices_is_the_providers_failure(answer: Json) -> None:
    with pytest.raises(UpstreamFailed, match="no answer"):
        unfold(answer)


@given(
    json_values(),
    json_values(),
    st.dictionaries(st.sampled_from(["content", "reasoning", "tool_calls", "role", "x"]), json_values()),
)
@thorough
def test_r_every_choice_of_whatever_shape_can_be_read_again(first: Any, second: Any, message: Json) -> None:
    answer = completion(
        {"index": first, "message": message, "finish_reason": second, "delta": second},
        {"message": second, "index": second},
        usage=first,
    )
    decoded = [msgspec.convert(document, chat_wire.Chunk) for document in plain(unfold(answer))]
    assert all(choice.index is not None for one in decoded for choice in one.choices or ())
