"""What each openai_chat provider refuses, by a request that is right but for one thing."""

from typing import Any, Final

import msgspec
import pytest

from deploy.demo.provider.strict import refusal_of
from libs.protocols import OPENAI_CHAT

SCHEMA: Final = {"type": "object", "properties": {}}
HELLO: Final = {"role": "user", "content": "hello"}
NAMED: Final = {"type": "function", "function": {"name": "look"}}
IMAGE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
ALL: Final = ("deepseek", "qwen", "zhipu", "somebody")


def tool(name: str = "look", **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **fields}}


def call(call_id: Any = "c1", name: str = "look", arguments: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    turn = {"role": "assistant", "content": None, "tool_calls": list(calls), "reasoning_content": "", **fields}
    return {key: value for key, value in turn.items() if value is not ...}


def result(call_id: str = "c1", content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def refused(provider: str, **fields: Any) -> str | None:
    request = {"model": "m", "messages": [HELLO], **fields}
    return refusal_of(provider, OPENAI_CHAT, {}, msgspec.json.encode(request))


def talk(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HELLO, *turns], "tools": [tool()]}


GOOD: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "a talk with tools": talk(called(call(), call("c2")), result("c2"), result(), HELLO),
    "a system prompt": {"messages": [{"role": "system", "content": "Be brief."}, HELLO]},
    "an object": {"messages": [{"role": "user", "content": "as JSON"}], "response_format": {"type": "json_object"}},
    "a tool without parameters": {"tools": [{"type": "function", "function": {"name": "look"}}], "tool_choice": "auto"},
    "stops": {"stop": ["a"], "temperature": 0.5, "metadata": {"user_id": "x"}},
}


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_request_is_taken(provider: str, name: str) -> None:
    assert refused(provider, **GOOD[name]) is None


EVERYWHERE: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a field of the other protocol": ({"system": "x"}, "Unrecognized request argument supplied: system"),
    "another": ({"stop_sequences": ["x"]}, "stop_sequences"),
    "context_management": ({"context_management": {}}, "context_management"),
    "output_config": ({"output_config": {}}, "output_config"),
    "a late system message": ({"messages": [HELLO, {"role": "system", "content": "x"}]}, "at the beginning"),
    "a tool_result block": ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_result"),
    "an image block": ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "image"),
    "an image for the blind": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "image_url"),
    "an image in a result": (talk(called(call()), result(content=[IMAGE])), "image_url"),
    "no answer": (talk(called(call())), "must be followed by tool messages"),
    "half an answer": (talk(called(call(), call("c2")), result()), "must be followed by tool messages"),
    "a late answer": (talk(called(call()), HELLO, result()), "must be followed by tool messages"),
    "two answers": (talk(called(call()), result(), result()), "Duplicate value for 'tool_call_id'"),
    "an orphan": (talk(result()), "must be a response to a preceding message"),
    "a stranger": (talk(called(call()), result(), result("c3")), "must be a response to a preceding message"),
    "one id twice": (talk(called(call(), call()), result()), "Duplicate value for 'tool_call_id'"),
    "an empty id": (talk(called(call("")), result("")), ".id'"),
    "no id": (talk(called(call(None)), result()), ".id'"),
    "an empty list of calls": (talk(called()), "too short"),
    "arguments as an object": (talk(called(call(arguments={})), result()), "JSON object"),
    "arguments that are a list": (talk(called(call(arguments="[]")), result()), "JSON object"),
    "empty arguments": (talk(called(call(arguments="")), result()), "JSON object"),
    "a bad name in a call": (talk(called(call(name="a.b")), result()), "does not match pattern"),
    "a result without content": (talk(called(call()), result(content=None)), "needs content"),
    "an assistant who says nothing": (talk({"role": "assistant", "content": ""}), "content or tool_calls must be set"),
    "a long name": ({"tools": [tool("n" * 65)]}, "does not match pattern"),
    "a bad name": ({"tools": [tool("my tool")]}, "does not match pattern"),
    "a name twice": ({"tools": [tool(), tool()]}, "unique"),
    "no tools": ({"tools": []}, "empty array"),
    "a tool of the other protocol": ({"tools": [{"name": "look", "input_schema": SCHEMA}]}, "'function'|'None'"),
    "an input_schema": ({"tools": [{**tool(), "input_schema": SCHEMA}]}, "input_schema"),
    "parameters of no type": ({"tools": [tool(parameters={})]}, "schema must be a JSON Schema"),
    "a choice without tools": ({"tool_choice": "auto"}, "only allowed when 'tools'"),
    "parallel calls without tools": ({"parallel_tool_calls": True}, "only allowed when 'tools'"),
    "an empty stop": ({"stop": [""]}, "must not be empty"),
    "too many stops": ({"stop": ["a"] * 17}, "stop sequences"),
    "an effort that nobody knows": ({"reasoning_effort": "enormous"}, "enormous"),
    "an empty list of parts": ({"messages": [{"role": "user", "content": []}]}, "empty array|needs content"),
}


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_is_wrong_everywhere_is_refused_everywhere(provider: str, name: str) -> None:
    fields, words = EVERYWHERE[name]
    told = refused(provider, **fields)
    assert told is not None
    assert any(word in told for word in words.split("|")), told


