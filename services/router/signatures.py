"""What is remembered of answers' thinking for the requests that follow: in memory, for a while, and never too much.

It holds digests, lengths and the provider's signatures, and no text.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from services.router.convert.replay import Signed

OVERHEAD_BYTES: Final = 200  # of one entry and of one block in it, roughly

Key = tuple[int, str]


class Entry(msgspec.Struct, frozen=True):
    signed: tuple[Signed, ...]
    expires: float
    size: int


class Signatures:
    """The oldest goes first. ``owner`` is the key of the caller: nobody is given what somebody else left. ``ttl`` is in
    seconds, and so is every ``now``, from any one clock that does not go back."""

    def __init__(self, *, ttl: float, max_entries: int, max_bytes: int) -> None:
        self._ttl = ttl
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return self._bytes

    def remember(self, owner: int, keys: Iterable[str], signed: tuple[Signed, ...], now: float) -> None:
        size = OVERHEAD_BYTES + sum(map(_size, signed))
        if size > self._max_bytes:
            return  # it would drive out everything else and then itself
        for key in keys:
            self._forget((owner, key))
            self._entries[owner, key] = Entry(signed, now + self._ttl, size)
            self._bytes += size
        self._make_room(now)

    def recall(self, owner: int, key: str, now: float) -> tuple[Signed, ...] | None:
        entry = self._entries.get((owner, key))
        return entry.signed if entry is not None and now < entry.expires else None

    def _make_room(self, now: float) -> None:
        while self._entries and self._has_to_go(now):
            self._forget(next(iter(self._entries)))

    def _has_to_go(self, now: float) -> bool:
        oldest = next(iter(self._entries.values()))
        full = len(self._entries) > self._max_entries or self._bytes > self._max_bytes
        return full or oldest.expires <= now

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size


def _size(part: Signed) -> int:
    return OVERHEAD_BYTES + len(part.signature) + len(part.redacted)
