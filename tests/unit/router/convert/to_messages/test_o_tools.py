"""OpenAI tools and the choice among them."""

from typing import Any

import msgspec
import pytest

from libs.errors import InvalidRequest, UnsupportedParameter
from tests.fixtures.chat_requests import HELLO, PLAIN, assistant, call, converted, function, result, sent
from tests.fixtures.profiles import ANTHROPIC, GLM_MESSAGES

ONE_CHOICE = msgspec.structs.replace(PLAIN, tool_choices=("auto", "none"))
SERIAL = msgspec.structs.replace(PLAIN, parallel_tool_calls=False)
TWO = [function("look"), function("run")]


def allowed(mode: str, *names: str) -> Any:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "run"}}, {"type": "tool", "name": "run"}),
        ({"type": "custom", "custom": {"name": "run"}}, {"type": "tool", "name": "run"}),
        ({"type": "tool", "name": "run"}, {"type": "tool", "name": "run"}),
        ({"type": "any"}, {"type": "any"}),
        (None, None),
    ],
)
def test_o_tool_choice_forms_keep_all_tools(choice: Any, expected: Any) -> None:
    body = sent(tools=TWO, tool_choice=choice)
    assert body.get("tool_choice") == expected
    assert [tool["name"] for tool in body["tools"]] == ["look", "run"]


@pytest.mark.parametrize(("mode", "expected"), [("auto", "auto"), ("required", "any")])
def test_o_tool_choice_forms_allowed_tools_leaves_only_those(mode: str, expected: str) -> None:
    body = sent(tools=TWO, tool_choice=allowed(mode, "run"))
    assert [tool["name"] for tool in body["tools"]] == ["run"]
    assert body["tool_choice"] == {"type": expected}


@pytest.mark.parametrize(
    "choice", ["sometimes", {"type": "function", "function": {"name": "fly"}}, {}, allowed("auto", "fly")]
)
def test_o_tool_choice_forms_that_mean_nothing_are_refused(choice: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(tools=TWO, tool_choice=choice)
    assert raised.value.param == "tool_choice"


@pytest.mark.parametrize("tools", [None, []])
def test_o_tool_choice_forms_without_tools_are_left_out(tools: Any) -> None:
    body = sent(tools=tools, tool_choice="required")
    assert not body.keys() & {"tools", "tool_choice"}


def test_o_tool_choice_forms_that_the_provider_lacks_become_auto() -> None:
    made = converted(tools=TWO, tool_choice="required", profile=ONE_CHOICE)
    assert made.body["tool_choice"] == {"type": "auto"}
    assert made.dropped == ("tool_choice",)


def test_o_parallel_false_without_tool_choice() -> None:
    body = sent(tools=TWO, parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_o_parallel_false_with_tool_choice(choice: str, expected: Any) -> None:
    assert sent(tools=TWO, parallel_tool_calls=False, tool_choice=choice)["tool_choice"] == expected


def test_o_parallel_false_is_listed_where_the_provider_has_no_such_switch() -> None:
    made = converted(tools=TWO, parallel_tool_calls=False, profile=SERIAL)
    assert "tool_choice" not in made.body
    assert made.dropped == ("parallel_tool_calls",)


def test_o_parallel_true_changes_nothing() -> None:
    assert "tool_choice" not in sent(tools=TWO, parallel_tool_calls=True)


def test_a_tool_keeps_its_schema_byte_for_byte() -> None:
    schema = {"$schema": "x", "type": "object", "properties": {"n": {"minimum": -9007199254740991}}}
    tool = sent(tools=[function("look", description="looks", parameters=schema)])["tools"][0]
    assert tool == {"name": "look", "description": "looks", "input_schema": schema}


@pytest.mark.parametrize("schema", [None, {}, {"type": None}, {"type": "object"}])
def test_a_tool_without_a_schema_takes_an_empty_object(schema: Any) -> None:
    tool = sent(tools=[function("look", parameters=schema)])["tools"][0]
    assert tool["input_schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(("profile", "expected"), [(ANTHROPIC, True), (GLM_MESSAGES, None)])
def test_strict_is_passed_where_it_is_known(profile: Any, expected: Any) -> None:
    assert sent(tools=[function("look", strict=True)], profile=profile)["tools"][0].get("strict") is expected


def test_a_custom_tool_takes_text() -> None:
    tool = sent(tools=[{"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}}])["tools"][0]
    assert tool["input_schema"]["properties"] == {"input": {"type": "string"}}


def test_a_cache_mark_on_a_tool_is_kept() -> None:
    tool = sent(tools=[{**function(), "cache_control": {"type": "ephemeral", "ttl": "1h"}}])["tools"][0]
    assert tool["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_of_two_tools_with_one_name_the_first_counts() -> None:
    tools = sent(tools=[function("look", description="first"), function("look", description="second")])["tools"]
    assert [tool["description"] for tool in tools] == ["first"]


def test_names_that_the_provider_does_not_take_come_back_as_they_were() -> None:
    names = ["files.read", "x" * 130, "fine-name_1" * 9]
    turn = (assistant(None, *(call(name[:9], name) for name in names)), *(result(name[:9]) for name in names))
    chosen = {"type": "function", "function": {"name": "files.read"}}
    made = converted(HELLO, *turn, tools=list(map(function, names)), tool_choice=chosen)
    body = sent(HELLO, *turn, tools=list(map(function, names)), tool_choice=chosen)
    said = [tool["name"] for tool in body["tools"]]
    assert [made.names.original(name) for name in said] == names
    assert [block["name"] for block in body["messages"][1]["content"]] == said
    assert body["tool_choice"]["name"] == said[0] != names[0]
    assert said[2] == names[2]


def test_tools_of_the_providers_own_are_dropped_beside_others_and_refused_alone() -> None:
    made = converted(tools=[{"type": "web_search"}, function()])
    assert [tool["name"] for tool in made.body["tools"]] == ["look"]
    assert made.dropped == ("tools",)
    with pytest.raises(UnsupportedParameter) as raised:
        converted(tools=[{"type": "web_search"}])
    assert raised.value.param == "tools"


@pytest.mark.parametrize("tool", [{"type": "function"}, {"type": "function", "function": {"name": ""}}])
def test_a_tool_without_a_name_is_refused(tool: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(tools=[tool])
    assert raised.value.param == "tools"
