"""The system prompt: the first message. Pure."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from libs.contracts.profile import Profile
from services.router.convert.to_chat import content, wire
from services.router.convert.to_chat.content import Part

BILLING: Final = "x-anthropic-billing-header:"


class Prompt(msgspec.Struct):
    """What the first message says. Text may be added to it."""

    parts: list[Part] = msgspec.field(default_factory=list)

    def add(self, text: str) -> None:
        self.parts += content.text(text)

    def message(self) -> list[dict[str, Any]]:
        """One message of the system, or none. Parts only where one of them carries a cache mark."""
        if not self.parts:
            return []
        if any("cache_control" in part for part in self.parts):
            return [{"role": "system", "content": self.parts}]
        return [{"role": "system", "content": joined(self.parts)}]


def prompt(raw: Raw | None, profile: Profile) -> Prompt:
    """From the field `system`."""
    return Prompt(said(wire.read(wire.content, raw, "system"), profile, "system") if raw is not None else [])


def said(given: str | list[Raw] | None, profile: Profile, field: str = "messages") -> list[Part]:
    """The text of a system prompt or of a system message later on.

    Claude Code's attribution block differs between conversations, so that no two would share a cached prefix."""
    found: list[Part] = []
    for block, raw in wire.blocks(given, field):
        parts = [part for part in content.parts(block, raw, profile) if part["type"] == "text"]
        if profile.billing_header or isinstance(given, str) or not _is_billing(parts):
            found += parts
    return found


def _is_billing(parts: list[Part]) -> bool:
    return bool(parts) and parts[0]["text"].startswith(BILLING)


def joined(parts: list[Part]) -> str:
    return "\n\n".join(part["text"] for part in parts)
