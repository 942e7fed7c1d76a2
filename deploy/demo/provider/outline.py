"""What a request looks like from afar: the names of its fields and the roles of its messages. Never a word of it."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from deploy.demo.provider.rules import ROLES

_LONGEST: Final = 40
_UNKNOWN: Final = "?"


class Outline(NamedTuple):
    """``roles`` are in the messages' order. What is no plain name, or no role, is a question mark."""

    fields: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class _Message(msgspec.Struct):
    role: Any = None


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages: Final = msgspec.json.Decoder(list[_Message])


def of(body: bytes) -> Outline:
    """Nothing of a body that is no JSON object."""
    try:
        found = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Outline()
    return Outline(tuple(sorted(set(map(_name, found)))), tuple(_roles(found)))


def _name(field: str) -> str:
    plain = field.isascii() and field.replace("_", "a").isalnum() and len(field) <= _LONGEST
    return field if plain else _UNKNOWN


def _roles(found: dict[str, msgspec.Raw]) -> Iterable[str]:
    try:
        messages = _messages.decode(found.get("messages", msgspec.Raw(b"[]")))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return (message.role if message.role in ROLES else _UNKNOWN for message in messages)
