"""What an openai_chat provider wants otherwise than OpenAI does, in the body of an OpenAI caller. Pure."""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.to_chat import thinking
from services.router.raws import UNREADABLE, Fields, fields_of, has, raw

DEVELOPER: Final = b'"developer"'
ASSISTANT: Final = b'"assistant"'
EMPTY: Final = (b"[]", b"null", b"")
SWITCHES: Final = ("thinking", "enable_thinking", "thinking_budget", "reasoning_effort", "reasoning")
_turns: Final = msgspec.json.Decoder(list[Fields])


def edit(fields: Fields, profile: Profile, cap: int, *, stream: bool) -> None:
    """Changes ``fields`` in place. Raises one of UNREADABLE for messages that are none."""
    if stream:
        _ask_for_usage(fields)
    _fit_budget(fields, cap)
    if profile.tool_stream and stream and bytes(fields.get("tools", b"")) not in EMPTY:
        fields["tool_stream"] = raw(value=True)
    if profile.thinking_when_absent == "off" and not any(has(fields, name) for name in SWITCHES):
        fields.update({name: raw(value) for name, value in thinking.off(profile).items()})
    turns = _turns.decode(fields.get("messages", b"[]"))
    changed = [_edit_turn(turn, profile) for turn in turns]
    if any(changed):
        fields["messages"] = raw(turns)


def _fit_budget(fields: Fields, cap: int) -> None:
    """Qwen's thinking may not count against `max_tokens`: at least it gets no more than was held for."""
    if has(fields, "thinking_budget"):
        budget = msgspec.json.decode(fields["thinking_budget"])
        if isinstance(budget, int | float) and budget > cap:
            fields["thinking_budget"] = raw(cap)


def _edit_turn(turn: Fields, profile: Profile) -> bool:
    """Whether anything changed."""
    role, changed = bytes(turn.get("role", b"")), False
    if role == DEVELOPER and not profile.developer_role:
        turn["role"], changed = raw("system"), True
    if profile.string_content and (text := _as_one_text(turn)) is not None:
        turn["content"], changed = raw(text), True
    if role == ASSISTANT and profile.reasoning_replay != "none" and bytes(turn.get("tool_calls", b"")) not in EMPTY:
        return _give_reasoning_back(turn) or changed
    return changed


def _as_one_text(turn: Fields) -> str | None:
    """The text of content that is all text parts, else None."""
    if not bytes(turn.get("content", b"")).startswith(b"["):
        return None
    parts = msgspec.json.decode(turn["content"])
    texts = [part["text"] for part in parts if _is_text(part)]
    return "\n\n".join(texts) if len(texts) == len(parts) else None


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _give_reasoning_back(turn: Fields) -> bool:
    """DeepSeek refuses an earlier turn with tool calls and without `reasoning_content`, be it empty (its thinking mode
    guide); OpenAI's SDKs never send the field."""
    if has(turn, "reasoning_content"):
        return False
    turn["reasoning_content"] = turn["reasoning"] if bytes(turn.get("reasoning", b"")).startswith(b'"') else raw("")
    return True


def _ask_for_usage(fields: Fields) -> None:
    """Without `stream_options.include_usage` most providers stream no usage at all, and the request would be unpaid."""
    options: dict[str, Any] = {}
    if has(fields, "stream_options"):
        try:
            options = dict(fields_of(fields["stream_options"]))
        except UNREADABLE as error:
            raise InvalidRequest("stream_options must be an object.", param="stream_options") from error
    options["include_usage"] = raw(value=True)
    fields["stream_options"] = raw(options)
