"""Where in a TOML text each key stands: ``tomllib`` gives values without lines, this gives lines without values.

The text must be one that ``tomllib`` accepts; nothing is checked a second time here.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_SPACE: Final = re.compile(r"[ \t]*")
_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_STRING: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\])*"|'[^']*\'''',
    re.DOTALL,
)
_BARE: Final = re.compile(r"[^,\]}#\r\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """The first line of every table, key and array item, counted from 1."""
    scan = _Scan(text)
    while scan.statement():
        pass
    return scan.lines


def line_at(lines: Mapping[Path, int], path: Path) -> int:
    """The line of ``path``, or of the nearest table around it that is written down."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scan:
    """One walk through a text from its first statement to its last."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._items: dict[Path, int] = {}  # array of tables → index of its last item
        self._table: Path = ()

    def statement(self) -> bool:
        """Reads one header or one assignment; False at the end of the text."""
        self._skip(_BLANK)
        if self._at >= len(self._text):
            return False
        if self._text.startswith("[", self._at):
            self._header()
        else:
            self._assignment(self._table)
        return True

    def _header(self) -> None:
        line, repeated = self._line_here(), self._text.startswith("[[", self._at)
        self._at += 2 if repeated else 1
        path: Path = ()
        keys = self._keys()
        for key in keys[:-1]:
            path = self._note(self._inside((*path, key)), line)
        path = (*path, keys[-1])
        if repeated:
            self.lines.setdefault(path, line)
            self._items[path] = self._items.get(path, -1) + 1
            path = (*path, self._items[path])
        self._table = self._note(path, line)
        self._at += 2 if repeated else 1

    def _assignment(self, table: Path) -> None:
        line, path = self._line_here(), table
        for key in self._keys():
            path = self._note((*path, key), line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        else:
            self._take(_STRING if self._text[self._at] in "\"'" else _BARE)

    def _array(self, path: Path) -> None:
        index = 0
        while self._next("]"):
            self._value(self._note((*path, index), self._line_here()))
            index += 1

    def _inline_table(self, path: Path) -> None:
        while self._next("}"):
            self._assignment(path)

    def _next(self, end: str) -> bool:
        """Steps over an opening bracket or a comma; False, and past it, at the closing bracket."""
        if self._text[self._at] in "[{,":
            self._at += 1
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            return self._next(end)
        if self._text[self._at] != end:
            return True
        self._at += 1
        return False

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            raw = self._take(_KEY_PART)
            keys.append(str(tomllib.loads(f"key = {raw}")["key"]) if raw[0] in "\"'" else raw)
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _inside(self, path: Path) -> Path:
        return (*path, self._items[path]) if path in self._items else path

    def _note(self, path: Path, line: int) -> Path:
        self.lines.setdefault(path, line)
        return path

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"not TOML at line {self._line_here()}")
        self._at = match.end()
        return match[0]
