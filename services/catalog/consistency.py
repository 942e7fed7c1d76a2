"""What an endpoint's rules may not say together. Pure."""

from collections.abc import Iterator
from typing import Final

from libs.contracts.profile import EFFORTS, THINKING_STYLES, Profile
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol

CHAT_ONLY: Final = frozenset(
    {"string_content", "developer_role", "tool_stream", "cap_field", "reasoning_replay", "think_tags"}
)
MESSAGES_ONLY: Final = frozenset({"billing_header", "betas", "unsigned_thinking"})
ELSEWHERE: Final = {OPENAI_CHAT: MESSAGES_ONLY, ANTHROPIC_MESSAGES: CHAT_ONLY}
NEEDED: Final = frozenset({"model", "messages", "stream", "max_tokens", "max_completion_tokens"})
BUDGETED: Final = ("qwen", "budget")
GRADED: Final = ("deepseek", "glm", "effort", "adaptive")

Fault = tuple[str, str]


def faults(protocol: Protocol, profile: Profile) -> Iterator[Fault]:
    """The keys that cannot be right, each with the reason."""
    yield from _tools(profile)
    yield from _form(profile)
    yield from _style(protocol, profile)
    yield from _thinking(profile)


def _tools(profile: Profile) -> Iterator[Fault]:
    for key in ("tool_choices", "thinking_tool_choices"):
        if "auto" not in getattr(profile, key):
            yield key, "must hold 'auto', which stands in for every other"
    if extra := set(profile.thinking_tool_choices) - set(profile.tool_choices):
        yield "thinking_tool_choices", f"holds {', '.join(sorted(extra))}, which tool_choices does not"


def _form(profile: Profile) -> Iterator[Fault]:
    if "text" not in profile.formats:
        yield "formats", "must hold 'text'"
    if needed := NEEDED.intersection(profile.drop_fields):
        yield "drop_fields", f"holds {', '.join(sorted(needed))}, without which there is no request"
    if profile.open_interval_sampling and profile.max_temperature > 1:
        yield "max_temperature", "is above 1, where open_interval_sampling ends"


def _style(protocol: Protocol, profile: Profile) -> Iterator[Fault]:
    styles = THINKING_STYLES[protocol]
    if profile.thinking not in styles:
        yield "thinking", f"{profile.thinking!r} does not exist in {protocol}; there are {', '.join(styles)}"
    if profile.budget_cap is not None and profile.thinking not in BUDGETED:
        yield "budget_cap", f"needs a thinking style with budgets: {', '.join(BUDGETED)}"
    if profile.efforts and profile.thinking not in GRADED:
        yield "efforts", f"needs a thinking style with efforts: {', '.join(GRADED)}"
    if not profile.efforts and profile.thinking == "effort":
        yield "efforts", "is missing: thinking = 'effort' is switched by its words"
    if list(profile.efforts) != sorted(profile.efforts, key=EFFORTS.index):
        yield "efforts", f"must go from the weakest to the strongest: {', '.join(EFFORTS)}"


def _thinking(profile: Profile) -> Iterator[Fault]:
    if profile.thinking == "none" and profile.thinking_when_absent == "off":
        yield "thinking_when_absent", "'off' needs a thinking style that can switch it off"
    if profile.thinking == "none" and not profile.thinks_by_default and profile.stream_only == "thinking":
        yield "stream_only", "'thinking' is never true of a model that never thinks"
