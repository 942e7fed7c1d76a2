"""Server-sent events, incrementally: any chunking of the same bytes gives the same events.

Format: WHATWG HTML §9.2.6. `id` and `retry` are ignored; comments are counted as life and produce nothing.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import cast

import msgspec

MAX_EVENT_BYTES = 8 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """One event is over ``MAX_EVENT_BYTES``."""


class Event(msgspec.Struct, frozen=True):
    """One event: its ``event:`` name ("" when absent) and its data lines joined by a newline."""

    name: str
    data: bytes


class Reader:
    """Bytes in, events out. Lines end in LF, CR or CRLF. No byte is looked at twice, however small the chunks are."""

    def __init__(self) -> None:
        self._rest = bytearray()  # of the line whose end has not arrived
        self._after_cr = False
        self._at_start = True
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterable[Event]:
        """The events that ``chunk`` completes, to be read before the next one is fed. Raises EventTooLarge."""
        if self._data or self._rest or self._name or self._at_start or self._after_cr:
            return self._lines(chunk)
        if not chunk.endswith(b"\n\n") or b"\r" in chunk or len(chunk) > MAX_EVENT_BYTES:
            return self._lines(chunk)
        events = [_plain(piece) for piece in chunk[:-2].split(b"\n\n")]
        return self._lines(chunk) if None in events else cast("list[Event]", events)

    def _lines(self, chunk: bytes) -> Iterator[Event]:
        *lines, rest = self._with_plain_ends(self._past_bom(chunk)).split(b"\n")
        for line in lines:
            if (event := self._take(self._completed(line))) is not None:
                yield event
        if rest:
            self._rest += rest
            self._guard(len(self._rest))

    def finish(self) -> Iterator[Event]:
        """At the end of the stream: an event without its blank line counts only if its data is whole."""
        if self._rest:
            self._take(self._completed(b""))
        event = self._dispatch()
        if event is not None and _is_whole(event.data):
            yield event

    def _past_bom(self, chunk: bytes) -> bytes:
        """A BOM may itself arrive in pieces."""
        if not self._at_start:
            return chunk
        head = self._completed(chunk)
        if len(head) < len(BOM) and BOM.startswith(head):
            self._rest += head
            return b""
        self._at_start = False
        return head.removeprefix(BOM)

    def _with_plain_ends(self, chunk: bytes) -> bytes:
        """Every line end as LF. Of a CRLF that was cut in two, the CR has ended the line already."""
        if not chunk:
            return chunk
        skip, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if skip:
            chunk = chunk.removeprefix(b"\n")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in chunk else chunk

    def _completed(self, end: bytes) -> bytes:
        if not self._rest:
            return end
        line = bytes(self._rest) + end
        self._rest.clear()
        return line

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        self._guard(len(line))
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(line) + 1
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name, b"\n".join(self._data)) if self._data else None
        self._name, self._data, self._size = "", [], 0
        return event

    def _guard(self, line_bytes: int) -> None:
        if self._size + line_bytes > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES} bytes")


def _plain(piece: bytes) -> Event | None:
    """What most chunks of most providers are made of: one line of data, under a name or none. None: anything else."""
    name = ""
    if piece.startswith(b"event: "):
        head, _, piece = piece.partition(b"\n")
        name = head[7:].decode("utf-8", "replace")
    return Event(name, piece[6:]) if piece.startswith(b"data: ") and b"\n" not in piece else None


def encode(data: bytes, name: str = "") -> bytes:
    """One event as bytes. ``data`` may hold newlines."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"%bdata: %b\n\n" % (_head(name), data) if name else b"data: %b\n\n" % data


@functools.lru_cache(maxsize=64)
def _head(name: str) -> bytes:
    return b"event: " + name.encode() + b"\n"


def _is_whole(data: bytes) -> bool:
    if data == b"[DONE]":
        return True
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
