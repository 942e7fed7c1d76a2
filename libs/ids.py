"""Request ids: UUIDv7 (RFC 9562 §5.7), so that the ledger's key is also its time order and its partition key."""

import re
from typing import Final
from uuid import UUID

PREFIX: Final = "req_"
RANDOM_BYTES: Final = 10
_DIGITS: Final = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.I | re.A)


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """The UUIDv7 of a millisecond and ten random bytes (74 of their bits are used)."""
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError(f"not a 48-bit millisecond: {unix_ms}")
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"uuid7 takes {RANDOM_BYTES} random bytes, not {len(random)}")
    noise = int.from_bytes(random, "big")
    head = 0x7000 | (noise >> 68)
    tail = (0b10 << 62) | (noise & ((1 << 62) - 1))
    return UUID(int=(unix_ms << 80) | (head << 64) | tail)


def millisecond_of(request_id: UUID) -> int:
    """The Unix millisecond inside a UUIDv7."""
    return request_id.int >> 80


def first_of(unix_ms: int) -> UUID:
    """The lowest UUID of a millisecond: the bound of a time range over ids."""
    return UUID(int=unix_ms << 80)


def public(request_id: UUID) -> str:
    """The id as customers see it: ``req_`` and 32 hex digits."""
    return PREFIX + request_id.hex


def parse_public(text: str) -> UUID | None:
    """The UUID of ``req_…`` (or of a bare UUID); None when it is neither."""
    digits = text.removeprefix(PREFIX)
    return UUID(digits) if _DIGITS.fullmatch(digits) else None
