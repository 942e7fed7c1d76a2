"""OpenAI tool calls, whatever their arguments and ids are."""

from typing import Any

import pytest

from services.router.convert.to_messages.calls import Ids
from tests.fixtures.chat_requests import HELLO, assistant, call, result, sent, text, user


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("  ", {}),
        ("null", {}),
        (None, {}),
        ('{"a": ', {"_raw": '{"a": '}),
        ("{'a': 1}", {"_raw": "{'a': 1}"}),
        ('["a", 1]', {"value": ["a", 1]}),
        ("5", {"value": 5}),
        ({"a": 1}, {"a": 1}),
        (["a"], {"value": ["a"]}),
    ],
)
def test_o_bad_arguments_become_an_object_all_the_same(arguments: Any, expected: Any) -> None:
    body = sent(HELLO, assistant(None, call("a", arguments=arguments)), result("a"))
    assert body["messages"][1]["content"][0]["input"] == expected


def test_o_bad_arguments_that_are_absent_are_none() -> None:
    nameless = {"id": "a", "type": "function", "function": {"name": "look"}}
    assert sent(HELLO, assistant(None, nameless), result("a"))["messages"][1]["content"][0]["input"] == {}


def test_arguments_keep_their_numbers() -> None:
    body = sent(HELLO, assistant(None, call("a", arguments='{"n": 12345678901234567890123}')), result("a"))
    assert body["messages"][1]["content"][0]["input"] == {"n": 12345678901234567890123}


def test_a_custom_call_has_its_text_as_input() -> None:
    asked = {"id": "a", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}
    used = sent(HELLO, assistant(None, asked), result("a"))["messages"][1]["content"][0]
    assert used == {"type": "tool_use", "id": "a", "name": "run", "input": {"input": "ls -l"}}


def test_a_call_without_a_name_is_none() -> None:
    body = sent(HELLO, assistant("hm", call("a", name=""), call("b")), result("b"))
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use"]


@pytest.mark.parametrize("illegal", ["functions.bash:0", "", "ü", "a" * 65, "a b\n"])
def test_o_tool_id_illegal_becomes_a_legal_one_in_call_and_result(illegal: str) -> None:
    body = sent(HELLO, assistant(None, call(illegal)), result(illegal, "found"))
    used, answered = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert used["id"] == answered["tool_use_id"] != illegal
    assert answered["content"] == "found"


def test_o_tool_id_illegal_is_not_mixed_up_with_another() -> None:
    ids = ("functions.bash:0", "functions.bash:1")
    body = sent(HELLO, assistant(None, *map(call, ids)), result(ids[1], "1"), result(ids[0], "0"))
    assert [block["content"] for block in body["messages"][2]["content"]] == ["0", "1"]


def test_o_tool_id_that_every_turn_uses_again_is_made_unique() -> None:
    turn = (assistant(None, call("call_0")), result("call_0"))
    body = sent(HELLO, *turn, *turn, *turn)
    used = [message["content"][0]["id"] for message in body["messages"] if message["role"] == "assistant"]
    assert len(set(used)) == 3
    assert used[0] == "call_0"


def test_o_tool_id_that_one_turn_uses_twice_answers_both() -> None:
    body = sent(HELLO, assistant(None, call("a"), call("a")), result("a", "1"), result("a", "2"))
    assert [block["content"] for block in body["messages"][2]["content"]] == ["1", "2"]


def test_ids_stay_the_same_as_the_conversation_grows() -> None:
    """Else the provider's cache of the prompt would be of no use."""
    short, long = Ids(64), Ids(64)
    said = ["functions.bash:0", "a", "a"]
    assert [short.of(one) for one in said] == [long.of(one) for one in [*said, "b"]][:3]


def test_blocks_of_the_other_protocol_keep_their_meaning() -> None:
    """Some callers of the Chat endpoint write `tool_use` and `tool_result` parts; losing them loops for ever."""
    used = {"type": "tool_use", "id": "a", "name": "look", "input": {"path": "/"}}
    failed = {"type": "tool_result", "tool_use_id": "a", "content": [text("no")], "is_error": True}
    body = sent(HELLO, assistant([text("I look."), used]), user([text("so"), failed]))
    assert body["messages"][1]["content"] == [text("I look."), used]
    assert body["messages"][2]["content"] == [failed, text("so")]
