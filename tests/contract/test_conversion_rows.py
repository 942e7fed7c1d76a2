"""Every row of the list of conversion cases has a test under its name, so that a case is found by looking for it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
ROWS: Final = (TESTS / "data" / "conversion_rows.txt").read_text("utf-8").split()


def named(source: str) -> Iterator[str]:
    """The names of the tests in a module, in lower case."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name.lower()


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [name for path in sorted(TESTS.rglob("*.py")) for name in named(path.read_text("utf-8"))]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_test(names: list[str], row: str) -> None:
    assert [name for name in names if name == f"test_{row}" or name.startswith(f"test_{row}_")]


def test_every_row_is_there_once_and_is_the_beginning_of_a_name() -> None:
    assert len(ROWS) == len(set(ROWS)) > 141
    assert all(row == row.lower() and row.isidentifier() for row in ROWS)


def test_a_test_that_only_sounds_alike_does_not_count() -> None:
    source = "class A:\n    async def test_S_Text_is_told(self): ...\ndef s_text(): ...\ndef helper_test_s_text(): ..."
    assert list(named(source)) == ["test_s_text_is_told"]
