"""Writes a document as TOML in one of the many ways there are, and remembers the line of everything it wrote."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from services.catalog.toml_lines import Path


class Writer:
    """One text in the making; ``places`` holds the first line of each path."""

    def __init__(self, style: random.Random) -> None:
        self.places: dict[Path, int] = {}
        self._style = style
        self._text = ""

    def write(self, document: Mapping[str, Any]) -> str:
        self._table(document, (), "")
        return self._text

    def _table(self, values: Mapping[str, Any], path: Path, header: str) -> None:
        """Keys first, then the tables that get a header of their own."""
        own_header = [key for key, value in values.items() if _is_table_like(value) and self._flip()]
        for key in [key for key in values if key not in own_header]:
            self._noise()
            self._assign(key, values[key], path)
            self._text += self._pick("\n", "  # = [not] {a} 'key'\n", "\r\n")
        for key in own_header:
            self._sections(values[key], (*path, key), f"{header}.{self._key(key)}".lstrip("."))

    def _sections(self, value: Any, path: Path, header: str) -> None:
        if isinstance(value, dict):
            self._noise()
            self._place(path)
            self._text += f"[{self._spaced(header)}]\n"
            self._table(value, path, header)
            return
        for index, item in enumerate(value):
            self._noise()
            self._place(path)
            self._place((*path, index))
            self._text += f"[[{header}]]\n"
            self._table(item, (*path, index), header)

    def _assign(self, key: str, value: Any, path: Path) -> None:
        self._place((*path, key))
        if isinstance(value, dict) and len(value) == 1 and self._flip():
            self._text += self._key(key) + self._pick(".", " . ")
            ((inner, value),) = value.items()
            self._assign(inner, value, (*path, key))
            return
        self._text += self._key(key) + self._pick(" = ", "=", "\t=  ")
        self._value(value, (*path, key))

    def _value(self, value: Any, path: Path) -> None:
        if isinstance(value, dict):
            self._inline_table(value, path)
        elif isinstance(value, list):
            self._array(value, path)
        elif isinstance(value, str):
            self._text += self._string(value)
        else:
            self._text += (
                {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
            )

    def _inline_table(self, value: Mapping[str, Any], path: Path) -> None:
        self._text += "{ "
        for number, key in enumerate(value):
            self._text += ", " if number else ""
            self._assign(key, value[key], path)
        self._text += " }"

    def _array(self, value: list[Any], path: Path) -> None:
        self._text += "["
        for index, item in enumerate(value):
            self._text += self._pick("", "\n  ", " # [\n\n")
            self._place((*path, index))
            self._value(item, (*path, index))
            self._text += self._pick(",", " ,") if index + 1 < len(value) or self._flip() else ""
        self._text += self._pick("", "\n") + "]"

    def _string(self, value: str) -> str:
        basic = msgspec.json.encode(value).decode()  # a JSON string is a TOML string
        ways = [basic, f'"""\n{basic[1:-1]}"""']
        if not value.startswith(" "):  # the backslash would swallow it
            ways.append(f'"""\\\n  {basic[1:-1]}"""')
        if "'" not in value and value.isprintable():
            ways += [f"'{value}'", f"'''\n{value}'''"]
        return self._pick(*ways)

    def _key(self, key: str) -> str:
        if key.isascii() and key.replace("-", "").replace("_", "").isalnum() and self._flip():
            return key
        return msgspec.json.encode(key).decode()

    def _noise(self) -> None:
        self._text += self._pick("", "\n", "# a = [1]\n", "\t \n\n", "\r\n")

    def _spaced(self, header: str) -> str:
        return self._pick(header, f" {header}\t")

    def _place(self, path: Path) -> None:
        self.places.setdefault(path, 1 + self._text.count("\n"))

    def _flip(self) -> bool:
        return self._style.random() < 0.5

    def _pick(self, *ways: str) -> str:
        return self._style.choice(ways)


def _is_table_like(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict)


class _Plain(random.Random):
    """Takes the first way every time."""

    def random(self) -> float:
        return 1.0

    def choice(self, seq: Any) -> Any:
        return seq[0]


def plain(document: Mapping[str, Any]) -> str:
    """The document on one line per key."""
    return Writer(_Plain()).write(document)
