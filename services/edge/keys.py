"""API keys: `sk-to-`, 43 random characters, 6 of checksum. Pure: randomness and the pepper are passed in.

The checksum lets a typo be told from an unknown key without asking anybody. A fast keyed hash is right for a secret of
256 random bits; password hashes are for secrets that people choose.
"""

import hashlib
import hmac
import zlib
from typing import Final

PREFIX: Final = "sk-to-"
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_BYTES: Final = 32
BODY: Final = 43
CHECK: Final = 6
SHOWN: Final = 4


def mint(random: bytes) -> str:
    """A key from 32 random bytes."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key takes {RANDOM_BYTES} random bytes, not {len(random)}")
    body = _base62(int.from_bytes(random, "big"), BODY)
    return PREFIX + body + _checksum(body)


def well_formed(text: str) -> bool:
    """Whether this can be one of our keys at all."""
    body, check = text[len(PREFIX) : -CHECK], text[-CHECK:]
    return text.startswith(PREFIX) and len(body) == BODY and body.isascii() and check == _checksum(body)


def digest(key: str, pepper: bytes) -> bytes:
    """What is stored instead of the key."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).digest()


def hint(key: str) -> str:
    """What may be shown of a key ever after."""
    return f"{PREFIX}…{key[-SHOWN:]}"


def from_headers(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key of a call: `x-api-key` wins over Bearer, as it does at Anthropic."""
    if own := (x_api_key or "").strip():
        return own
    scheme, _, token = (authorization or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("utf-8", "replace")), CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits))
