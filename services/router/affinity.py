"""What two requests have in common when they may share a provider's prompt cache. Pure.

All turns of a conversation have the same key: it is made of how the conversation begins, up to the first thing that its
user said. Marks that move from turn to turn are left out: clients mark the end of the prompt for the cache, and say a
text as a block only while it carries the mark.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.router.raws import UNREADABLE, fields_of
from services.router.rewrite_messages import BILLING

DIGEST_BYTES: Final = 16
FIRST_MESSAGES: Final = 2
FIRST_BLOCKS: Final = 16
FIRST_BYTES: Final = 1 << 16  # of one block: an image need not be read to its end
ABSENT: Final = msgspec.Raw(b"")
ACCOUNTS: Final = f'"{BILLING}'.encode()  # Claude Code's first block, which may change with every request


class Begins(msgspec.Struct):
    """How a request begins. The rest passes by."""

    system: msgspec.Raw = ABSENT
    messages: list[msgspec.Raw] = []


class Message(msgspec.Struct):
    role: Any = None
    content: msgspec.Raw = ABSENT


_begins = msgspec.json.Decoder(Begins)
_message = msgspec.json.Decoder(Message)
_blocks = msgspec.json.Decoder(list[msgspec.Raw])


def key(org: int, body: bytes) -> bytes:
    """Of the org and nothing else where the body makes no sense."""
    digest = hashlib.blake2b(str(org).encode(), digest_size=DIGEST_BYTES)
    try:
        parts = list(_parts(_begins.decode(body)))
    except UNREADABLE:
        return digest.digest()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part[:FIRST_BYTES])
    return digest.digest()


def _parts(begins: Begins) -> Iterator[bytes]:
    yield from _content(begins.system)
    for raw in begins.messages[:FIRST_MESSAGES]:
        message = _message.decode(raw)
        yield from _content(message.content)
        if message.role == "user":
            return  # what follows came later, and is not there in the first turn


def _content(raw: msgspec.Raw) -> Iterator[bytes]:
    """A text says the same alone and as a block."""
    if not raw:
        return
    if not bytes(raw).startswith(b"["):
        yield bytes(raw)
        return
    for block in _blocks.decode(raw)[:FIRST_BLOCKS]:
        said = _said(block)
        if not said.startswith(ACCOUNTS):
            yield said


def _said(block: msgspec.Raw) -> bytes:
    if not bytes(block).startswith(b"{"):
        return bytes(block)
    fields = fields_of(block)
    if "text" in fields:
        return bytes(fields["text"])
    return b",".join(bytes(value) for name, value in fields.items() if name != "cache_control")
