"""A conversation that is longer than the model's context: how providers say it, and how callers understand it. Pure.

Claude Code shortens the conversation, or asks for a shorter answer, only at Anthropic's own wording, numbers included;
OpenAI callers look at the code.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from libs.protocols import ANTHROPIC_MESSAGES, Protocol

CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
SAID: Final = re.compile(
    r"context_length_exceeded|maximum context length|reduce the length|context window|input is too long"
    r"|range of input length should be|prompt is too long|tokens exceed|prompt exceeds max length"
    r"|exceeds? (?:the )?(?:available )?context (?:size|limit|length)|exceed context limit"
    r"|model's context length is only",
    re.IGNORECASE,
)
THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}\b)")
NUMBER: Final = r"(\d{1,9})(?!\d)"
BOTH: Final = (  # prompt and completion
    re.compile(rf"{NUMBER} in the messages, {NUMBER} in the completion", re.IGNORECASE),
    re.compile(rf"{NUMBER} tokens from the input messages and {NUMBER} tokens for the completion", re.IGNORECASE),
    re.compile(rf"exceed context limit: {NUMBER} \+ {NUMBER} >", re.IGNORECASE),
    re.compile(rf"passed {NUMBER} input tokens and requested {NUMBER} output tokens", re.IGNORECASE),
)
ROOM: Final = re.compile(rf"has {NUMBER} input tokens \({NUMBER} > \d{{1,9}} - \d{{1,9}}\)", re.IGNORECASE)
PROMPT: Final = (
    re.compile(rf"too long: {NUMBER} tokens", re.IGNORECASE),
    re.compile(rf"resulted in {NUMBER} tokens", re.IGNORECASE),
    re.compile(rf"has {NUMBER} input tokens", re.IGNORECASE),
    re.compile(rf"request \({NUMBER} tokens\)", re.IGNORECASE),
    re.compile(rf"requested (?:a total of )?{NUMBER} tokens", re.IGNORECASE),
)
MAXIMUM: Final = (
    re.compile(rf"maximum context length (?:is|of) {NUMBER}", re.IGNORECASE),
    re.compile(rf"context length is only {NUMBER}", re.IGNORECASE),
    re.compile(rf"> {NUMBER} maximum", re.IGNORECASE),
    re.compile(rf"exceed context limit: \d{{1,9}} \+ \d{{1,9}} > {NUMBER}", re.IGNORECASE),
    re.compile(rf"range of input length should be \[\d{{1,9}}, ?{NUMBER}\]", re.IGNORECASE),
    re.compile(rf"context (?:size|window|limit|length) (?:of |is )?\(?{NUMBER}", re.IGNORECASE),
)


class Overflow(NamedTuple):
    """Tokens as the provider named them, None where it did not."""

    prompt: int | None = None
    completion: int | None = None
    maximum: int | None = None


def read(message: str, kinds: Iterable[str] = ()) -> Overflow | None:
    """None when the provider complains about something else."""
    if not SAID.search(message) and CODES.isdisjoint(kinds):
        return None
    return figures(message)


def figures(message: str) -> Overflow:
    """The numbers in a complaint that is known to be about the context's length."""
    text = THOUSANDS.sub("", message)
    maximum = _first(MAXIMUM, text)
    both = next(filter(None, (pattern.search(text) for pattern in (*BOTH, ROOM))), None)
    if both is not None:
        return Overflow(int(both[1]), int(both[2]), maximum)
    return Overflow(_first(PROMPT, text), None, maximum)


def sentence(seen: Overflow, protocol: Protocol, context_tokens: int, prompt_tokens: int) -> str:
    """Anthropic's words for it. ``context_tokens`` and the estimate ``prompt_tokens`` stand in for numbers that the
    provider did not name; a sentence never says that a smaller number is over a larger one."""
    prompt, completion, maximum = seen.prompt, seen.completion or 0, seen.maximum or context_tokens
    total = (prompt or 0) + completion
    if not maximum:
        return f"prompt is too long: {total} tokens" if total else "prompt is too long for this model"
    if prompt and completion and prompt <= maximum < total and protocol == ANTHROPIC_MESSAGES:
        return f"input length and `max_tokens` exceed context limit: {prompt} + {completion} > {maximum}"
    said = prompt if prompt is not None and prompt > maximum else total
    tokens = said if said > maximum else max(prompt_tokens, maximum + 1)
    return f"prompt is too long: {tokens} tokens > {maximum} maximum"


def _first(patterns: Iterable[re.Pattern[str]], text: str) -> int | None:
    found = next(filter(None, (pattern.search(text) for pattern in patterns)), None)
    return None if found is None else int(found[1])
