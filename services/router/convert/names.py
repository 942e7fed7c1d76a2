"""Tool names that an openai_chat provider takes, and the way back. Pure.

openai_chat allows 64 letters, digits, `_` and `-`; anthropic_messages 128 and more signs. Claude Code's MCP tools have
longer ones.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

LONGEST: Final = 64
HEAD: Final = 55
ALLOWED: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")


class Names:
    """The names of one request's tools, both ways. A name that was never declared stays what it is."""

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._original: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        for name in declared:
            self._original.setdefault(short(name), name)
            self._folded.setdefault(short(name).lower(), name)

    def original(self, name: str) -> str:
        """The declared name for one that a model says, also where it got upper and lower case wrong."""
        return self._original.get(name) or self._folded.get(name.lower()) or name

    def __contains__(self, name: str) -> bool:
        return short(name) in self._original


def short(name: str) -> str:
    """The same name where it is allowed as it is, else a shorter one that no other name gets."""
    if ALLOWED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{FORBIDDEN.sub('_', name[:HEAD])}_{digest}"
