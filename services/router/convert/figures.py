"""Canonical usage in each protocol's own shape, with the `cost` beside it. Pure.

OpenAI's prompt_tokens includes what was cached, Anthropic's input_tokens does not.
"""

from typing import Any

from libs.pricing import Usage


def chat(usage: Usage, cost: str | None = None) -> dict[str, Any]:
    """A Chat Completions `usage` object."""
    figures: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    if written := usage.cache_write + usage.cache_write_1h:
        figures["prompt_tokens_details"]["cache_write_tokens"] = written
    return figures if cost is None else {**figures, "cost": cost}


def messages(usage: Usage, cost: str | None = None) -> dict[str, Any]:
    """A Messages `usage` object: the four integers are always there."""
    figures: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        figures["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return figures if cost is None else {**figures, "cost": cost}
