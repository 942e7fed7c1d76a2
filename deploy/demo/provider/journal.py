"""What was served, as it happened: one JSON line when a request arrives and one when it ends. Never a prompt.

The file is only ever appended to, one `write` per line, so it is whole after a crash and true while it is read.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from deploy.demo.provider.plan import Ending
from libs.pricing import Usage
from libs.protocols import Protocol

Ended = Ending | Literal["client_gone", "stopped"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line. ``at`` is a Unix millisecond; ``request`` the caller's `x-client-request-id`; ``answer`` our own id.

    ``credential`` is the first 16 hex digits of the credential's SHA-256; ``fields`` are the names of the request's
    fields, ``roles`` those of its messages. The fields after them tell how a request ended: ``usage`` is what it is
    billed at, None when it is not; ``reported`` says whether the caller was told; ``tokens`` were handed to the
    connection.
    """

    event: Literal["arrived", "ended"]
    at: int
    request: str
    answer: str
    provider: str
    protocol: Protocol
    path: str
    model: str
    stream: bool
    headers: tuple[str, ...]
    credential: str
    fields: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    status: int = 0
    ended: Ended | None = None
    usage: Usage | None = None
    reported: bool = False
    tokens: int = 0


class Journal:
    """The open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, record: Record) -> None:
        os.write(self._descriptor, msgspec.json.encode(record) + b"\n")


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """The journal at ``path``, made when it is not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        yield Journal(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, request: str | None = None) -> list[Record]:
    """The records so far, or those of one request."""
    decoder = msgspec.json.Decoder(Record)
    records = [decoder.decode(line) for line in path.read_bytes().splitlines()]
    return [record for record in records if request in (None, record.request)]
