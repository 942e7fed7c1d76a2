"""What proves that a thinking block came from here unchanged. It needs no memory: a restart forgets nothing."""

import base64
import hashlib
import hmac
from typing import Final

_KEY: Final = b"the simulator's own thinking"


def signature_of(thinking: str) -> str:
    signed = hmac.new(_KEY, thinking.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.b64encode(signed).decode()


def is_ours(thinking: object, signature: object) -> bool:
    """Whether a block that came back says what it said when it left."""
    return isinstance(thinking, str) and isinstance(signature, str) and signature == signature_of(thinking)
