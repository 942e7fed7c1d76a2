"""Tools as functions, and the choice among them."""

import json
from typing import Any

import pytest

from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.names import short
from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, GLM_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import (
    HELLO,
    WEATHER,
    Json,
    assistant,
    converted,
    result,
    sent,
    terms,
    use,
    user,
    variant,
)

SEARCH: Json = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
LONG = "mcp__a-server-with-a-long-name__a_tool_with_an_even_longer_name_of_its_own"


def tool(name: str = "weather", schema: Any = None, **more: Any) -> Json:
    return {"name": name, "input_schema": {"type": "object", "properties": {}} if schema is None else schema, **more}


def function(given: Json, profile: Any = GENERIC_CHAT) -> Json:
    """What is sent for this tool."""
    found: Json = sent(profile, tools=[given])["tools"][0]["function"]
    return found


def test_tool_basic_becomes_a_function() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"$schema": "kept", "const": 1}},
        "additionalProperties": False,
    }
    body = sent(tools=[tool(schema=schema, description="Of a city", type="custom")])
    expected = {key: value for key, value in schema.items() if key != "$schema"}
    assert body["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "Of a city", "parameters": expected}}
    ]


def test_tool_basic_has_a_description_whatever_was_given() -> None:
    assert function(tool())["description"] == ""


def test_tool_basic_keeps_the_digits_of_numbers() -> None:
    limits = b'{"n":{"maximum":1.00, "minimum":123456789012345678901234567890}}'
    tools = b'[{"name":"t","input_schema":{"properties":' + limits + b"}}]"
    body = b'{"max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":' + tools + b"}"
    (found,) = convert(body, terms()).body["tools"]
    assert bytes(found["function"]["parameters"]["properties"]) == limits


@pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": "object", "properties": None}, {"type": ["null"]}])
def test_tool_schema_without_properties_gets_some(schema: Json) -> None:
    assert function(tool(schema=schema))["parameters"] == {"type": "object", "properties": {}}


def test_tool_schema_without_properties_may_be_absent() -> None:
    assert function({"name": "now", "type": None})["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "extra", ["cache_control", "defer_loading", "eager_input_streaming", "input_examples", "allowed_callers", "strict"]
)
def test_tool_extra_keys_are_absent(extra: str) -> None:
    value: Any = {"type": "ephemeral"} if extra == "cache_control" else True
    assert extra not in json.dumps(sent(tools=[tool(**{extra: value})]))


def test_tool_extra_keys_that_a_provider_knows_are_kept() -> None:
    assert function(tool(strict=True), variant(GENERIC_CHAT, strict_tools=True))["strict"] is True
    marked = sent(QWEN_CHAT, tools=[tool(cache_control={"type": "ephemeral"})])["tools"][0]
    assert marked["cache_control"] == {"type": "ephemeral"}


def test_tool_long_name_is_short_everywhere_and_finds_its_way_back() -> None:
    said = [HELLO, assistant(use("a", LONG)), user(result("a", "x"))]
    fields: Json = {"tools": [tool(LONG)], "tool_choice": {"type": "tool", "name": LONG}, "messages": said}
    body, found = sent(**fields), converted(**fields)
    name = body["tools"][0]["function"]["name"]
    assert len(LONG) > 64 >= len(name)
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == name
    assert body["tool_choice"] == {"type": "function", "function": {"name": name}}
    assert found.names.original(name) == LONG
    assert sent(**fields) == body


def test_tool_two_long_names_same_prefix_stay_two() -> None:
    names = [tool["function"]["name"] for tool in sent(tools=[tool(LONG + "_1"), tool(LONG + "_2")])["tools"]]
    assert len(set(names)) == 2


def test_tool_of_one_name_twice_is_sent_once() -> None:
    body = sent(tools=[tool(description="first"), tool(description="second")])
    assert [each["function"]["description"] for each in body["tools"]] == ["first"]


@pytest.mark.parametrize("tools", [[], None])
def test_tools_empty_with_choice_sends_neither(tools: object) -> None:
    body = sent(tools=tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tc_auto_any_tool_none(choice: Json, mode: object) -> None:
    found = converted(tools=[WEATHER], tool_choice=choice)
    assert found.body["tool_choice"] == mode
    assert found.dropped == ()


def test_tc_none_leaves_the_tools_out_where_there_is_no_such_mode() -> None:
    found = converted(GLM_CHAT, tools=[WEATHER], tool_choice={"type": "none"})
    assert found.body.keys().isdisjoint({"tools", "tool_choice"})
    assert found.dropped == ()


def test_tc_absent_is_left_to_the_provider() -> None:
    assert "tool_choice" not in sent(tools=[WEATHER])


@pytest.mark.parametrize("choice", [{"type": "tool", "name": "other"}, {"type": "tool"}, {"type": "tool", "name": []}])
def test_tc_tool_that_is_not_declared_is_refused(choice: Json) -> None:
    with pytest.raises(InvalidRequest, match="tool_choice") as refused:
        converted(tools=[WEATHER], tool_choice=choice)
    assert refused.value.param == "tool_choice"


def test_tc_of_a_kind_that_nobody_knows_is_auto() -> None:
    found = converted(tools=[WEATHER], tool_choice={"type": "of 2031"})
    assert (found.body["tool_choice"], found.dropped) == ("auto", ("tool_choice",))


def test_tc_disable_parallel_switches_it_off() -> None:
    body = sent(tools=[WEATHER], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "auto", "disable_parallel_tool_use": False}, None])
