"""Chunks as the completion they make up: our own, and those of providers that only stream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import GatewayError, UpstreamFailed
from services.router.convert.answers import unfold_chat
from services.router.convert.answers.fold_chat import fold
from tests.fixtures.conversions import Json
from tests.fixtures.strategies import json_values, thorough

HEAD: Json = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chunk(*choices: Any, **fields: Any) -> Json:
    return {**HEAD, "choices": list(choices), **fields}


def said(index: Any = 0, finish: Any = None, **delta: Any) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish}


def call(index: Any, arguments: Any = None, *, call_id: Any = None, name: Any = None, **fields: Any) -> Json:
    """A fragment of a call, with what is None left out."""
    function = {name: value for name, value in (("name", name), ("arguments", arguments)) if value is not None}
    fragment = {"index": index, "id": call_id, "type": "function" if call_id else None, "function": function, **fields}
    return {name: value for name, value in fragment.items() if value is not None}


def message(*chunks: Json) -> Json:
    (choice,) = fold(chunks)["choices"]
    return dict(choice["message"])


def calls(*fragments: Json) -> list[tuple[str, str, str]]:
    found = message(*(chunk(said(tool_calls=[fragment])) for fragment in fragments))["tool_calls"]
    assert all(call["type"] == "function" for call in found)
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in found]


def test_a_text_is_joined() -> None:
    chunks = [
        chunk(said(role="assistant", content="")),
        chunk(said(content="Hel")),
        chunk(said(content="lo")),
        chunk(said(finish="stop")),
        chunk(usage=USAGE),
    ]
    answer = {"role": "assistant", "content": "Hello", "refusal": None}
    choice = {"index": 0, "message": answer, "logprobs": None, "finish_reason": "stop"}
    assert fold(chunks) == {**HEAD, "object": "chat.completion", "usage": USAGE, "choices": [choice]}
    assert list(fold(chunks))[:4] == list(HEAD)


@pytest.mark.parametrize(
    ("deltas", "content"),
    [
        ([{"content": "a"}, {"content": None}, {"content": "b"}], "ab"),
        ([{"content": ""}], ""),
        ([{"content": None}], None),
        ([{}], None),
        ([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab"),
        ([{"content": ""}, {"tool_calls": [call(0, "{}", call_id="c", name="n")]}], None),
        ([{"content": "x"}, {"tool_calls": [call(0, "{}", call_id="c", name="n")]}], "x"),
        ([{"content": ""}, {"refusal": "No."}], None),
        ([{"content": "\ud83d"}, {"content": "\ude42"}], "🙂"),
        ([{"content": 5}], ""),
    ],
)
def test_content_is_null_where_there_is_none(deltas: list[Json], content: str | None) -> None:
    assert message(*(chunk(said(**delta)) for delta in deltas))["content"] == content


def test_reasoning_and_refusal_are_joined() -> None:
    deltas = [
        {"reasoning_content": "a"},
        {"reasoning_content": "b"},
        {"reasoning": "c"},
        {"refusal": "d"},
        {"refusal": "e"},
    ]
    assert message(*(chunk(said(**delta)) for delta in deltas)) == {
        "role": "assistant",
        "content": None,
        "refusal": "de",
        "reasoning_content": "ab",
        "reasoning": "c",
    }


@pytest.mark.parametrize(
    ("fragments", "wanted"),
    [
        (
            [call(0, "", call_id="a", name="x"), call(0, '{"n"'), call(0, ":1}"), call(1, "{}", call_id="b", name="y")],
            [("a", "x", '{"n":1}'), ("b", "y", "{}")],
        ),
        ([call(0, '{"n":1}', call_id="a", name="x")], [("a", "x", '{"n":1}')]),
        (  # the index is missing
            [call(None, '{"n"', call_id="a", name="x"), call(None, ":1}"), call(None, "{}", call_id="b", name="y")],
            [("a", "x", '{"n":1}'), ("b", "y", "{}")],
        ),
        (  # id and name are repeated
            [call(0, '{"n"', call_id="a", name="x"), call(0, ":1}", call_id="a", name="x")],
            [("a", "x", '{"n":1}')],
        ),
        (  # every call has index 0
            [call(0, "{}", call_id="a", name="x"), call(0, "{}", call_id="b", name="y")],
            [("a", "x", "{}"), ("b", "y", "{}")],
        ),
        (  # indexes begin where they like
            [call(2, "{}", call_id="a", name="x"), call(5, "{}", call_id="b", name="y")],
            [("a", "x", "{}"), ("b", "y", "{}")],
        ),
        (  # two calls are mixed
            [call(0, "1", call_id="a", name="x"), call(1, "2", call_id="b", name="y"), call(0, "3"), call(1, "4")],
            [("a", "x", "13"), ("b", "y", "24")],
        ),
        ([call(0, {"n": 1}, call_id="a", name="x")], [("a", "x", '{"n":1}')]),
        ([call(0, call_id="a", name="x")], [("a", "x", "")]),
        ([call(0, "{}", call_id="a"), call(1, "{}", call_id="b", name="y")], [("b", "y", "{}")]),
    ],
)
def test_calls_are_put_together(fragments: list[Json], wanted: list[tuple[str, str, str]]) -> None:
    assert calls(*fragments) == wanted


def test_two_calls_in_one_delta() -> None:
    both = [call(0, "{}", call_id="a", name="x"), call(1, "{}", call_id="b", name="y")]
    assert [made["id"] for made in message(chunk(said(tool_calls=both)))["tool_calls"]] == ["a", "b"]


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    (first, *_), (second, *_) = calls(call(0, "{}", name="x"), call(1, "{}", name="y"))
    assert first
    assert second
    assert first != second


def test_what_else_a_call_says_is_kept() -> None:
    signed = call(0, "{}", call_id="a", name="x", extra_content={"signature": "s"})
    (made,) = message(chunk(said(tool_calls=[signed])), chunk(said(tool_calls=[call(0, "")])))["tool_calls"]
    assert made["extra_content"] == {"signature": "s"}


def test_an_old_function_call_is_joined() -> None:
    deltas = [{"name": "x", "arguments": '{"n"'}, {"arguments": ":1}"}]
    answer = message(*(chunk(said(function_call=delta)) for delta in deltas))
    assert answer["function_call"] == {"name": "x", "arguments": '{"n":1}'}
    assert (answer["content"], "tool_calls" in answer) == (None, False)


def test_all_choices_come_by_their_index() -> None:
    folded = fold([chunk(said(1, content="b")), chunk(said(0, content="a"), said(1, "length")), chunk(said(0, "stop"))])
    found = [(c["index"], c["message"]["content"], c["finish_reason"]) for c in folded["choices"]]
    assert found == [(0, "a", "stop"), (1, "b", "length")]


def test_logprobs_are_joined() -> None:
    first = {**said(content="a"), "logprobs": {"content": [{"token": "a"}], "refusal": None}}
    second = {**said(content="b"), "logprobs": {"content": [{"token": "b"}], "refusal": [{"token": "r"}]}}
    (choice,) = fold([chunk(first), chunk(second), chunk(said(finish="stop"))])["choices"]
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": [{"token": "r"}]}


@pytest.mark.parametrize("finish", [None, "", 5, []])
def test_only_a_word_is_a_finish_reason(finish: Any) -> None:
    (choice,) = fold([chunk(said(finish="length")), chunk(said(finish=finish))])["choices"]
    assert choice["finish_reason"] == "length"
    assert fold([chunk(said(finish=finish))])["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize("where", [0, 1, 2])
def test_usage_is_found_wherever_it_is(where: int) -> None:
    chunks = [chunk(said(content="a"), usage=None), chunk(said(finish="stop"), usage=None), chunk(usage=None)]
    chunks[where]["usage"] = USAGE
    assert fold(chunks)["usage"] == USAGE
    assert "usage" not in fold([chunk(said(content="a"), usage=None)])


def test_the_last_usage_counts() -> None:
    later = {**USAGE, "completion_tokens": 6}
    assert fold([chunk(said(content="a"), usage=USAGE), chunk(usage=later)])["usage"] == later


def test_unknown_fields_are_kept() -> None:
    odd = {**said(content="a", annotations=[1], audio={"id": "x"}), "stop_reason": "END"}
    folded = fold(
        [
            chunk(odd, system_fingerprint="fp", service_tier="default", obfuscation="xxxx"),
            chunk(said(annotations=[2]), system_fingerprint=None),
        ]
    )
    assert (folded["system_fingerprint"], folded["service_tier"]) == ("fp", "default")
    assert "obfuscation" not in folded
    (choice,) = folded["choices"]
    assert (choice["stop_reason"], choice["message"]["annotations"]) == ("END", [1, 2])
    assert choice["message"]["audio"] == {"id": "x"}


def test_a_first_chunk_without_a_name_does_not_name_the_answer() -> None:
    folded = fold([{"id": "", "model": "", "choices": [], "object": ""}, chunk(said(content="a")), chunk(id="other")])
    assert (folded["id"], folded["model"], folded["object"]) == ("chatcmpl-1", "m", "chat.completion")


def test_a_whole_message_in_a_chunk_counts() -> None:
    whole = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    assert message(chunk(whole))["content"] == "Hi"


@pytest.mark.parametrize("chunks", [[], [chunk()], [{"usage": USAGE}], [{"choices": "no"}], [{"choices": [None, 5]}]])
def test_r_200_without_choices_is_no_answer(chunks: list[Json]) -> None:
    with pytest.raises(UpstreamFailed):
        fold(chunks)


def test_what_was_unfolded_folds_to_the_same_completion() -> None:
    made = {"id": "a", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    answer = {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm", "tool_calls": [made]}
    choice = {"index": 0, "message": answer, "logprobs": None, "finish_reason": "tool_calls"}
    whole = {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, "system_fingerprint": "fp"}
    assert fold(unfold_chat.unfold(whole)) == whole


DELTA_NAMES = ["role", "content", "reasoning_content", "refusal", "tool_calls", "function_call", "annotations"]
FRAGMENTS = st.dictionaries(st.sampled_from(["index", "id", "type", "function"]), json_values(4))
DELTAS = st.dictionaries(
    st.sampled_from(DELTA_NAMES), json_values(4) | st.lists(FRAGMENTS | json_values(2), max_size=3)
)
CHOICE_NAMES = ["index", "delta", "message", "logprobs", "finish_reason", "stop_reason"]
CHOICES = st.dictionaries(st.sampled_from(CHOICE_NAMES), DELTAS | json_values(4), max_size=4)
CHUNKS = st.dictionaries(
    st.sampled_from([*HEAD, "choices", "usage", "other"]),
    json_values(4) | st.lists(CHOICES | json_values(2), max_size=3),
)


@given(st.lists(CHUNKS, max_size=4))
@thorough
def test_no_json_at_all_makes_it_raise_anything_else(chunks: list[Json]) -> None:
    try:
        folded = fold(chunks)
    except GatewayError:
        return
    assert folded["choices"]
    json.dumps(folded)
