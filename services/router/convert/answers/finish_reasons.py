"""Why an answer ended: from anthropic_messages' words to openai_chat's. Pure."""

from collections.abc import Mapping
from typing import Final

OF_STOP: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Any other word, or none, is an ordinary end."""


def reason(stop: str | None, *, called: bool) -> str:
    """What was said outweighs the word for it: a tool call is `tool_calls`, unless it was cut or refused, and without
    one there is no `tool_calls`. Clients run tools by this word (litellm#34692)."""
    found = OF_STOP.get(stop or "", "stop")
    if found in ("stop", "tool_calls"):
        return "tool_calls" if called else "stop"
    return found
