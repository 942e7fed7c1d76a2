"""How many tokens a request is likely to be, without asking its provider. Pure.

An estimate by kinds of characters, for callers who plan and for figures that come before the true ones. Nothing is
charged by it. Chinese, Japanese and Korean take about two tokens for three characters, everything else about two for
seven; pictures and documents are counted as a picture of ordinary size.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

WIDE: Final = 65  # hundredths of a token in one character
NARROW: Final = 29
PER_MESSAGE: Final = 4
PER_REQUEST: Final = 3
PER_PICTURE: Final = 1500
PICTURES: Final = frozenset(
    {"image", "image_url", "input_image", "document", "file", "input_file", "input_audio", "video", "video_url"}
)
UNSAID: Final = frozenset(
    {"type", "role", "cache_control", "signature", "id", "tool_use_id", "tool_call_id", "citations", "is_error"}
)
AS_JSON: Final = frozenset({"input", "arguments"})
CONTINUATION: Final = bytes(range(0x80, 0xC0))
WIDE_LEADS: Final = bytes([*range(0xE3, 0xEE), 0xEF, *range(0xF0, 0xF5)])  # from U+3000 on, as UTF-8 begins it
NOTHING: Final = msgspec.Raw(b"")
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Spoken(msgspec.Struct):
    """The parts of a request, of either protocol, that a model reads."""

    messages: Any = None
    system: Any = None
    tools: msgspec.Raw = NOTHING
    functions: msgspec.Raw = NOTHING
    response_format: msgspec.Raw = NOTHING
    output_config: msgspec.Raw = NOTHING


_decoder = msgspec.json.Decoder(Spoken)


def estimate(body: bytes) -> int:
    """Tokens of a request's body, at least 1. One that cannot be read is a quarter of its bytes."""
    try:
        spoken = _decoder.decode(body)
        forms = spoken.tools, spoken.functions, spoken.response_format, spoken.output_config
        schemas = [_plain(form) for form in forms]
    except UNREADABLE:
        return len(body) // 4 + 1
    texts: list[str] = []
    pictures = _collect([spoken.messages, spoken.system], texts)
    messages = len(spoken.messages) if isinstance(spoken.messages, list) else 0
    hundredths = of_text("\n".join(texts)) + sum(map(_of_bytes, schemas))
    return hundredths // 100 + PER_REQUEST + messages * PER_MESSAGE + pictures * PER_PICTURE


def of_text(text: str) -> int:
    """Hundredths of a token in a text."""
    return len(text) * NARROW if text.isascii() else _of_bytes(text.encode("utf-8", "replace"))


def _of_bytes(utf8: bytes) -> int:
    if utf8.isascii():
        return len(utf8) * NARROW
    characters = utf8.translate(None, CONTINUATION)
    narrow = len(characters.translate(None, WIDE_LEADS))
    return narrow * NARROW + (len(characters) - narrow) * WIDE


def _plain(json: msgspec.Raw) -> bytes:
    """The JSON with its characters as they are: `\\u4f60` is one of them, not six."""
    raw = bytes(json)
    return msgspec.json.encode(msgspec.json.decode(raw)) if b"\\u" in raw else raw


def _collect(left: list[Any], texts: list[str]) -> int:
    """Adds what is said to ``texts``; how many pictures there are. Not recursive: a body may be nested deeply."""
    pictures = 0
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            if _is_picture(value):
                pictures += 1
            else:
                left.extend(_parts(value))
    return pictures


def _is_picture(block: dict[str, Any]) -> bool:
    """Documents that are given as text are not."""
    kind, source = block.get("type"), block.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") in ("text", "content"):
        return False
    return isinstance(kind, str) and kind in PICTURES


def _parts(block: dict[str, Any]) -> Iterable[Any]:
    for name, value in block.items():
        if name in AS_JSON and not isinstance(value, str):
            yield msgspec.json.encode(value).decode()
        elif name not in UNSAID:
            yield value
