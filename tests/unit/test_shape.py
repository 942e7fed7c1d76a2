"""The limits that keep files and functions readable, and names that say something."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("services", "libs", "deploy", "tests")
FILE_LINES: Final = 400
FUNCTION_LINES: Final = 50
NAMELESS: Final = {"base", "common", "core", "helper", "helpers", "manager", "util", "utils"}


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function and its lines, signature and docstring included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def faults(name: str, source: str) -> list[str]:
    """What is out of shape in one file."""
    found = []
    if (lines := len(source.splitlines())) > FILE_LINES:
        found.append(f"{name}: {lines} lines")
    found += [
        f"{name}: {function} has {lines} lines"
        for function, lines in functions(ast.parse(source))
        if lines > FUNCTION_LINES
    ]
    if nameless := NAMELESS.intersection(Path(name).with_suffix("").parts):
        found.append(f"{name}: a module should be called after what it does, not {', '.join(sorted(nameless))}")
    return found


def test_every_file_is_in_shape() -> None:
    assert len(sources()) > 50
    found = [faults(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in sources()]
    assert [fault for each in found for fault in each] == []


@pytest.mark.parametrize(
    ("name", "source", "reason"),
    [
        ("libs/long.py", "x = 1\n" * 401, "libs/long.py: 401 lines"),
        ("libs/deep.py", "async def f():\n" + "    g()\n" * 50, "libs/deep.py: f has 51 lines"),
        ("libs/runtime/utils.py", "", "libs/runtime/utils.py: a module"),
        ("services/core/app.py", "", "services/core/app.py: a module"),
    ],
)
def test_a_file_out_of_shape_is_found(name: str, source: str, reason: str) -> None:
    (fault,) = faults(name, source)
    assert fault.startswith(reason)


def test_a_file_at_the_limits_is_in_shape() -> None:
    source = "def f():\n" + "    g()\n" * 49 + "x = 1\n" * 350
    assert faults("libs/pricing.py", source) == []
