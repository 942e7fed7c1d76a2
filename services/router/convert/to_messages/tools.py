"""Tools, and which of them may or must be called. Pure."""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile, ToolChoice
from libs.errors import InvalidRequest, UnsupportedParameter
from libs.server_tools import is_server_tool
from services.router.convert.to_messages import cache
from services.router.convert.to_messages.calls import name_for_provider
from services.router.convert.to_messages.fields import Fields, decoded
from services.router.convert.to_messages.wire import NOTHING

Block = dict[str, Any]
SCHEMALESS: Final = {"type": "object", "properties": {}}
FREE_TEXT: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
MODES: Final[dict[str, ToolChoice]] = {
    "auto": "auto",
    "none": "none",
    "required": "required",
    "any": "required",
}
SENT: Final[dict[ToolChoice, str]] = {"auto": "auto", "none": "none", "required": "any", "function": "tool"}


class Function(msgspec.Struct):
    name: Any = None
    description: Any = None
    parameters: msgspec.Raw = NOTHING
    input_schema: msgspec.Raw = NOTHING
    strict: Any = None


class Tool(Function):
    """Some callers leave `function` out and say it all at the top, as anthropic_messages does."""

    type: Any = None
    function: Function | None = None
    custom: Function | None = None
    cache_control: Any = None


class Chosen(msgspec.Struct):
    """Any of the objects that say which tool, Anthropic's among them."""

    type: Any = None
    name: Any = None
    mode: Any = None
    tools: list["Chosen"] | None = None
    function: "Chosen | None" = None
    custom: "Chosen | None" = None
    allowed_tools: "Chosen | None" = None


class Toolset(msgspec.Struct, frozen=True):
    """``choice`` is the mode that is asked of the provider, in openai_chat's words."""

    tools: list[Block]
    tool_choice: Block | None
    choice: ToolChoice
    names: tuple[str, ...]


_tools = msgspec.json.Decoder(list[Tool])
_functions = msgspec.json.Decoder(list[Function])
_schema = msgspec.json.Decoder(dict[str, msgspec.Raw])
_chosen = msgspec.json.Decoder(str | Chosen)
_switch = msgspec.json.Decoder(bool)


def read(fields: Fields, profile: Profile) -> Toolset:
    """Raises InvalidRequest, and UnsupportedParameter where every tool is the provider's own to run."""
    declared = _declared(fields, profile)
    mode, names = _wanted(fields, declared)
    if mode is not None and mode not in profile.tool_choices:
        fields.drop("tool_choice", "function_call")
        mode = "auto"
    if mode in ("auto", "required", None) and names:
        declared = {name: tool for name, tool in declared.items() if name in names}
    tools = list(declared.values())
    choice = _choice(fields, profile, mode, names) if tools else None
    return Toolset(tools, choice, mode or "auto", tuple(declared))


def _declared(fields: Fields, profile: Profile) -> dict[str, Block]:
    """By the caller's names. Of two with one name the first counts."""
    tools = fields.read("tools", _tools) or []
    own = [tool for tool in tools if not is_server_tool(tool.type)]
    if len(own) < len(tools):
        if not own:
            raise UnsupportedParameter("This model runs no tools of the provider's own.", param="tools")
        fields.drop("tools")
    found: dict[str, Block] = {}
    for tool in own:
        _declare(found, tool.function or tool.custom or tool, profile, tool)
    for function in fields.read("functions", _functions) or []:
        _declare(found, function, profile, Tool())
    return found


def _declare(found: dict[str, Block], function: Function, profile: Profile, tool: Tool) -> None:
    if not isinstance(function.name, str) or not function.name:
        raise InvalidRequest("Every tool needs a name.", param="tools")
    block: Block = {"name": name_for_provider(function.name)}
    if isinstance(function.description, str) and function.description:
        block["description"] = function.description
    block["input_schema"] = FREE_TEXT if tool.custom is not None else _schema_of(function)
    if function.strict is True and profile.strict_tools:
        block["strict"] = True
    if profile.cache_control:
        cache.mark(block, tool.cache_control)
    found.setdefault(function.name, block)


def _schema_of(function: Function) -> object:
    """As it came, but an object with properties, which some callers leave out for a tool without any."""
    raw = function.parameters if function.parameters != NOTHING else function.input_schema
    if raw == NOTHING or bytes(raw) == b"null":
        return SCHEMALESS
    schema = decoded(raw, _schema, "tools.parameters")
    if "type" in schema and bytes(schema["type"]) != b"null" and "properties" in schema:
        return raw
    kind = schema.pop("type", NOTHING)
    named = kind if kind != NOTHING and bytes(kind) != b"null" else "object"
    return {"type": named, "properties": {}, **schema}


def _wanted(fields: Fields, declared: dict[str, Block]) -> tuple[ToolChoice | None, frozenset[str]]:
    """The mode, and the names that it is about. Raises InvalidRequest for a tool that is not there."""
    said = fields.read("tool_choice", _chosen)
    field = "tool_choice"
    if said is None:
        said, field = fields.read("function_call", _chosen), "function_call"
    if said is None:
        return None, frozenset()
    mode, names = _meant(said, field)
    if declared and not names <= declared.keys():
        raise InvalidRequest(f"{field} names a tool that is not among the tools.", param=field)
    return mode, names


def _meant(said: str | Chosen, field: str) -> tuple[ToolChoice, frozenset[str]]:
    word = said if isinstance(said, str) else said.type
    if isinstance(said, Chosen):
        if (allowed := said.allowed_tools or (said if word == "allowed_tools" else None)) is not None:
            return ("required" if allowed.mode == "required" else "auto"), _names(allowed.tools or [])
        if named := _names([said]):
            return "function", named
    mode = MODES.get(word) if isinstance(word, str) else None
    if mode is None:
        raise InvalidRequest(f"{field} must be auto, none, required or name a function.", param=field)
    return mode, frozenset()


def _names(chosen: list[Chosen]) -> frozenset[str]:
    named = (one.function or one.custom or one for one in chosen)
    return frozenset(one.name for one in named if isinstance(one.name, str) and one.name)


def _choice(fields: Fields, profile: Profile, mode: ToolChoice | None, names: frozenset[str]) -> Block | None:
    alone = fields.read("parallel_tool_calls", _switch) is False
    if alone and not profile.parallel_tool_calls:
        fields.drop("parallel_tool_calls")
        alone = False
    if mode is None and not alone:
        return None
    choice: Block = {"type": SENT[mode or "auto"]}
    if mode == "function":
        choice["name"] = name_for_provider(next(iter(names)))
    if alone and mode != "none":
        choice["disable_parallel_tool_use"] = True
    return choice
