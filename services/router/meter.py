"""The provider's own usage figures into disjoint buckets. Pure.

OpenAI's prompt_tokens includes cached tokens, Anthropic's input_tokens does not: subtract, never copy. DeepSeek names
its cache hits on its own (`prompt_cache_hit_tokens`). null anywhere is 0, and nothing may come out negative.
"""

from typing import Any, Final

from libs.pricing import MAX_TOKENS, Usage

BYTES_PER_TOKEN: Final = 4
HOUR: Final = "ephemeral_1h_input_tokens"


def of_chat(usage: dict[str, Any]) -> Usage:
    """From a Chat Completions `usage` object. However its parts contradict each other, they make up the prompt."""
    details = _dict(usage.get("prompt_tokens_details"))
    prompt = _count(usage.get("prompt_tokens"))
    read = _count(details.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens"))
    read = min(read, prompt)
    write = _count(details.get("cache_write_tokens")) or _count(details.get("cache_creation_input_tokens"))
    write = min(write, prompt - read)
    output = _count(usage.get("completion_tokens"))
    reasoning = _count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return Usage(
        input=prompt - read - write,
        cache_read=read,
        cache_write=write,
        output=output,
        reasoning=min(reasoning, output),
    )


def of_messages(usage: dict[str, Any], before: Usage | None = None) -> Usage:
    """From a Messages `usage` object. In a stream, figures are cumulative: what is named overwrites ``before``."""
    earlier = before or Usage()
    write, hour = _written(usage, earlier)
    output = _count(usage["output_tokens"]) if _named(usage, "output_tokens") else earlier.output
    thinking = _count(_dict(usage.get("output_tokens_details")).get("thinking_tokens")) or earlier.reasoning
    return Usage(
        input=_count(usage["input_tokens"]) if _named(usage, "input_tokens") else earlier.input,
        cache_read=(
            _count(usage["cache_read_input_tokens"]) if _named(usage, "cache_read_input_tokens") else earlier.cache_read
        ),
        cache_write=write - hour,
        cache_write_1h=hour,
        output=output,
        reasoning=min(thinking, output),
    )


def estimate(known: Usage | None, body_bytes: int, delivered_bytes: int) -> Usage:
    """Stands in where a provider gave no final figures: what it said of the input, else a quarter of the bytes sent;
    and of the output a quarter of the bytes delivered. Cautious, because the customer pays it."""
    output = delivered_bytes // BYTES_PER_TOKEN
    if known is not None and known.prompt:
        return Usage(known.input, known.cache_read, known.cache_write, known.cache_write_1h, output)
    return Usage(input=body_bytes // BYTES_PER_TOKEN, output=output)


def _written(usage: dict[str, Any], earlier: Usage) -> tuple[int, int]:
    """All cache writes, and those among them that last an hour. A stream's last event tells the total once more but
    not its split, so the split still stands."""
    split, total = _dict(usage.get("cache_creation")), earlier.cache_write + earlier.cache_write_1h
    hour = _count(split[HOUR]) if _named(split, HOUR) else earlier.cache_write_1h
    if _named(usage, "cache_creation_input_tokens"):
        total = _count(usage["cache_creation_input_tokens"])
    elif split:
        total = _count(split.get("ephemeral_5m_input_tokens")) + hour
    return total, min(hour, total)


def _named(usage: dict[str, Any], name: str) -> bool:
    return usage.get(name) is not None


def _count(value: object) -> int:
    """A token count as providers write them: an int, seldom a float or null, never trusted to be sane."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        return 0
    return int(min(max(value, 0), MAX_TOKENS))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
