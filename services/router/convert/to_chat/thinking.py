"""How a provider is told to think or not to: one small function per style. Pure."""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from libs.contracts.profile import EFFORTS, Effort, Profile, ThinkingStyle
from libs.errors import InvalidRequest

State = Literal["absent", "off", "on"]

STATES: Final[dict[str, State]] = {"disabled": "off", "enabled": "on", "adaptive": "on", "between_tools": "on"}
RANK: Final = {word: rank for rank, word in enumerate(EFFORTS)}
ASKED: Final[dict[str, Effort]] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
BUDGETS: Final[tuple[tuple[int, Effort], ...]] = ((2048, "low"), (8192, "medium"), (24576, "high"))
TOKENS: Final[dict[Effort, int]] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576}


class Wish(msgspec.Struct, frozen=True):
    """What the caller asked for. ``budget`` is in tokens; ``effort`` is the word that was said; ``unknown`` names what
    was said in words that nobody knows."""

    state: State = "absent"
    budget: int | None = None
    effort: Effort | None = None
    unknown: tuple[str, ...] = ()


class Switch(msgspec.Struct, frozen=True):
    """``fields`` go into the body. ``thinks``: the provider will think. ``dropped`` names what was not honoured."""

    fields: dict[str, Any]
    thinks: bool
    dropped: tuple[str, ...] = ()


def wish(thinking: dict[str, Any] | None, effort: Any) -> Wish:
    """From the fields `thinking` and `output_config.effort`."""
    kind = thinking.get("type") if thinking else None
    state = STATES.get(kind) if isinstance(kind, str) else None
    word = ASKED.get(effort) if isinstance(effort, str) else None
    unknown = (("thinking", thinking and not state), ("output_config.effort", effort is not None and not word))
    return Wish(
        state=state or "absent",
        budget=_budget(thinking) if thinking and kind == "enabled" else None,
        effort=word,
        unknown=tuple(name for name, is_unknown in unknown if is_unknown),
    )


def switch(asked: Wish, profile: Profile) -> Switch:
    """In the provider's own words. ``thinking_when_absent: off`` makes silence a refusal."""
    state: State = asked.state
    if state == "absent" and profile.thinking_when_absent == "off":
        state = "off"
    style = STYLES.get(profile.thinking, _fixed)
    found = style(msgspec.structs.replace(asked, state=state), profile)
    return Switch(found.fields, found.thinks, _not_honoured(asked, found))


def off(profile: Profile) -> dict[str, Any]:
    """What switches thinking off there, if anything does."""
    return switch(Wish("off"), profile).fields


def nearest(word: Effort, known: tuple[Effort, ...]) -> Effort | None:
    """The word itself; else the next stronger one up to `high`; else the next weaker one; else the weakest.

    DeepSeek's own table for (low, high, max): medium and xhigh are high."""
    words = [one for one in known if one != "none"]
    if word in words:
        return word
    stronger = [one for one in words if RANK[word] < RANK[one] <= RANK["high"]]
    weaker = [one for one in words if RANK[one] < RANK[word]]
    return next(iter((*stronger[:1], *weaker[-1:], *words[:1])), None)


def _budget(thinking: dict[str, Any]) -> int | None:
    budget = thinking.get("budget_tokens")
    if budget is None:
        return None
    if not isinstance(budget, int) or isinstance(budget, bool) or not 0 < budget < 2**31:
        raise InvalidRequest("thinking.budget_tokens: Input should be a positive integer", param="thinking")
    return budget


def _effort(asked: Wish, profile: Profile) -> dict[str, Any]:
    """The word that was said; else the one that a budget means. None where it could switch thinking on against the
    caller's silence."""
    if asked.state == "off" or (asked.state == "absent" and not profile.thinks_by_default):
        return {}
    word = asked.effort
    if word is None and asked.budget is not None:
        word = next((word for most, word in BUDGETS if asked.budget <= most), "xhigh")
    known = nearest(word, profile.efforts) if word else None
    return {"reasoning_effort": known} if known else {}


def _thinks(asked: Wish, profile: Profile) -> bool:
    return asked.state == "on" or (asked.state == "absent" and profile.thinks_by_default)


def _fixed(_: Wish, profile: Profile) -> Switch:
    """There is no switch: it thinks or it does not."""
    return Switch({}, profile.thinks_by_default)


def _typed(asked: Wish, profile: Profile) -> Switch:
    """`thinking.type`, and an effort where there is one: DeepSeek, GLM."""
    fields = _effort(asked, profile)
    if asked.state != "absent":
        fields["thinking"] = {"type": "enabled" if asked.state == "on" else "disabled"}
    return Switch(fields, _thinks(asked, profile))


def _budgeted(asked: Wish, profile: Profile) -> Switch:
    """`enable_thinking` and `thinking_budget`: Qwen. An effort is a budget where the largest one is known."""
    fields: dict[str, Any] = {}
    if asked.state != "absent":
        fields["enable_thinking"] = asked.state == "on"
    if _thinks(asked, profile) and (budget := _tokens(asked, profile.budget_cap)):
        fields["thinking_budget"] = budget
    return Switch(fields, _thinks(asked, profile))


def _tokens(asked: Wish, cap: int | None) -> int | None:
    if asked.budget is not None:
        return asked.budget if cap is None else min(asked.budget, cap)
    if asked.effort is None or cap is None:
        return None
    return min(TOKENS.get(asked.effort, cap), cap)


def _worded(asked: Wish, profile: Profile) -> Switch:
    """`reasoning_effort` is all there is; its word `none`, where it is known, switches off."""
    if asked.state == "off" and "none" in profile.efforts:
        return Switch({"reasoning_effort": "none"}, thinks=False)
    fields = _effort(asked, profile)
    return Switch(fields, profile.thinks_by_default or bool(fields))


STYLES: Final[dict[ThinkingStyle, Callable[[Wish, Profile], Switch]]] = {
    "deepseek": _typed,
    "glm": _typed,
    "qwen": _budgeted,
    "effort": _worded,
}


def _not_honoured(asked: Wish, found: Switch) -> tuple[str, ...]:
    """Thinking that stays on or off against a wish, and an effort that reaches nobody."""
    dropped = [*asked.unknown]
    if asked.state != "absent" and found.thinks != (asked.state == "on"):
        dropped.append("thinking")
    if asked.effort and not found.fields.keys() & {"reasoning_effort", "thinking_budget"}:
        dropped.append("output_config.effort")
    return tuple(dropped)
