"""The two public protocols. Vendors are data; these two are code."""

from typing import Final, Literal

Protocol = Literal["openai_chat", "anthropic_messages"]

OPENAI_CHAT: Final = "openai_chat"
ANTHROPIC_MESSAGES: Final = "anthropic_messages"
PROTOCOLS: Final[tuple[Protocol, ...]] = (OPENAI_CHAT, ANTHROPIC_MESSAGES)


def protocol_of_path(path: str) -> Protocol:
    """The protocol whose error shape a caller of ``path`` expects."""
    return ANTHROPIC_MESSAGES if path.startswith("/v1/messages") else OPENAI_CHAT
