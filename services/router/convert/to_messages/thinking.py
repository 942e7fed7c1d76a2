"""How much the provider shall think: what the caller wishes, in any of the words in use, and what fits. Pure.

The output cap is what was held for, so a budget is made to fit into it and never the other way round.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from libs.contracts.profile import EFFORTS, Effort, Profile
from libs.errors import InvalidRequest
from services.router.convert.to_messages.fields import Fields
from services.router.convert.to_messages.turns import Step

FIELDS: Final = ("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget")
OFF: Final = {"type": "disabled"}
STYLES: Final = ("adaptive", "deepseek", "budget")
BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32000}
EFFORT_UP_TO: Final[tuple[tuple[int, Effort], ...]] = ((2048, "low"), (8192, "medium"), (24576, "high"))
ALIASES: Final = {"ultra": "max"}
RANK: Final[dict[str, int]] = {word: rank for rank, word in enumerate(EFFORTS)}
USUAL: Final = RANK["high"]  # Anthropic's and DeepSeek's own default: of two words equally near, the one nearer to it
LEAST_BUDGET: Final = 1024  # Anthropic: "Must be ≥1024 and less than max_tokens."
_text = msgspec.json.Decoder(str)
_switch = msgspec.json.Decoder(bool)
_count = msgspec.json.Decoder(int)


class Reasoning(msgspec.Struct):
    """OpenRouter's field."""

    effort: str | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class Thinking(msgspec.Struct):
    """DeepSeek's and GLM's field, and Anthropic's own."""

    type: str | None = None
    budget_tokens: int | None = None


_reasoning = msgspec.json.Decoder(Reasoning)
_thinking = msgspec.json.Decoder(Thinking)


class Wish(msgspec.Struct, frozen=True):
    """``on`` is None where the caller says nothing."""

    on: bool | None = None
    effort: str | None = None
    budget: int | None = None


class Settled(msgspec.Struct, frozen=True):
    """``field``: the `thinking` that is sent, if any; ``on``: it switches thinking on; ``given_up``: it was wished for
    and cannot be."""

    field: dict[str, Any] | None = None
    effort: str | None = None
    on: bool = False
    given_up: bool = False


def wish(fields: Fields) -> Wish:
    """A word or a number switches thinking on, and whatever says off wins. Raises InvalidRequest."""
    nested = fields.read("reasoning", _reasoning) or Reasoning()
    typed = fields.read("thinking", _thinking) or Thinking()
    effort = _known(fields, fields.read("reasoning_effort", _text) or nested.effort)
    budget = _budget_of(typed.budget_tokens, fields.read("thinking_budget", _count), nested.max_tokens)
    kind = None if typed.type is None else typed.type != "disabled"
    said = [kind, fields.read("enable_thinking", _switch), nested.enabled]
    said += [effort != "none" if effort else None, budget > 0 if budget is not None else None]
    spoken = [switch for switch in said if switch is not None]
    return Wish(on=all(spoken) if spoken else None, effort=effort, budget=budget)


def settle(wished: Wish, profile: Profile, cap: int, *, hindered: bool) -> Settled:
    """``hindered``: something else in the request does not go with thinking."""
    if profile.thinking not in STYLES:
        return Settled(given_up=bool(wished.on))
    on = False if wished.on is None and profile.thinking_when_absent == "off" else wished.on
    if on is None:
        return Settled(OFF) if hindered and profile.thinks_by_default else Settled()
    return _switched_on(wished, profile, cap, hindered=hindered) if on else Settled(OFF)


def is_broken(steps: Sequence[Step], profile: Profile) -> bool:
    """Whether the tool calls that are under way lack the thinking that led to them. Anthropic: while tool results are
    sent back, the thinking of that turn must come back unchanged; without `adaptive`, the turn must begin with it."""
    under_way: list[Step] = []
    for step in reversed(steps):
        if not step.calls:
            break
        under_way.append(step)
    if not under_way or profile.unsigned_thinking:
        return False
    return any(step.lost for step in under_way) or (profile.thinking == "budget" and not under_way[-1].thinks)


def _switched_on(wished: Wish, profile: Profile, cap: int, *, hindered: bool) -> Settled:
    effort = _nearest(wished, profile)
    if hindered:
        return _without(profile, effort)
    if profile.thinking == "adaptive":
        return Settled({"type": "adaptive"}, effort, on=True)
    budget = _fitting(wished, profile, cap)
    if budget < LEAST_BUDGET:
        return _without(profile, None)
    kept = effort if profile.thinking == "deepseek" else None
    return Settled({"type": "enabled", "budget_tokens": budget}, kept, on=True)


def _known(fields: Fields, word: str | None) -> str | None:
    known = ALIASES.get(word or "", word)
    if known is None or known in RANK:
        return known
    fields.drop("reasoning_effort", "reasoning")
    return None


def _budget_of(*said: int | None) -> int | None:
    budget = next((number for number in said if number is not None), None)
    if budget is not None and budget < 0:
        raise InvalidRequest("A thinking budget must not be negative.", param="thinking_budget")
    return budget


def _without(profile: Profile, effort: str | None) -> Settled:
    """Effort alone does not switch thinking on where that is `adaptive`."""
    kept = effort if profile.thinking == "adaptive" else None
    return Settled(OFF if profile.thinks_by_default else None, kept, given_up=True)


def _nearest(wished: Wish, profile: Profile) -> str | None:
    word = wished.effort or _effort_of(wished.budget)
    known = [known for known in profile.efforts if known != "none"]
    if word is None or not known:
        return None
    return min(known, key=lambda other: (abs(RANK[other] - RANK[word]), abs(RANK[other] - USUAL)))


def _effort_of(budget: int | None) -> Effort | None:
    if budget is None:
        return None
    return next((word for most, word in EFFORT_UP_TO if budget <= most), "xhigh")


def _fitting(wished: Wish, profile: Profile, cap: int) -> int:
    """At least a quarter of the cap is left for the answer."""
    wanted = wished.budget or BUDGETS[wished.effort or "medium"]
    most = cap - max(cap // 4, 1)
    return min(max(wanted, LEAST_BUDGET), most, profile.budget_cap or most)
