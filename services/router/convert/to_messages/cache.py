"""Marks that say up to where the provider may keep the prompt. Pure."""

from collections.abc import Iterable
from typing import Any, Final

Block = dict[str, Any]
MOST: Final = 4  # Anthropic: "A maximum of 4 blocks with cache_control may be provided."
LIFETIMES: Final = ("5m", "1h")


def mark(block: Block, cache_control: object, breakpoint_: object = None) -> None:
    """Marks the block if the caller did, in Anthropic's words or in OpenAI's (`prompt_cache_breakpoint`)."""
    if isinstance(cache_control, dict):
        ttl = cache_control.get("ttl")
        block["cache_control"] = {"type": "ephemeral", **({"ttl": ttl} if ttl in LIFETIMES else {})}
    elif breakpoint_:
        block["cache_control"] = {"type": "ephemeral"}


def limit(blocks: Iterable[Block]) -> None:
    """Of too many marks the last ones stay: they cover the most."""
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-MOST]:
        del block["cache_control"]
