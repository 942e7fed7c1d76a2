"""The signature of thinking that has none: openai_chat providers sign nothing, and Anthropic's clients keep no thinking
block without a signature. Pure."""

import base64
import hashlib
import hmac
from typing import Final

MARK: Final = "tog1."


def mark(secret: bytes, text: str) -> str:
    """URL-safe, not empty, and known as our own when it comes back."""
    digest = hmac.new(secret, b"thinking\0" + text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return MARK + base64.urlsafe_b64encode(digest).decode("ascii")[:32]


def is_foreign(signature: object) -> bool:
    """Whether no Anthropic provider made this: it is missing, empty, or ours."""
    return not isinstance(signature, str) or not signature or signature.startswith(MARK)
