"""The rules of openai_chat for tools and for the choice among them."""

import re
from collections.abc import Mapping
from typing import Any, Final

from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ChatRules

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL_KEYS: Final = frozenset(("type", "function"))
_FUNCTION_KEYS: Final = frozenset(("name", "description", "parameters", "strict"))


def check(request: Mapping[str, Any], rules: ChatRules, *, thinking: bool) -> None:
    """Raises Refusal."""
    tools = request.get("tools")
    if tools is None:
        _check_unneeded(request)
    elif not tools:
        raise Refusal(400, "Invalid 'tools': empty array. Expected an array with minimum length 1.", param="tools")
    names = [_check_tool(f"tools[{n}]", tool, rules) for n, tool in enumerate(tools or ())]
    if len(set(names)) < len(names):
        raise Refusal(400, "Tool names must be unique.", param="tools")
    _check_choice(request.get("tool_choice"), names, rules, thinking=thinking)


def is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def name_refused(place: str) -> Refusal:
    told = f"Invalid '{place}': string does not match pattern. Expected a string that matches the pattern"
    return Refusal(400, f"{told} '^[a-zA-Z0-9_-]{{1,64}}$'.", param=place)


def _check_unneeded(request: Mapping[str, Any]) -> None:
    """BerriAI/litellm#25477: what speaks of tools is refused when there are none."""
    for field in ("tool_choice", "parallel_tool_calls"):
        if request.get(field) is not None:
            raise Refusal(400, f"'{field}' is only allowed when 'tools' are specified.", param=field)


def _check_tool(place: str, tool: dict[str, Any], rules: ChatRules) -> str:
    kind, function = tool.get("type"), tool.get("function")
    if kind != "function":
        raise Refusal(rules.typed_tool, rules.say("typed_tool", type=kind), param=f"{place}.type")
    if not isinstance(function, dict):
        raise Refusal(400, f"Missing required parameter: '{place}.function'.", param=f"{place}.function")
    known = _TOOL_KEYS | {"cache_control"} if rules.cache_control else _TOOL_KEYS
    for field in sorted((set(tool) - known) | (set(function) - _FUNCTION_KEYS)):
        raise Refusal(400, f"Unknown parameter: '{place}.{field}'.", param=f"{place}.{field}")
    if not is_name(function.get("name")):
        raise name_refused(f"{place}.function.name")
    if not isinstance(function.get("description", ""), str):
        raise Refusal(400, f"Invalid type for '{place}.function.description': expected a string.", param=place)
    _check_schema(function, rules)
    return str(function["name"])


def _check_schema(function: dict[str, Any], rules: ChatRules) -> None:
    """A function without parameters needs none."""
    if "parameters" not in function:
        return
    name, schema = function["name"], function["parameters"]
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if kind != "object":
        told = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {kind!r}'"
        raise _schema_refused(name, told)
    if not isinstance(schema.get("properties", {}), dict) or (rules.properties and "properties" not in schema):
        raise _schema_refused(name, "In context=(), object schema missing properties")


def _schema_refused(name: str, problem: str) -> Refusal:
    return Refusal(400, f"Invalid schema for function '{name}': {problem}.", param="tools")


def _check_choice(choice: Any, names: list[str], rules: ChatRules, *, thinking: bool) -> None:
    if choice is None:
        return
    mode = choice if isinstance(choice, str) else "function"
    if mode not in rules.choices:
        raise Refusal(400, rules.say("choice", choice=mode), param="tool_choice")
    if thinking and mode not in rules.thinking_choices:
        raise Refusal(400, rules.say("thinking_choice", choice=mode), param="tool_choice")
    if mode == "function" and choice["function"]["name"] not in names:
        named = choice["function"]["name"]
        raise Refusal(400, f"tool_choice names {named!r}, which is no tool.", param="tool_choice")
