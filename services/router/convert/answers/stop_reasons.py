"""Why an answer ended: from openai_chat's words to anthropic_messages'. Pure."""

from collections.abc import Collection, Mapping
from typing import Any, Final

OF_FINISH: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
"""The two last ones are GLM's. Any other word, or none, is an ordinary end."""


def delta(
    finish: str | None, matched: object, stops: Collection[str], *, called: bool, refused: bool
) -> dict[str, Any]:
    """The `delta` of the `message_delta`. What was said outweighs the word for it: a tool call is a `tool_use`, unless
    it was cut or refused, and without one there is no `tool_use`. ``matched`` is vLLM's: the sequence that ended it.
    """
    reason = "refusal" if refused else OF_FINISH.get(finish or "", "end_turn")
    if reason in ("end_turn", "tool_use"):
        reason = "tool_use" if called else "end_turn"
    if reason == "end_turn" and finish == "stop" and isinstance(matched, str) and matched in stops:
        return {"stop_reason": "stop_sequence", "stop_sequence": matched}
    ended: dict[str, Any] = {"stop_reason": reason, "stop_sequence": None}
    return {**ended, "stop_details": None} if reason == "refusal" else ended
