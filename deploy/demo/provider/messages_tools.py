"""The rules of anthropic_messages for tools and for the choice among them."""

import re
from collections.abc import Mapping
from typing import Any, Final

from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import MessagesRules

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_KEYS: Final = frozenset(
    (
        *("type", "name", "description", "input_schema", "cache_control", "strict", "defer_loading"),
        *("eager_input_streaming", "input_examples", "allowed_callers"),
    )
)


def check(request: Mapping[str, Any], rules: MessagesRules) -> None:
    """Raises Refusal."""
    tools, choice = request.get("tools") or (), request.get("tool_choice")
    for n, tool in enumerate(tools):
        _check_tool(f"tools.{n}", tool, rules)
    names = [tool["name"] for tool in tools if isinstance(tool.get("name"), str)]
    if len(set(names)) < len(names):
        raise Refusal(400, "tools: Tool names must be unique.")
    if choice is not None and not tools:
        raise Refusal(400, "tool_choice: may only be specified while providing tools")
    if choice is not None and choice["type"] == "tool" and choice.get("name") not in names:
        raise Refusal(400, f"tool_choice.name: Tool '{choice.get('name')}' not found in provided tools")


def _check_tool(place: str, tool: dict[str, Any], rules: MessagesRules) -> None:
    kind = tool.get("type")
    if kind not in (None, "custom"):
        if not isinstance(kind, str) or not kind.startswith(rules.tools):
            told = f"Input tag '{kind}' found using 'type' does not match any of the expected tags: 'custom'"
            raise Refusal(400, f"{place}: {told}")
        return
    for field in sorted(set(tool) - _KEYS):
        raise Refusal(400, f"{place}.custom.{field}: Extra inputs are not permitted")
    if not isinstance(tool.get("name"), str):
        raise Refusal(400, f"{place}.custom.name: Field required")
    if _NAME.fullmatch(tool["name"]) is None:
        raise Refusal(400, f"{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise Refusal(400, f"{place}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise Refusal(400, f"{place}.custom.input_schema.type: Input should be 'object'")
