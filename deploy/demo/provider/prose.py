"""Words and token counts that depend on nothing but their input."""

import hashlib
from itertools import chain, count, islice
from typing import Any, Final

import msgspec

_STORY: Final = (
    "the quiet river carries small boats past café tables while old clocks count every minute and nobody "
    "hurries because 世界 is wide enough for patient people who read, write, plant trees and answer 🙂 letters"
)
_VOCABULARY: Final = tuple(_STORY.split())
_ECHOED: Final = 8
_LOOKED_AT: Final = 400
_PIECE: Final = 5
_TOKENS_OF_AN_IMAGE: Final = 85
_MAX_DEPTH: Final = 4


def digest_of(*parts: str) -> bytes:
    """32 bytes that stand for these strings: what stable choices are made by."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).digest()


def tokens_of(text: str) -> int:
    """About four characters are a token."""
    return (len(text) + 3) // 4


def tokens_of_content(content: Any) -> int:
    """Tokens of a message's content in either protocol: a string, a list of parts, or nothing."""
    if not content:
        return 0
    if isinstance(content, str):
        return tokens_of(content)
    return sum(_tokens_of_part(part) for part in content)


def _tokens_of_part(part: Any) -> int:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("image", "image_url"):
        return _TOKENS_OF_AN_IMAGE
    if kind == "text":
        return tokens_of(str(part.get("text", "")))
    return len(msgspec.json.encode(part)) // 4


def words(asked: str, seed: bytes, amount: int | None) -> tuple[str, ...]:
    """An answer to ``asked``, one token each: first an echo of it, then a small story. 12 to 35 words unless told."""
    echo = ["You", "said:", *(word[:24] for word in asked[:_LOOKED_AT].split()[:_ECHOED]), "—"]
    filler = (_VOCABULARY[(seed[n % 32] + n) % len(_VOCABULARY)] for n in count())
    return spaced(islice(chain(echo, filler), 12 + seed[0] % 24 if amount is None else amount))


def thoughts(seed: bytes, amount: int) -> tuple[str, ...]:
    """Thinking of so many tokens."""
    return spaced(_VOCABULARY[(seed[31 - n % 32] + n) % len(_VOCABULARY)] for n in range(amount))


def spaced(some: Any) -> tuple[str, ...]:
    """Each word but the first with its space before it, as tokens come."""
    return tuple(word if n == 0 else f" {word}" for n, word in enumerate(some))


def pieces(text: str) -> tuple[str, ...]:
    """A tool call's arguments as they are streamed; each piece counts as one token."""
    return tuple(text[n : n + _PIECE] for n in range(0, len(text), _PIECE))


def example(schema: Any, seed: bytes, depth: int = 0) -> Any:
    """A value that fits a JSON schema: the required properties, or all when none is required."""
    if not isinstance(schema, dict):
        return None
    if options := schema.get("enum"):
        return options[seed[depth] % len(options)]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return _example_object(schema, seed, depth)
    if kind == "array":
        return [example(schema.get("items", {}), seed, depth + 1)] if depth < _MAX_DEPTH else []
    plain = {"integer": seed[depth], "number": seed[depth] + 0.5, "boolean": True, "null": None}
    return plain.get(kind, _VOCABULARY[seed[depth] % len(_VOCABULARY)])


def _example_object(schema: dict[str, Any], seed: bytes, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    if depth >= _MAX_DEPTH:
        return {}
    return {name: example(properties.get(name), seed, depth + 1) for name in schema.get("required") or properties}
