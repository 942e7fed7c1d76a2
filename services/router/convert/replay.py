"""Thinking that has to come back to its provider as it was: what is remembered of an answer, and what is made of it
when the caller returns only its text. Pure.

An openai_chat caller returns `reasoning_content`, which has no place for a signature; Anthropic refuses thinking whose
signature is missing or not its own.
"""

import msgspec


class Thought(msgspec.Struct, frozen=True):
    """One thinking block as the provider gave it. A redacted one has no text, only ``redacted`` data."""

    text: str
    signature: str = ""
    redacted: str = ""
