"""A plain OpenAI answer for an Anthropic caller: taken apart, through the stream's machine, and put together again."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pricing import Usage
from services.router import chat_wire, meter
from services.router.convert import figures
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.fold_messages import fold
from services.router.convert.answers.unfold_chat import unfold
from services.router.convert.names import Names, short
from tests.fixtures.conversions import Json, answering, plain
from tests.fixtures.strategies import thorough
from tests.fixtures.strict_messages_stream import check

LONG: Final = "mcp__a_server_with_a_very_long_name__and_a_tool_whose_name_is_long_as_well"
USAGE: Final = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 7},
}


def completion(finish: str | None = "stop", *, usage: Json | None = None, **message: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "deepseek-chat"}
    return {**head, "choices": [choice], "usage": usage or USAGE}


def call(name: str = "look", arguments: Any = "{}", call_id: Any = "call_1") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def message_of(answer: Json, cost: str | None = None, **changes: Any) -> Json:
    """The Message that the caller gets."""
    machine, usage, events = ChatAsMessages(answering(**changes)), Usage(), []
    for document in plain(unfold(answer)):
        chunk = msgspec.convert(document, chat_wire.Chunk)
        usage = meter.of_chat(chunk.usage) if chunk.usage else usage
        events += machine.take(chunk)
    events = plain(events + machine.close(usage, cost))
    check(events)
    return plain([fold(events)])[0]


def inputs(*calls: Json) -> list[Any]:
    return [part["input"] for part in message_of(completion("tool_calls", tool_calls=list(calls)))["content"]]


def test_r_text_is_exactly_this_message() -> None:
    assert message_of(completion(content="Hello"), cost="0.01") == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "house-model",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 60,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 40,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 7},
            "cost": "0.01",
        },
    }


def test_r_tool_and_its_input() -> None:
    found = message_of(completion("tool_calls", tool_calls=[call(arguments='{"x":[1,null]}')]))
    assert found["content"] == [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"x": [1, None]}}]
    assert found["stop_reason"] == "tool_use"


def test_r_thinking_text_tool_come_in_this_order() -> None:
    said: Json = {"tool_calls": [call()], "content": "Text", "reasoning_content": "Thought", "reasoning": "Thought"}
    assert message_of(completion("tool_calls", **said))["content"] == [
        {"type": "thinking", "thinking": "Thought", "signature": "tog1.7"},
        {"type": "text", "text": "Text"},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {}},
    ]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "end_turn"),
        ("function_call", "end_turn"),
        ("content_filter", "refusal"),
        ("sensitive", "refusal"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
        ("unheard_of", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_r_finish_map(finish: str | None, reason: str) -> None:
    assert message_of(completion(finish, content="x"))["stop_reason"] == reason


def test_r_finish_map_of_a_stop_sequence() -> None:
    answer = completion(content="x")
    answer["choices"][0]["stop_reason"] = "END"
    found = message_of(answer, stops=("END",))
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("finish", ["stop", "tool_calls", None])
def test_r_finish_stop_with_tools(finish: str | None) -> None:
    assert message_of(completion(finish, tool_calls=[call()]))["stop_reason"] == "tool_use"


def test_r_length_with_tools() -> None:
    found = message_of(completion("length", tool_calls=[call(arguments='{"x": "cu')]))
    assert found["stop_reason"] == "max_tokens"
    assert found["content"][0]["input"] == {"_raw_arguments": '{"x": "cu'}


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        ({"content": None}, []),
        ({"content": ""}, []),
        ({"content": 5}, []),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, "b", 5, {"text": None}]}, ["ab"]),
        ({"refusal": "no"}, ["no"]),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, ["no"]),
    ],
)
def test_r_content_null_or_parts_or_refusal(said: Json, texts: list[str]) -> None:
    found = message_of(completion(**said))
    assert [part["text"] for part in found["content"]] == texts
    assert found["stop_reason"] == ("refusal" if "refusal" in said else "end_turn")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (None, {}),
        ("", {}),
        ("  ", {}),
        ("null", {}),
        ("{}", {}),
        ({"x": 1}, {"x": 1}),
        ("[1]", {"value": [1]}),
        ('"x"', {"value": "x"}),
        ("0", {"value": 0}),
        ("{'x': 1}", {"_raw_arguments": "{'x': 1}"}),
        ('{"x":NaN}', {"_raw_arguments": '{"x":NaN}'}),
        ("[" * 5000, {"_raw_arguments": "[" * 5000}),
    ],
)
def test_r_arguments_null_or_invalid_are_an_object_all_the_same(arguments: Any, told: Json) -> None:
    assert inputs(call(arguments=arguments)) == [told]


def test_r_missing_or_dup_tool_ids_are_made_unique() -> None:
    calls = [call(call_id=given) for given in ("a", "a", None, "", "a", 5)]
    ids = [part["id"] for part in message_of(completion("tool_calls", tool_calls=calls))["content"]]
    assert ids[0] == "a"
    assert len(set(ids)) == len(calls)
    assert all(made.startswith("toolu_") and len(made) == 30 for made in ids[1:])


def test_r_tool_name_mapped_back_and_case_folded() -> None:
    calls = [call(short(LONG)), call("read"), call("Unknown")]
    found = message_of(completion("tool_calls", tool_calls=calls), names=Names([LONG, "Read"]))
    assert [part["name"] for part in found["content"]] == [LONG, "Read", "Unknown"]


def test_r_tool_of_the_legacy_kind() -> None:
    found = message_of(completion("function_call", function_call={"name": "look", "arguments": '{"x":1}'}))
    assert [(part["name"], part["input"]) for part in found["content"]] == [("look", {"x": 1})]
    assert found["stop_reason"] == "tool_use"


def test_r_model_name_is_clients() -> None:
    assert message_of(completion(content="x"), model="my/model")["model"] == "my/model"


def test_r_thinking_signature_nonempty() -> None:
    found = message_of(completion(reasoning_content="why", content="x"), sign=lambda text: f"signed {text}")
    assert found["content"][0] == {"type": "thinking", "thinking": "why", "signature": "signed why"}


def test_r_thinking_is_not_shown_where_it_was_switched_off_and_split_where_it_has_tags() -> None:
    hidden = message_of(completion(reasoning_content="why", content="x"), thinking_hidden=True)
    assert [part["type"] for part in hidden["content"]] == ["text"]
    split = message_of(completion(content="<think>why</think>x"), think_tags=True)
    assert [part["type"] for part in split["content"]] == ["thinking", "text"]


def test_r_text_of_the_first_choice_only() -> None:
    answer = completion(content="yes")
    answer["choices"] = [{**answer["choices"][0], "index": 1, "message": {"content": "no"}}, answer["choices"][0]]
    assert [part["text"] for part in message_of(answer)["content"]] == ["yes"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INPUTS = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-9, 9), st.none(), st.lists(TEXT, max_size=2)), max_size=3)
COUNT = st.integers(0, 100_000)


@given(TEXT, TEXT, st.lists(st.tuples(TEXT.filter(bool), INPUTS), max_size=4))
@thorough
def test_r_thinking_text_tool_are_kept_whatever_they_say(
    thought: str, text: str, said: list[tuple[str, dict[str, Any]]]
) -> None:
    calls = [call(name, msgspec.json.encode(given).decode(), f"id{n}") for n, (name, given) in enumerate(said)]
    content = message_of(completion(content=text, reasoning_content=thought, tool_calls=calls))["content"]
    told = [part.get("thinking") or part.get("text") or (part["name"], part["input"]) for part in content]
    assert told == [*filter(None, (thought, text)), *said]


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
@thorough
def test_u_roundtrip_property_totals_are_the_same(prompt: int, cached: int, written: int, out: int, why: int) -> None:
    given_figures = {
        "prompt_tokens": prompt,
        "completion_tokens": out,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": why},
    }
    told = message_of(completion(content="x", usage=given_figures))["usage"]
    back = figures.chat(meter.of_messages(told))
    assert (back["prompt_tokens"], back["completion_tokens"]) == (prompt, out)
    assert back["prompt_tokens_details"]["cached_tokens"] == min(cached, prompt)
    assert back["completion_tokens_details"]["reasoning_tokens"] == min(why, out)
