"""One event of a stream as bytes, with what of the answer it carries."""

from typing import Any, NamedTuple

import msgspec

from libs import sse


class Stamp(NamedTuple):
    """What makes an answer its own: a name that no other has, and the Unix second."""

    nonce: str
    created: int


class Frame(NamedTuple):
    """``tokens`` are the output tokens in it, ``thinking`` how many of them are thinking; ``usage``: it tells the
    final figures."""

    data: bytes
    tokens: int = 0
    thinking: int = 0
    usage: bool = False


_encoder = msgspec.json.Encoder()


def frame(document: Any, name: str = "", *, tokens: int = 0, thinking: int = 0, usage: bool = False) -> Frame:
    return Frame(sse.encode(_encoder.encode(document), name), tokens, thinking, usage)