def test_tc_disable_parallel_absent_sends_nothing(choice: object) -> None:
    assert "parallel_tool_calls" not in sent(tools=[WEATHER], tool_choice=choice)


def test_tc_disable_parallel_is_dropped_where_it_is_unknown() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    found = converted(variant(GENERIC_CHAT, parallel_tool_calls=False), tools=[WEATHER], tool_choice=choice)
    assert found.dropped == ("tool_choice.disable_parallel_tool_use",)
    assert "parallel_tool_calls" not in found.body


def test_tc_unsupported_by_profile_is_auto() -> None:
    found = converted(GLM_CHAT, tools=[WEATHER], tool_choice={"type": "any"})
    assert found.body["tool_choice"] == "auto"
    assert found.dropped == ("tool_choice",)


@pytest.mark.parametrize(
    ("thinking", "mode"),
    [({"type": "disabled"}, "required"), ({"type": "adaptive"}, "auto"), (None, "auto")],
)
def test_tc_unsupported_by_profile_while_it_thinks(thinking: object, mode: str) -> None:
    body = sent(DEEPSEEK_CHAT, tools=[WEATHER], tool_choice={"type": "any"}, thinking=thinking)
    assert body["tool_choice"] == mode


def test_tc_is_taken_where_silence_switches_thinking_off() -> None:
    profile = variant(DEEPSEEK_CHAT, thinking_when_absent="off")
    assert sent(profile, tools=[WEATHER], tool_choice={"type": "any"})["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("web_search_20250305", "web_search"),
        ("web_fetch_20250910", "web_fetch"),
        ("code_execution_20250825", "code_execution"),
        ("tool_search_tool_regex_20251119", "tool_search_tool_regex"),
        ("mcp_toolset", "mcp_toolset"),
        ("of_2031", "of_2031"),
    ],
)
def test_server_tool_only_is_refused_by_name(kind: str, name: str) -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        converted(tools=[{"type": kind, "name": "x"}])
    assert refused.value.message == f"server tool {name} is not supported by this model"
    assert (refused.value.status, refused.value.param) == (400, "tools")


def test_server_tool_mixed_is_dropped_and_named() -> None:
    found = converted(tools=[SEARCH, WEATHER])
    assert [each["function"]["name"] for each in found.body["tools"]] == ["weather"]
    assert found.dropped == ("tools.web_search_20250305",)
    assert "web_search" not in found.names


@pytest.mark.parametrize(
    "kind",
    ["bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20251124", "browser_toolset_20260101"],
)
def test_a_tool_that_only_anthropic_defines_is_refused_by_name(kind: str) -> None:
    with pytest.raises(UnsupportedParameter, match=kind):
        converted(tools=[WEATHER, {"type": kind, "name": "x"}])


def test_a_tool_of_an_unknown_type_is_not_sold_before_it_has_a_price() -> None:
    assert converted(tools=[WEATHER, tool(type="of_2031")]).dropped == ("tools.of_2031",)
    with pytest.raises(UnsupportedParameter):
        converted(tools=[tool(type="of_2031")])


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_tool_without_a_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidRequest, match="tools: name"):
        converted(tools=[{**WEATHER, "name": name}])


@pytest.mark.parametrize(("streamed", "asked"), [(True, True), (False, None)])
def test_tool_stream_is_asked_for_where_arguments_need_it(streamed: bool, asked: bool | None) -> None:
    assert sent(GLM_CHAT, streamed=streamed, tools=[WEATHER]).get("tool_stream") is asked
    assert "tool_stream" not in sent(GLM_CHAT, streamed=True)
    assert "tool_stream" not in sent(GENERIC_CHAT, tools=[WEATHER])


def test_the_names_are_those_that_were_declared() -> None:
    found = converted(tools=[tool("Bash"), tool(LONG)]).names
    assert found.original("bash") == "Bash"
    assert found.original(short(LONG)) == LONG
