"""OpenAI messages become turns that alternate, and every call gets its one result in the turn after it."""

from typing import Any

import msgspec
import pytest

from libs.errors import InvalidRequest
from tests.fixtures.chat_requests import HELLO, PLAIN, assistant, call, converted, result, sent, text, user

KEEP = msgspec.structs.replace(PLAIN, mid_system="keep")
HOIST = msgspec.structs.replace(PLAIN, mid_system="hoist")
NO_PREFILL = msgspec.structs.replace(PLAIN, prefill=False)
BE_KIND = {"role": "system", "content": "be kind"}


def test_o_system_and_developer_first_become_system_blocks_in_order() -> None:
    body = sent({"role": "system", "content": "one"}, {"role": "developer", "content": [text("two"), text("3")]}, HELLO)
    assert body["system"] == [text("one"), text("two"), text("3")]
    assert body["messages"] == [user([text("hello")])]


def test_o_system_later_becomes_a_reminder_of_the_user() -> None:
    body = sent(HELLO, BE_KIND, assistant("hi"), user("more"))
    assert "system" not in body
    assert body["messages"][0]["content"] == [
        text("hello"),
        text("<system-reminder>\nbe kind\n</system-reminder>"),
    ]


def test_o_system_later_stands_after_the_results() -> None:
    body = sent(HELLO, assistant(None, call("a")), BE_KIND, result("a"))
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


def test_o_system_later_is_a_reminder_also_where_the_role_is_known() -> None:
    """Only a beta of the caller's own admits the role, and an OpenAI caller has none."""
    body = sent(HELLO, assistant(None, call("a")), BE_KIND, result("a"), profile=KEEP)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert "be kind" in body["messages"][2]["content"][1]["text"]


def test_o_system_later_between_two_turns_of_the_assistant_is_a_reminder_even_there() -> None:
    body = sent(HELLO, assistant("one"), BE_KIND, assistant("two"), user("go on"), profile=KEEP)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert "be kind" in body["messages"][2]["content"][0]["text"]


def test_o_system_later_moves_up_where_the_profile_says_so() -> None:
    body = sent(BE_KIND, HELLO, {"role": "system", "content": "and brief"}, profile=HOIST)
    assert body["system"] == [text("be kind"), text("and brief")]


def test_o_tool_run_is_one_user_message_with_the_results_first_in_call_order() -> None:
    body = sent(
        HELLO,
        assistant("I look.", call("a"), call("b")),
        result("b", "B"),
        user("and then"),
        result("a", "A"),
        user("stop"),
    )
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "A"},
        {"type": "tool_result", "tool_use_id": "b", "content": "B"},
        text("and then"),
        text("stop"),
    ]


def test_o_tool_run_without_a_result_gets_one_that_says_so() -> None:
    body = sent(HELLO, assistant(None, call("a"), call("b")), result("a"), user("stop"))
    missing = body["messages"][2]["content"][1]
    assert missing["tool_use_id"] == "b"
    assert missing["is_error"] is True
    assert "No result" in missing["content"]


def test_o_tool_run_keeps_the_last_of_two_results_for_one_call() -> None:
    body = sent(HELLO, assistant(None, call("a")), result("a", "old"), result("a", "new"))
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "a", "content": "new"}]


def test_o_tool_run_has_room_for_a_result_without_its_call() -> None:
    body = sent(HELLO, assistant("hi"), result("lost", "found"))
    assert body["messages"][2] == user([text("Tool result (lost):"), text("found")])


def test_o_tool_run_pairs_a_result_without_an_id_with_the_next_call() -> None:
    body = sent(HELLO, assistant(None, call("a"), call("b")), {"role": "tool", "content": "A"}, result("b", "B"))
    assert [block["content"] for block in body["messages"][2]["content"]] == ["A", "B"]


def test_o_tool_content_parts_become_text_blocks() -> None:
    body = sent(HELLO, assistant(None, call("a")), result("a", [text("one"), text("two")]))
    assert body["messages"][2]["content"][0]["content"] == [text("one"), text("two")]


@pytest.mark.parametrize("empty", ["", " \n", None, [], [text("")]])
def test_o_tool_empty_content_has_no_content_at_all(empty: Any) -> None:
    body = sent(HELLO, assistant(None, call("a")), result("a", empty))
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


@pytest.mark.parametrize("empty", [None, "", " ", [], [text("")]])
def test_o_assistant_null_content_leaves_only_the_calls(empty: Any) -> None:
    body = sent(HELLO, assistant(empty, call("a")), result("a"))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


def test_o_two_assistants_are_merged() -> None:
    body = sent(HELLO, assistant("one"), assistant(None, call("a")), assistant("two"), result("a"))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "text"]


@pytest.mark.parametrize("empty", ["", None, []])
def test_o_two_assistants_with_nothing_said_between_are_merged(empty: Any) -> None:
    body = sent(HELLO, assistant("one"), user(empty), assistant("two"), user("go on"))
    assert body["messages"][1]["content"] == [text("one"), text("two")]


def test_o_two_assistants_at_the_start_follow_a_word_of_the_user() -> None:
    body = sent(assistant("one"), assistant("two"), HELLO)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [text("(conversation start)")]


@pytest.mark.parametrize("messages", [[BE_KIND], [user("")], [assistant("")]])
def test_o_two_assistants_or_none_there_is_always_a_first_message(messages: list[Any]) -> None:
    assert sent(*messages)["messages"] == [user([text("(conversation start)")])]


def test_o_final_assistant_trailing_space_is_trimmed() -> None:
    assert sent(HELLO, assistant("The answer is \n"))["messages"][-1] == assistant([text("The answer is")])


def test_o_final_assistant_trailing_space_stays_where_it_is_not_final() -> None:
    assert sent(HELLO, assistant("hi "), HELLO)["messages"][1] == assistant([text("hi ")])


def test_o_final_assistant_is_history_where_the_provider_continues_nothing() -> None:
    body = sent(HELLO, assistant("The answer is "), profile=NO_PREFILL)
    assert body["messages"][-1] == user([text("Continue.")])


def test_o_final_assistant_is_history_where_thinking_is_asked_for() -> None:
    profile = msgspec.structs.replace(PLAIN, thinking="adaptive")
    body = sent(HELLO, assistant("Well"), profile=profile, reasoning_effort="high")
    assert body["messages"][-1] == user([text("Continue.")])


def test_o_legacy_functions_call_and_result_get_an_id() -> None:
    asked = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": '{"path": "/"}'}}
    body = sent(HELLO, asked, {"role": "function", "name": "look", "content": "found"}, asked, HELLO)
    first, answer, second = body["messages"][1:4]
    assert first["content"] == [{"type": "tool_use", "id": "call_fn_0", "name": "look", "input": {"path": "/"}}]
    assert answer["content"] == [{"type": "tool_result", "tool_use_id": "call_fn_0", "content": "found"}]
    assert second["content"][0]["id"] == "call_fn_1"


def test_o_legacy_functions_are_tools_and_function_call_is_their_choice() -> None:
    declared = {"name": "look", "description": "looks", "parameters": {"type": "object", "properties": {}}}
    body = sent(functions=[declared], function_call={"name": "look"})
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "look", "description": "looks", "input_schema": schema}]
    assert body["tool_choice"] == {"type": "tool", "name": "look"}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "wizard", "content": "x"}], "messages[0].role"),
        ([HELLO, user([text("x"), 5])], "messages[1].content[1]"),
        ([], "messages"),
    ],
)
def test_what_is_no_message_is_named(messages: list[Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(messages=messages)
    assert raised.value.param == param
