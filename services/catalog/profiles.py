"""What an endpoint takes and wants, as rows of the document, and what a model's offer changes about it."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

from libs.contracts.profile import TOOL_CHOICES, Profile
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.catalog.consistency import ELSEWHERE, faults
from services.catalog.fields import Fields

Reader: TypeAlias = Callable[[Fields, str], Any]

GENERIC: Final[Mapping[Protocol, str]] = {
    OPENAI_CHAT: "openai_compatible",
    ANTHROPIC_MESSAGES: "anthropic_compatible",
}
ALL: Final = "all"
RANGES: Final = {
    "tool_id_chars": (16, 1024),
    "max_stop": (0, 1024),
    "budget_cap": (1024, 10_000_000),
    "max_temperature": (0, 2),
}


class Row(NamedTuple):
    """A profile of the document: only what it says itself, so that an offer's changes can be laid over it."""

    name: str
    protocol: Protocol
    given: Mapping[str, Any]
    sound: bool = True


Rows: TypeAlias = Mapping[str, Row]


def read_row(fields: Fields, name: str) -> Row:
    """Meaningless when mistakes were noted; not ``sound`` when it contradicts itself."""
    with fields:
        protocol = fields.choice("protocol", PROTOCOLS)
        given = _given(fields)
    if protocol is None:
        return Row(name, OPENAI_CHAT, given, sound=False)
    before = len(fields.mistakes)
    _check(fields, protocol, given, _profile(given))
    return Row(name, protocol, given, sound=len(fields.mistakes) == before)


def row_of(endpoint: Fields, protocol: Protocol, rows: Rows) -> Row:
    """The row that an endpoint names, else the generic one of its protocol."""
    generic = rows.get(GENERIC[protocol], Row("", protocol, {}))
    if endpoint.maybe("profile") is None:
        return generic
    name = endpoint.choice("profile", rows)
    if name is None:
        return generic._replace(sound=False)
    if rows[name].protocol != protocol:
        endpoint.wrong(f"{name!r} is a profile for {rows[name].protocol}", "profile")
        return rows[name]._replace(sound=False)
    return rows[name]


def resolved(offer: Fields, row: Row, *, images: bool) -> Profile:
    """The row with the offer's changes. Images are understood where the model takes them, unless something is said."""
    if offer.maybe("profile") is None:
        return _profile({"vision": images, **row.given})
    with offer.table("profile") as fields:
        changes = _given(fields)
    profile = _profile({"vision": images, **row.given, **changes})
    if row.sound:
        _check(fields, row.protocol, changes, profile)
    return profile


def _profile(given: Mapping[str, Any]) -> Profile:
    """What may be forced while it thinks is, unless something is said, what may be forced at all."""
    return Profile(**{"thinking_tool_choices": given.get("tool_choices", TOOL_CHOICES), **given})


def _given(fields: Fields) -> dict[str, Any]:
    """The keys that are there, with their values; a wrong one is noted and left out."""
    before = len(fields.mistakes)
    found = {name: read(fields, name) for name, read in READERS.items() if fields.maybe(name) is not None}
    wrong = {mistake.path[len(fields.path)] for mistake in fields.mistakes[before:]}
    return {name: value for name, value in found.items() if name not in wrong}


def _check(fields: Fields, protocol: Protocol, given: Mapping[str, Any], profile: Profile) -> None:
    for key in sorted(ELSEWHERE[protocol].intersection(given)):
        fields.wrong(f"has no meaning for {protocol}", key)
    for key, reason in faults(protocol, profile):
        fields.wrong(reason, key)


def _flag(fields: Fields, name: str) -> bool:
    return fields.flag(name, default=False)


def _number(fields: Fields, name: str) -> float:
    return fields.number(name, *RANGES[name])


def _whole(fields: Fields, name: str) -> int:
    return fields.whole(name, *RANGES[name])


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    return fields.texts(name)


def _texts_or_all(fields: Fields, name: str) -> tuple[str, ...] | None:
    return None if fields.maybe(name) == ALL else fields.texts(name)


def _reader(hint: Any) -> Reader:
    """How a field of that type is written."""
    plain: dict[Any, Reader] = {
        bool: _flag,
        int: _whole,
        int | None: _whole,
        float: _number,
        tuple[str, ...]: _texts,
        tuple[str, ...] | None: _texts_or_all,
    }
    if hint in plain:
        return plain[hint]
    if get_origin(hint) is Literal:
        return lambda fields, name: fields.choice(name, get_args(hint))
    if get_origin(hint) is tuple:
        return lambda fields, name: fields.choices(name, get_args(get_args(hint)[0]))
    return lambda fields, name: fields.words(name, get_args(get_args(hint)[1]))


READERS: Final[Mapping[str, Reader]] = {name: _reader(hint) for name, hint in get_type_hints(Profile).items()}
