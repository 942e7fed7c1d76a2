"""Tools and the choice among them. Pure."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from libs.contracts.profile import Profile, ToolChoice
from libs.errors import InvalidRequest, UnsupportedParameter
from libs.server_tools import TOKENS_ONLY, is_server_tool, name_of
from services.router.convert.names import short
from services.router.convert.to_chat import content, wire
from services.router.convert.to_chat.wire import Tool

MOST_QUOTED: Final = 60
EMPTY: Final = Raw(b"{}")
OBJECT: Final = Raw(b'"object"')
MODES: Final[dict[str, ToolChoice]] = {"auto": "auto", "any": "required", "tool": "function", "none": "none"}


class Tooling(msgspec.Struct):
    """``fields`` go into the body; ``names`` are the caller's own."""

    fields: dict[str, Any]
    names: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def tooling(tools: Raw | None, choice: Raw | None, profile: Profile, *, thinks: bool) -> Tooling:
    """Without tools there is no choice either: providers refuse it (BerriAI/litellm#25477)."""
    declared = wire.read(wire.tools, tools, "tools") if tools is not None and wire.given(tools) else []
    functions, servers = _sorted(declared)
    if servers and not functions:
        raise UnsupportedParameter(f"server tool {name_of(servers[0])} is not supported by this model", param="tools")
    if not functions:
        return Tooling({})
    chosen = _choice(choice, functions, profile, thinks=thinks)
    if chosen.fields.get("tool_choice") == "none" and "none" not in profile.tool_choices:
        return Tooling({}, tuple(functions))  # a tool that is not there cannot be called either
    sent = [_function(tool, profile) for tool in functions.values()]
    dropped = (*(f"tools.{kind}" for kind in servers), *chosen.dropped)
    return Tooling({"tools": sent, **chosen.fields}, tuple(functions), dropped)


def _sorted(declared: list[Tool]) -> tuple[dict[str, Tool], list[str]]:
    """Functions by name, the first of two with one name, and the types of the server's own tools."""
    functions: dict[str, Tool] = {}
    servers: list[str] = []
    for tool in declared:
        if _is_server(tool):
            servers.append(str(tool.type)[:MOST_QUOTED])
        else:
            functions.setdefault(_name(tool), tool)
    return functions, servers


def _is_server(tool: Tool) -> bool:
    """Raises UnsupportedParameter for Anthropic's predefined tools, whose schemas only its own models know."""
    if is_server_tool(tool.type):
        return True
    kind = str(tool.type)
    if kind.startswith(TOKENS_ONLY):
        raise UnsupportedParameter(f"tool {kind[:MOST_QUOTED]} is not supported by this model", param="tools")
    return False


def _name(tool: Tool) -> str:
    if not isinstance(tool.name, str) or not tool.name:
        raise InvalidRequest("tools: name: Field required", param="tools")
    return tool.name


def _function(tool: Tool, profile: Profile) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": short(tool.name),
        "description": tool.description if isinstance(tool.description, str) else "",
        "parameters": _parameters(tool.input_schema or {}),
    }
    if profile.strict_tools and isinstance(tool.strict, bool):
        function["strict"] = tool.strict
    if content.marks(tool.cache_control, profile):
        return {"type": "function", "function": function, "cache_control": content.MARK}
    return {"type": "function", "function": function}


def _parameters(schema: dict[str, Raw]) -> dict[str, Raw]:
    """Three things at the top are put right, all below stays as it is."""
    fixed = {key: value for key, value in schema.items() if key != "$schema"}
    if bytes(fixed.get("type", EMPTY)) != bytes(OBJECT):
        fixed["type"] = OBJECT
    if not wire.given(fixed.get("properties")):
        fixed["properties"] = EMPTY
    return fixed


def _choice(choice: Raw | None, functions: dict[str, Tool], profile: Profile, *, thinks: bool) -> Tooling:
    given = wire.read(wire.objects, choice, "tool_choice") if choice is not None else None
    if not given:
        return Tooling({})
    found = _mode(given, functions, profile, thinks=thinks)
    if given.get("disable_parallel_tool_use") is not True:
        return found
    if profile.parallel_tool_calls:
        return Tooling({**found.fields, "parallel_tool_calls": False}, dropped=found.dropped)
    return Tooling(found.fields, dropped=(*found.dropped, "tool_choice.disable_parallel_tool_use"))


def _mode(given: dict[str, Any], functions: dict[str, Tool], profile: Profile, *, thinks: bool) -> Tooling:
    """What the provider does not take becomes `auto`, and is named as dropped."""
    kind = given.get("type")
    mode = MODES.get(kind) if isinstance(kind, str) else None
    name = given.get("name")
    if mode == "function" and not (isinstance(name, str) and name in functions):
        raise InvalidRequest("tool_choice: no tool of that name is declared", param="tool_choice")
    if mode == "none":
        return Tooling({"tool_choice": "none"})
    if mode is None or not _taken(mode, profile, thinks=thinks):
        return Tooling({"tool_choice": "auto"}, dropped=("tool_choice",))
    if mode == "function":
        return Tooling({"tool_choice": {"type": "function", "function": {"name": short(str(name))}}})
    return Tooling({"tool_choice": mode})


def _taken(mode: ToolChoice, profile: Profile, *, thinks: bool) -> bool:
    return mode in profile.tool_choices and (not thinks or mode in profile.thinking_tool_choices)
