"""What an anthropic_messages provider wants otherwise than Anthropic does, in the body of an Anthropic caller. Pure.

A conversation may have begun on another provider or model: thinking that no Anthropic provider signed is refused by
those that look, and would end the conversation for good.
"""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from services.router.convert.marks import is_foreign
from services.router.raws import Fields, fields_of, has, raw

BILLING: Final = "x-anthropic-billing-header:"
SYSTEM: Final = b'"system"'
USER: Final = b'"user"'
ASSISTANT: Final = b'"assistant"'
LEAST_BUDGET: Final = 1024
OFF: Final = {"type": "disabled"}
_turns: Final = msgspec.json.Decoder(list[Fields])
_blocks: Final = msgspec.json.Decoder(list[msgspec.Raw])


def edit(fields: Fields, profile: Profile, cap: int) -> None:
    """Changes ``fields`` in place. Raises one of UNREADABLE for messages that are none."""
    if not profile.billing_header and BILLING.encode() in bytes(fields.get("system", b"")):
        _drop_billing(fields)
    if profile.thinking_when_absent == "off" and profile.thinking != "none" and not has(fields, "thinking"):
        fields["thinking"] = raw(OFF)
    if has(fields, "thinking"):
        _fit_budget(fields, cap)
    turns = _turns.decode(fields.get("messages", b"[]"))
    edited = _with_reminders(turns) if profile.mid_system != "keep" else turns
    if not profile.unsigned_thinking:
        edited = _without_foreign_thinking(fields, edited)
    if edited is not turns:
        fields["messages"] = raw(edited)


def _fit_budget(fields: Fields, cap: int) -> None:
    """A thinking budget must be below the output cap, and the cap may have been brought down to the model's own."""
    thinking = msgspec.json.decode(fields["thinking"])
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(budget, int) or budget < cap:
        return
    fitting = cap - max(cap // 4, 1)
    fields["thinking"] = raw({**thinking, "budget_tokens": fitting} if fitting >= LEAST_BUDGET else OFF)


def _drop_billing(fields: Fields) -> None:
    """Claude Code's attribution differs between conversations, and would keep them from sharing a cached prefix."""
    blocks = msgspec.json.decode(fields["system"])
    if isinstance(blocks, list):
        kept = [block for block in blocks if not _is_billing(block)]
        fields["system"] = raw(kept)
        if not kept:
            del fields["system"]


def _is_billing(block: Any) -> bool:
    return isinstance(block, dict) and str(block.get("text", "")).startswith(BILLING)


def _with_reminders(turns: list[Fields]) -> list[Fields]:
    """System messages as reminders in the user's turn they follow, after its tool results, else in one of their own."""
    if not any(bytes(turn.get("role", b"")) == SYSTEM for turn in turns):
        return turns
    edited: list[Fields] = []
    for turn in turns:
        if bytes(turn.get("role", b"")) != SYSTEM:
            edited.append(turn)
        elif edited and bytes(edited[-1].get("role", b"")) == USER:
            edited[-1] = {**edited[-1], "content": raw([*_blocks_of(edited[-1]), *_reminders(turn)])}
        elif reminders := _reminders(turn):
            edited.append({"role": raw("user"), "content": raw(reminders)})
    return edited


def _blocks_of(turn: Fields) -> list[Any]:
    content = bytes(turn.get("content", b"null"))
    if content.startswith(b"["):
        return list(_blocks.decode(content))
    text = msgspec.json.decode(content)
    return [{"type": "text", "text": text}] if text else []


def _reminders(turn: Fields) -> list[dict[str, str]]:
    content = msgspec.json.decode(bytes(turn.get("content", b"null")))
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [block.get("text") for block in blocks if isinstance(block, dict)]
    return [
        {"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}
        for text in texts
        if isinstance(text, str) and text
    ]


def _without_foreign_thinking(fields: Fields, turns: list[Fields]) -> list[Fields]:
    """Without thinking that the provider did not sign. When the turn that is still waiting for its tool results lost
    some, thinking goes altogether: it may not be switched on in the middle of such a turn (Anthropic's rule)."""
    edited: list[Fields] = []
    lost_at: set[int] = set()  # places in ``edited``
    for turn in turns:
        kept = _signed_blocks(turn) if bytes(turn.get("role", b"")) == ASSISTANT else None
        if kept is None:
            edited.append(turn)
        elif kept:
            lost_at.add(len(edited))
            edited.append({**turn, "content": raw(kept)})
    if len(edited) == len(turns) and not lost_at:
        return turns
    if has(fields, "thinking") and _is_broken(fields, edited, lost_at):
        for name in ("thinking", "context_management"):  # the latter clears thinking, and wants it switched on
            fields.pop(name, None)
    return edited


def _is_broken(fields: Fields, turns: list[Fields], lost_at: set[int]) -> bool:
    """Whether the calls that are under way lack thinking that has to come back: what was lost, and with a budget the
    thinking that such a run of turns must begin with (it was off in the request that lost some)."""
    first: Fields | None = None
    for place in range(len(turns) - 1, -1, -1):
        turn = turns[place]
        if bytes(turn.get("role", b"")) == ASSISTANT:
            if place in lost_at:
                return True
            first = turn
        elif bytes(turn.get("role", b"")) == USER and b'"tool_result"' not in bytes(turn.get("content", b"")):
            break
    if first is None or bytes(fields_of(fields["thinking"]).get("type", b"")) != b'"enabled"':
        return False
    content = bytes(first.get("content", b""))
    return not content.startswith(b"[") or not _begins_with_thinking(_blocks.decode(content))


def _begins_with_thinking(blocks: list[msgspec.Raw]) -> bool:
    return bool(blocks) and b"thinking" in bytes(fields_of(blocks[0]).get("type", b""))


def _signed_blocks(turn: Fields) -> list[msgspec.Raw] | None:
    """The turn's blocks without foreign thinking; None when there is none of it."""
    content = bytes(turn.get("content", b""))
    if b'"thinking"' not in content or not content.startswith(b"["):
        return None
    blocks = _blocks.decode(content)
    kept = [block for block in blocks if not _is_foreign_thinking(block)]
    return None if len(kept) == len(blocks) else kept


def _is_foreign_thinking(block: msgspec.Raw) -> bool:
    if not bytes(block).startswith(b"{"):
        return False
    fields = fields_of(block)
    if bytes(fields.get("type", b"")) != b'"thinking"':
        return False
    return is_foreign(msgspec.json.decode(fields.get("signature", b"null")))
