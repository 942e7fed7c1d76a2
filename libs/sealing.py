"""Secrets at rest: AES-256-GCM under a ring of keys, of which the first seals and every one opens.

A sealed text is URL-safe base64 of: format (1 byte) · length of the key's id (1) · the id · nonce (12) · ciphertext and
tag. All before the nonce, and the ``context``, is authenticated with it: a text that was moved elsewhere does not open.
"""

import base64
import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FORMAT: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class BadKeys(ValueError):
    """A key ring that is none. Says which key is wrong by its place, never what it is."""


class NotOpened(Exception):
    """The text is damaged, was sealed for another place, or under a key that is not in the ring."""


class _Parts(NamedTuple):
    key: str
    head: bytes
    nonce: bytes
    ciphertext: bytes


class KeyRing:
    """Seals with its first key and opens with whichever one a text was sealed with."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self.first = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def seal(self, plain: str, context: str) -> str:
        """``context`` says whose secret it is; only with the same words does it open."""
        head = bytes((FORMAT, len(self.first))) + self.first.encode()
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._keys[self.first].encrypt(nonce, plain.encode(), head + context.encode())
        return base64.urlsafe_b64encode(head + nonce + sealed).decode()

    def open(self, sealed: str, context: str) -> str:
        """Raises NotOpened."""
        parts = _parts_of(sealed)
        if parts.key not in self._keys:
            raise NotOpened("it was sealed with a key that is not in the ring")
        try:
            plain = self._keys[parts.key].decrypt(parts.nonce, parts.ciphertext, parts.head + context.encode())
        except InvalidTag as error:
            raise NotOpened("it is damaged, or was sealed for another place or with another key") from error
        return plain.decode()

    def resealed(self, sealed: str, context: str) -> str:
        """The same secret under the first key; the same text when that sealed it already. Raises NotOpened."""
        plain = self.open(sealed, context)
        return sealed if key_of(sealed) == self.first else self.seal(plain, context)


def key_ring(text: str) -> KeyRing:
    """The ring that ``id1:key,id2:key`` describes, each key 32 bytes in base64. Raises BadKeys."""
    keys: dict[str, bytes] = {}
    for number, item in enumerate(text.split(","), 1):
        name, separator, encoded = item.strip().partition(":")
        if not separator or not _ID.fullmatch(name):
            raise BadKeys(f"key {number} is not written ID:KEY, with an id of up to 32 letters, digits, _ and -")
        if name in keys:
            raise BadKeys(f"key {number} has the id of another one")
        keys[name] = _key(encoded, number)
    if len(set(keys.values())) < len(keys):
        raise BadKeys("two keys are the same")
    return KeyRing(keys)


def key_of(sealed: str) -> str:
    """The id of the key that sealed it. Raises NotOpened."""
    return _parts_of(sealed).key


def _key(encoded: str, number: int) -> bytes:
    try:
        key = _decoded(encoded)
    except ValueError as error:  # binascii.Error, and characters that are not ASCII
        raise BadKeys(f"key {number} is not base64") from error
    if len(key) != KEY_BYTES:
        raise BadKeys(f"key {number} is not {KEY_BYTES} bytes long")
    return key


def _parts_of(sealed: str) -> _Parts:
    try:
        raw = _decoded(sealed)
    except ValueError as error:  # binascii.Error, and characters that are not ASCII
        raise NotOpened("it is not base64") from error
    if base64.urlsafe_b64encode(raw).decode() != sealed:
        raise NotOpened("it is not written as it was sealed")
    if len(raw) < 2 or raw[0] != FORMAT or len(raw) < 2 + raw[1] + NONCE_BYTES + TAG_BYTES:
        raise NotOpened("it is not a sealed text of this format")
    at = 2 + raw[1]
    name = raw[2:at].decode("ascii", "replace")
    return _Parts(name, raw[:at], raw[at : at + NONCE_BYTES], raw[at + NONCE_BYTES :])


def _decoded(text: str) -> bytes:
    """Either alphabet of base64, with its padding or without. Raises ValueError."""
    plain = text.translate(_URL_SAFE).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
