"""Which tools a provider would run itself, and bill by the search or by the call. Pure.

Only what is known to cost tokens alone is taken for the caller's own, so that nothing new slips through unpriced. The
names are those of the two protocols' references: tools that the caller's program runs, Anthropic's predefined ones
among them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

TOKENS_ONLY: Final = ("bash_", "text_editor_", "computer_", "memory_", "browser_toolset_")
CALLERS_OWN: Final = frozenset({None, "custom", "function"})
DATED: Final = re.compile(r"_20\d{6}$")
MAX_NAME: Final = 60


def is_server_tool(tool: object) -> bool:
    """Of a tool as it stands in a request, or of its `type`. A tool without a type is the caller's own."""
    kind = tool.get("type") if isinstance(tool, Mapping) else tool
    if kind is None or isinstance(kind, str):
        return kind not in CALLERS_OWN and not (kind or "").startswith(TOKENS_ONLY)
    return True


def name_of(kind: Any) -> str:
    """The type without its date, as people call it: `web_search`."""
    name = DATED.sub("", str(kind))[:MAX_NAME]
    return name if name.isidentifier() else repr(name)
