"""Turns as openai_chat messages. Pure."""

from collections.abc import Iterable
from typing import Any, Final

from libs.contracts.profile import Profile
from services.router.convert.to_chat import content, results
from services.router.convert.to_chat.content import Part
from services.router.convert.to_chat.sides import Asked, Said, Side

Message = dict[str, Any]

GO_ON: Final = "Continue from where you stopped."


def messages(sides: list[Side], profile: Profile) -> list[Message]:
    """All of them but the system prompt."""
    found: list[Message] = []
    for side in sides:
        found += [_said(side, profile)] if isinstance(side, Said) else _asked(side, profile)
    if sides and isinstance(sides[-1], Said) and not profile.prefill:
        found.append({"role": "user", "content": GO_ON})
    return found


def _said(side: Said, profile: Profile) -> Message:
    """Texts were one stream, so nothing comes between them."""
    message: Message = {"role": "assistant", "content": "".join(side.texts) or None}
    if _replays(side, profile):
        message["reasoning_content"] = "".join(side.thoughts)
    if side.calls:
        message["tool_calls"] = list(side.calls.values())
    return message


def _replays(side: Said, profile: Profile) -> bool:
    """Also without a thought: DeepSeek refuses a turn with calls that lacks the field
    (deepseek-ai/deepseek-harness, discussions 739 and 1850)."""
    return profile.reasoning_replay == "all" or (profile.reasoning_replay == "tool_turns" and bool(side.calls))


def _asked(side: Asked, profile: Profile) -> Iterable[Message]:
    """First the answers, then what cannot stand in one, then the user's words."""
    yield from results.answers(side.calls, side.answers)
    parts = results.attached(side.calls, side.answers)
    for piece in side.pieces:
        if "role" in piece:
            yield from _user(parts, profile)
            yield piece
            parts = []
        else:
            parts.append(piece)
    yield from _user(parts, profile)


def _user(parts: list[Part], profile: Profile) -> Iterable[Message]:
    if parts:
        yield {"role": "user", "content": content.joined(parts, profile)}
