"""Words and token counts that depend on nothing but their input."""

import hashlib
import re
from collections.abc import Sequence
from itertools import chain, count, islice
from typing import Any, Final

import msgspec

_STORY: Final = (
    "the quiet river carries small boats past café tables while old clocks count every minute and nobody "
    "hurries because 世界 is wide enough for patient people who read, write, plant trees and answer 🙂 letters"
)
_VOCABULARY: Final = tuple(_STORY.split())
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
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


def echo(asked: str, results: Sequence[str]) -> tuple[str, ...]:
    """How an answer begins: with what the tools have said, or else with what the user has."""
    if not results:
        return ("You", "said:", *_beginning(_REMINDER.sub(" ", asked)), "—")
    first, *others = ((*_beginning(result), "—") for result in results)
    return ("The", "tool", "said:", *first, *chain(*(("and:", *other) for other in others)))


def _beginning(text: str) -> tuple[str, ...]:
    return tuple(word[:24] for word in text[:_LOOKED_AT].split()[:_ECHOED])


def words(echoed: tuple[str, ...], seed: bytes, amount: int | None) -> tuple[str, ...]:
    """An answer, one token each: first an echo, then a small story. 12 to 35 words unless told, and the whole echo."""
    filler = (_VOCABULARY[(seed[n % 32] + n) % len(_VOCABULARY)] for n in count())
    usual = max(12 + seed[0] % 24, len(echoed))
    return spaced(islice(chain(echoed, filler), usual if amount is None else amount))


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
    options = schema.get("enum") or [schema[key] for key in ("const",) if key in schema]
    if isinstance(options, list) and options:
        return options[seed[depth] % len(options)]
    kind = _kind(schema)
    if kind == "object":
        return _example_object(schema, seed, depth)
    if kind == "array":
        return [example(schema.get("items", {}), seed, depth + 1)] if depth < _MAX_DEPTH else []
    plain = {"integer": seed[depth], "number": seed[depth] + 0.5, "boolean": True, "null": None}
    return plain.get(kind, _VOCABULARY[seed[depth] % len(_VOCABULARY)])


def _kind(schema: dict[str, Any]) -> str:
    """The type, or the first of several; what says none is an object when it has properties, else a string."""
    kind = schema.get("type")
    if isinstance(kind, list) and kind:
        kind = kind[0]
    return kind if isinstance(kind, str) else "object" if "properties" in schema else "string"


def _example_object(schema: dict[str, Any], seed: bytes, depth: int) -> dict[str, Any]:
    properties, required = schema.get("properties") or {}, schema.get("required")
    if depth >= _MAX_DEPTH or not isinstance(properties, dict):
        return {}
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    return {name: example(properties.get(name), seed, depth + 1) for name in names or properties}
