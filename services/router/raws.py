"""JSON that is edited without being read: what is not touched keeps its own bytes. Pure."""

import json
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
Fields = dict[str, msgspec.Raw]
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NULL: Final = b"null"
_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(Fields)


def fields_of(raw: bytes | msgspec.Raw) -> Fields:
    """Raises one of UNREADABLE. Half an emoji is no error, as in ``read``."""
    try:
        return _fields.decode(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        try:
            found = json.loads(bytes(raw))
        except ValueError:
            raise error from None
        if not isinstance(found, dict):
            raise
        return {name: msgspec.Raw(encoded(value)) for name, value in found.items()}


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encoded(value))


def encoded(value: object) -> bytes:
    """JSON, also of text in which a provider cut an emoji in two."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def has(fields: Fields, name: str) -> bool:
    """Whether the field is there and not null."""
    return bytes(fields.get(name, NULL)) != NULL


def read(decoder: "msgspec.json.Decoder[T]", kind: type[T], data: bytes) -> T:
    """One event. Raises one of UNREADABLE. Some providers cut an emoji in two between events: JSON allows half a
    surrogate pair, msgspec does not, and a caller's own parser will know what to do with it."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        try:
            return msgspec.convert(json.loads(data), kind)
        except ValueError:
            raise error from None


def size_of(said: Any) -> int:
    """Bytes of what was said, in whatever shape: text as text, anything else as its JSON."""
    if not said:
        return 0
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