DEVELOPER: Final = {"messages": [{"role": "developer", "content": "x"}, HELLO]}
SCHEMA_FORMAT: Final = {
    "messages": [{"role": "user", "content": "json"}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
}
OBJECT: Final = {"response_format": {"type": "json_object"}}
FORCED: Final = {"tools": [tool()], "tool_choice": "required"}
PARTS: Final = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
SEEN: Final = {"messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]}]}
MARKED: Final = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}]
}
FORGETFUL: Final = talk(called(call(), reasoning_content=...), result())
NULL_REASONING: Final = talk(called(call(), reasoning_content=None), result())
OFF: Final = {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("provider", "fields", "words"),
    [
        ("somebody", DEVELOPER, None),
        ("deepseek", DEVELOPER, "unknown variant `developer`"),
        ("qwen", DEVELOPER, "developer is not one of"),
        ("zhipu", DEVELOPER, "developer"),
        ("deepseek", SCHEMA_FORMAT, "This response_format type is unavailable now"),
        ("zhipu", SCHEMA_FORMAT, "json_schema"),
        ("qwen", SCHEMA_FORMAT, None),
        ("deepseek", OBJECT, "must contain the word 'json'"),
        ("qwen", OBJECT, "must contain the word 'json'"),
        ("zhipu", OBJECT, None),
        ("deepseek", FORCED, "Thinking mode does not support this tool_choice"),
        ("deepseek", {**FORCED, **OFF}, None),
        ("deepseek", {"tools": [tool()], "tool_choice": NAMED}, "Thinking mode"),
        ("zhipu", FORCED, "only supports auto"),
        ("zhipu", {"tools": [tool()], "tool_choice": "none"}, "only supports auto"),
        ("qwen", FORCED, None),
        ("qwen", {**FORCED, "enable_thinking": True, "stream": True}, "thinking mode"),
        ("somebody", {"tools": [tool()], "tool_choice": NAMED}, None),
        ("somebody", {"tools": [tool("see")], "tool_choice": NAMED}, "'look', which is no tool"),
        ("deepseek", PARTS, "invalid type: sequence, expected a string"),
        ("qwen", PARTS, None),
        ("deepseek", {**SEEN, "model": "deepseek-v4-vision-exp"}, None),
        ("qwen", {**SEEN, "model": "qwen3-vl-plus"}, None),
        ("zhipu", {**SEEN, "model": "glm-4v"}, None),
        ("zhipu", {**SEEN, "model": "glm-4-plus"}, "image_url"),
        ("qwen", MARKED, None),
        ("somebody", MARKED, "cache_control"),
        ("deepseek", FORGETFUL, "must be passed back to the API"),
        ("deepseek", NULL_REASONING, "must be passed back to the API"),
        ("deepseek", {**FORGETFUL, **OFF}, None),
        ("somebody", FORGETFUL, None),
        ("zhipu", FORGETFUL, None),
        ("deepseek", {"enable_thinking": False}, "enable_thinking"),
        ("qwen", OFF, "thinking"),
        ("zhipu", OFF, None),
        ("zhipu", {"thinking": {"type": "enabled", "budget_tokens": 9}}, "budget_tokens"),
        ("zhipu", {"thinking": {"type": "enabled", "clear_thinking": False}}, None),
        ("deepseek", {"thinking": {"type": "adaptive"}}, "thinking"),
        ("somebody", OFF, "thinking"),
        ("deepseek", {"reasoning_effort": "max"}, None),
        ("deepseek", {"reasoning_effort": "none"}, "none"),
        ("somebody", {"reasoning_effort": "max"}, "max"),
        ("qwen", {"enable_thinking": True}, "must be set to false for non-streaming calls"),
        ("qwen", {"enable_thinking": True, "stream": True, "thinking_budget": 2048}, None),
        ("qwen", {"thinking_budget": 0}, "thinking_budget"),
        ("qwen", {"thinking_budget": 90_000}, "thinking_budget"),
        ("qwen", {"model": "qwen3-thinking"}, "must be set to false for non-streaming calls"),
        ("qwen", {"model": "qwen3-thinking", "stream": True}, None),
        ("qwen", {"model": "qwen3-thinking", "stream": True, "enable_thinking": False}, "restricted to True"),
        ("qwen", {"model": "qwq-plus"}, "only support stream mode"),
        ("zhipu", {"temperature": 1}, "open interval"),
        ("zhipu", {"temperature": 0}, "open interval"),
        ("zhipu", {"top_p": 1}, "open interval"),
        ("somebody", {"temperature": 1.5}, None),
        ("somebody", {"stop": ["a"] * 5}, "At most 4"),
        ("somebody", {"stop": ["a"] * 4}, None),
        ("deepseek", {"stop": ["a"] * 16}, None),
        ("zhipu", {"stop": ["a", "b"]}, "At most 1"),
        ("somebody", {"tools": [tool(parameters={"type": "object"})]}, "missing properties"),
        ("deepseek", {"tools": [tool(parameters={"type": "object"})]}, None),
        ("zhipu", {"tools": [{"type": "web_search", "web_search": {}}]}, "'web_search' are not supported"),
        ("somebody", {"max_tokens": 5, "max_completion_tokens": 5}, "at the same time"),
        ("qwen", {"model": "qwen-max", "max_tokens": 9_000}, "Range of max_tokens should be [1, 8192]"),
        ("zhipu", {"model": "glm-4-plus", "max_tokens": 5_000}, "[1, 4095]"),
        ("deepseek", {"max_tokens": 400_000}, "valid range of max_tokens is [1, 393216]"),
        ("zhipu", {"tools": [tool()], "tool_stream": True, "stream": True}, None),
        ("somebody", {"tool_stream": True}, "tool_stream"),
        ("qwen", {"messages": [{"role": "system", "content": "x"}]}, "role 'user'"),
        ("qwen", {"top_k": 4}, None),
        ("somebody", {"top_k": 4}, "top_k"),
    ],
)
def test_a_provider_has_rules_of_its_own(provider: str, fields: dict[str, Any], words: str | None) -> None:
    told = refused(provider, **fields)
    assert (told is None) == (words is None), told
    assert words is None or words in str(told)
