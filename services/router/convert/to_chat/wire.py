"""What is read of an anthropic_messages request. Pure.

Whatever is only handed on stays `msgspec.Raw`, so that its numbers keep the caller's digits. Every other field is Any:
whoever reads one looks at what it is.
"""

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from libs.errors import InvalidRequest

T = TypeVar("T")

ABSENT: Final = (b"", b"null")


class Block(msgspec.Struct):
    """A content block of any type: the fields that are read of one, all of them optional."""

    type: Any = None
    text: Any = None
    thinking: Any = None
    id: Any = None
    name: Any = None
    input: Raw = Raw()
    tool_use_id: Any = None
    content: Raw = Raw()
    is_error: Any = None
    source: Any = None
    title: Any = None
    context: Any = None
    tool_name: Any = None
    cache_control: Any = None


class Turn(msgspec.Struct):
    role: Any = None
    content: str | list[Raw] | None = None


class Tool(msgspec.Struct):
    type: Any = None
    name: Any = None
    description: Any = None
    input_schema: dict[str, Raw] | None = None
    strict: Any = None
    cache_control: Any = None


fields: Final = msgspec.json.Decoder(dict[str, Raw])
turns: Final = msgspec.json.Decoder(list[Turn])
tools: Final = msgspec.json.Decoder(list[Tool])
block: Final = msgspec.json.Decoder(Block)
content: Final[msgspec.json.Decoder[str | list[Raw] | None]] = msgspec.json.Decoder(str | list[Raw] | None)
optional_fields: Final[msgspec.json.Decoder[dict[str, Raw] | None]] = msgspec.json.Decoder(dict[str, Raw] | None)
objects: Final[msgspec.json.Decoder[dict[str, Any] | None]] = msgspec.json.Decoder(dict[str, Any] | None)
texts: Final[msgspec.json.Decoder[list[str] | None]] = msgspec.json.Decoder(list[str] | None)
anything: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


def read(decoder: msgspec.json.Decoder[T], raw: bytes | Raw, field: str) -> T:
    """Raises InvalidRequest that names the top-level ``field``."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"{field}: {error}", param=field) from error


def body(raw: bytes) -> dict[str, Raw]:
    """The top-level fields. What is skipped later is checked for UTF-8 here, because Raw is not."""
    try:
        raw.decode()
        return fields.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not a JSON object: {error}.") from error


def given(raw: Raw | None) -> bool:
    """Whether a field is there and not null."""
    return raw is not None and bytes(raw) not in ABSENT


def compact(raw: Raw) -> str:
    """The same JSON without the space between its tokens; numbers and escapes stay as they are."""
    try:
        return msgspec.json.format(bytes(raw), indent=-1).decode()
    except RecursionError as error:
        raise InvalidRequest("messages: nested too deeply", param="messages") from error


def blocks(content: str | list[Raw] | None, field: str) -> list[tuple[Block, Raw]]:
    """Each block with its own JSON. A string is one block of text."""
    if isinstance(content, str):
        return [(Block(type="text", text=content), Raw())]
    return [(read(block, raw, field), raw) for raw in content or ()]
