"""Tool names that a provider takes, and the way back. Pure.

openai_chat allows 64 letters, digits, `_` and `-`, and Claude Code's MCP tools have longer names; anthropic_messages
allows 128 of them, and some openai_chat callers put dots in names.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 64
DIGITS: Final = 8
FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """The names of one request's tools, both ways. A name that was never declared stays what it is."""

    def __init__(self, declared: Iterable[str] = (), longest: int = LONGEST) -> None:
        self._longest = longest
        self._original: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        for name in declared:
            self._original.setdefault(short(name, longest), name)
            self._folded.setdefault(short(name, longest).lower(), name)

    def original(self, name: str) -> str:
        """The declared name for one that a model says, also where it got upper and lower case wrong."""
        return self._original.get(name) or self._folded.get(name.lower()) or name

    def __contains__(self, name: str) -> bool:
        return short(name, self._longest) in self._original


def short(name: str, longest: int = LONGEST) -> str:
    """The same name where it is allowed as it is, else a shorter one that no other name gets."""
    if 0 < len(name) <= longest and not FORBIDDEN.search(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    return f"{FORBIDDEN.sub('_', name[: longest - DIGITS - 1])}_{digest}"
