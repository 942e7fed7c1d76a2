"""Thinking that has to come back to its provider as it was: what is remembered of an answer, and what is made of it
when the caller returns only its text. Pure.

An openai_chat caller returns `reasoning_content`, which has no place for a signature; Anthropic refuses thinking whose
signature is missing or not its own. No text is remembered: it comes back from the caller and is cut where it was.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile

DIGEST_BYTES: Final = 16


class Thought(msgspec.Struct, frozen=True):
    """One thinking block as the provider gave it. A redacted one has no text, only ``redacted`` data."""

    text: str
    signature: str = ""
    redacted: str = ""


class Signed(msgspec.Struct, frozen=True):
    """One thinking block without its text, which was ``chars`` characters long."""

    chars: int
    signature: str = ""
    redacted: str = ""


Recall = Callable[[str], tuple[Signed, ...] | None]


class Restored(msgspec.Struct, frozen=True):
    """Thinking blocks for the provider. ``lost``: there was thinking, and it cannot go back."""

    blocks: list[dict[str, Any]]
    lost: bool = False


def signed(thoughts: Iterable[Thought]) -> tuple[Signed, ...]:
    """What is remembered of an answer's thinking."""
    return tuple(Signed(len(thought.text), thought.signature, thought.redacted) for thought in thoughts)


def keys_of(thoughts: Iterable[Thought], call_ids: Iterable[str]) -> tuple[str, ...]:
    """Under what it is remembered: each tool call that it led to, and its own text. None: nothing in it is signed."""
    thoughts = tuple(thoughts)
    if not any(thought.signature or thought.redacted for thought in thoughts):
        return ()
    return _keys("".join(thought.text for thought in thoughts), call_ids)


def restored(text: str, call_ids: Iterable[str], recall: Recall, profile: Profile) -> Restored:
    """The thinking of an earlier turn, of which the caller returned ``text``. Of several memories the first that fits
    counts, the calls' before the text's: two turns may have thought the same, but no two calls have one id."""
    memories = [memory for memory in map(recall, _keys(text, call_ids)) if memory is not None]
    made = blocks(text, next((memory for memory in memories if _fits(memory, text)), None), profile)
    return Restored(made, lost=not made and bool(text or memories))


def blocks(text: str, found: tuple[Signed, ...] | None, profile: Profile) -> list[dict[str, Any]]:
    """The very blocks where ``found`` fits the text; else one unsigned block where the provider takes that."""
    if found is not None and _fits(found, text):
        return _cut(text, found)
    if text and not text.isspace() and profile.unsigned_thinking:
        return [{"type": "thinking", "thinking": text, "signature": ""}]
    return []


def _keys(text: str, call_ids: Iterable[str]) -> tuple[str, ...]:
    calls = tuple(_digest("call", call_id) for call_id in call_ids)
    return (*calls, _digest("text", text)) if text else calls


def _fits(found: tuple[Signed, ...], text: str) -> bool:
    return sum(part.chars for part in found) == len(text)


def _cut(text: str, found: tuple[Signed, ...]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    start = 0
    for part in found:
        if part.redacted:
            made.append({"type": "redacted_thinking", "data": part.redacted})
        else:
            piece = text[start : start + part.chars]
            made.append({"type": "thinking", "thinking": piece, "signature": part.signature})
        start += part.chars
    return made


def _digest(kind: str, said: str) -> str:
    data = f"{kind}\0{said}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
