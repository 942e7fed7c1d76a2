"""Reading one table of a document field by field, noting every mistake instead of stopping at the first."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self, TypeVar

from libs.pricing import MAX_TOKENS
from services.catalog.toml_lines import Path

S = TypeVar("S", bound=str)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Mistake(NamedTuple):
    """What is wrong, and where in the document."""

    path: Path
    reason: str


def written(path: Path) -> str:
    """A path as people write it: ``models."qwen3.6-plus".offers[0].provider``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = re.fullmatch(r"[A-Za-z0-9_-]+", part) is not None
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text


def suggestion(word: str, known: Iterable[str]) -> str:
    """A tail for a sentence about a word nobody knows: the likeliest one meant, else all there are."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(choices)}" if choices else ""


class Fields:
    """One table. A reader method answers a neutral value (``""``, ``0``, None) when it had to note a mistake.

    Leaving the context notes every key that nobody asked for.
    """

    def __init__(self, values: object, path: Path, mistakes: list[Mistake]) -> None:
        self.path = path
        self.mistakes = mistakes
        self._asked: set[str] = set()
        self._is_table = isinstance(values, dict)
        self._values: Mapping[str, Any] = values if isinstance(values, dict) else {}
        if not self._is_table and values is not None:
            self.wrong("must be a table")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in self._values.keys() - self._asked:
            self.wrong(f"is not a known key{suggestion(key, self._asked)}", key)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def wrong(self, reason: str, *at: str | int) -> None:
        """Notes a mistake in this table, or further in."""
        self.mistakes.append(Mistake((*self.path, *at), reason))

    def value(self, key: str) -> Any:
        """The raw value; None, and a mistake, when it is missing."""
        found = self.maybe(key)
        if found is None and self._is_table:
            self.wrong("is missing", key)
        return found

    def maybe(self, key: str) -> Any:
        """The raw value, or None."""
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str, pattern: re.Pattern[str] | None = None, shape: str = "") -> str:
        """A string without surrounding blanks; ``shape`` says in words what ``pattern`` wants."""
        value = self.value(key)
        if value is None:
            return ""
        if not isinstance(value, str) or not value or value != value.strip() or _CONTROL.search(value):
            self.wrong("must be a string of one line, not empty, without blanks around it", key)
        elif pattern is not None and not pattern.fullmatch(value):
            self.wrong(f"must be {shape}", key)
        else:
            return value
        return ""

    def choice(self, key: str, known: Collection[S], default: S | None = None) -> S | None:
        """One of the known words; None, and a mistake, when it is none of them."""
        if self.maybe(key) is None and default is not None:
            return default
        value = self.text(key)
        for word in known:
            if word == value:
                return word
        if value:
            self.wrong(f"{value!r} is not known{suggestion(value, known)}", key)
        return None

    def choices(self, key: str, known: Collection[str], default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of known words, each once."""
        value = self.maybe(key)
        if value is None:
            return default
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong("must be a list of strings", key)
            return default
        for index, item in enumerate(value):
            if item not in known:
                self.wrong(f"{item!r} is not known{suggestion(item, known)}", key, index)
            if item in value[:index]:
                self.wrong(f"{item!r} is there twice", key, index)
        return tuple(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, each once and none of them empty."""
        value = self.maybe(key)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.wrong("must be a list of strings, none of them empty", key)
            return ()
        for index, item in enumerate(value):
            if item in value[:index]:
                self.wrong(f"{item!r} is there twice", key, index)
        return tuple(value)

    def words(self, key: str, known: Collection[str]) -> dict[str, str]:
        """A table in which every value is one of the known words."""
        value = self.maybe(key)
        with self.table(key) as table:
            found = {name: table.choice(name, known) for name in (value if isinstance(value, dict) else ())}
        return {name: word for name, word in found.items() if word is not None}

    def whole(self, key: str, lowest: int, highest: int) -> int:
        value = self.maybe(key)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        self.wrong(f"must be a whole number from {lowest} to {highest}", key)
        return lowest

    def number(self, key: str, lowest: float, highest: float) -> float:
        value = self.maybe(key)
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and lowest <= float(value) <= highest:
            return float(value)
        self.wrong(f"must be a number from {lowest} to {highest}", key)
        return float(lowest)

    def tokens(self, key: str) -> int:
        """A whole number of tokens above zero."""
        return 0 if self.value(key) is None else self.maybe_tokens(key) or 0

    def maybe_tokens(self, key: str) -> int | None:
        """A whole number of tokens above zero, or None when it is not given."""
        value = self.maybe(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_TOKENS):
            return value
        self.wrong(f"must be a whole number from 1 to {MAX_TOKENS}", key)
        return None

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.maybe(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong("must be true or false", key)
        return default

    def day(self, key: str) -> int:
        """A date, as the Unix second at which it begins in UTC."""
        value = self.value(key)
        if value is None:
            return 0
        if not isinstance(value, date) or isinstance(value, datetime):
            self.wrong("must be a date, written 2025-05-14 without quotes", key)
            return 0
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())

    def table(self, key: str) -> "Fields":
        """The table under a key. A missing one is one mistake, whatever is then asked of it."""
        return Fields(self.value(key), (*self.path, key), self.mistakes)

    def tables(self, key: str) -> list["Fields"]:
        """The tables of a list, in order; none when there is no such key."""
        value = self.maybe(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong("must be a list of tables", key)
            return []
        return [Fields(item, (*self.path, key, index), self.mistakes) for index, item in enumerate(value)]

    def named(self, pattern: re.Pattern[str], shape: str) -> dict[str, "Fields"]:
        """The tables in this one by their names; a name that is no good is noted and still read."""
        found = {}
        for name in self._values:
            found[name] = Fields(self.maybe(name), (*self.path, name), self.mistakes)
            if not pattern.fullmatch(name):
                found[name].wrong(f"is not a good name: it must be {shape}")
        return found
