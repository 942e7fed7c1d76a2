"""Every key is found on the line where it stands, however the text is written."""

import random
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.catalog.toml_lines import line_at, lines_of
from tests.unit.catalog.toml_writer import Writer

TEXT = '''\
# a comment with [a] and b = 1
title = "x" # and [[another]]

[a."b.c"]   # a header
one.two = { three = [1,
  2, { deep = "]" } ], four = 'it # is' }
long = """
[not.a.table]
quoted "" here""""
raw = \'\'\'
"""
\'\'\'

[[a.list]]
name = 1
[a.list.inner]
x = 1979-05-27 07:32:00
[[a.list]]

[[a.list.more]]
name = 2
'''


def test_each_way_to_write_a_key_is_followed() -> None:
    lines = lines_of(TEXT)
    assert lines == {
        ("title",): 2,
        ("a",): 4,
        ("a", "b.c"): 4,
        ("a", "b.c", "one"): 5,
        ("a", "b.c", "one", "two"): 5,
        ("a", "b.c", "one", "two", "three"): 5,
        ("a", "b.c", "one", "two", "three", 0): 5,
        ("a", "b.c", "one", "two", "three", 1): 6,
        ("a", "b.c", "one", "two", "three", 2): 6,
        ("a", "b.c", "one", "two", "three", 2, "deep"): 6,
        ("a", "b.c", "one", "two", "four"): 6,
        ("a", "b.c", "long"): 7,
        ("a", "b.c", "raw"): 10,
        ("a", "list"): 14,
        ("a", "list", 0): 14,
        ("a", "list", 0, "name"): 15,
        ("a", "list", 0, "inner"): 16,
        ("a", "list", 0, "inner", "x"): 17,
        ("a", "list", 1): 18,
        ("a", "list", 1, "more"): 20,
        ("a", "list", 1, "more", 0): 20,
        ("a", "list", 1, "more", 0, "name"): 21,
    }
    assert tomllib.loads(TEXT)["a"]["b.c"]["long"].endswith('here"')


@pytest.mark.parametrize(
    ("path", "line"),
    [(("a", "list", 0, "inner", "y"), 16), (("a", "list", 7), 14), (("b", "c"), 1), ((), 1)],
)
def test_what_is_not_written_down_is_looked_for_around_it(path: tuple[str | int, ...], line: int) -> None:
    assert line_at(lines_of(TEXT), path) == line


WRITABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")  # what a JSON string can carry into TOML
SCALARS = st.one_of(st.integers(-99, 99), st.booleans(), st.text(WRITABLE, max_size=9))
KEYS = st.one_of(st.sampled_from(["a", "b-1", "C_2", "7"]), st.text(WRITABLE, max_size=4))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tables = st.dictionaries(KEYS, inner, max_size=4)
    return st.one_of(tables, st.lists(inner, max_size=3), st.lists(tables, min_size=1, max_size=3))


DOCUMENTS = st.dictionaries(KEYS, st.recursive(SCALARS, _containers, max_leaves=12), max_size=5)


@given(DOCUMENTS, st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_any_document_written_any_way_has_the_lines_its_writer_gave_it(document: dict[str, Any], seed: int) -> None:
    writer = Writer(random.Random(seed))  # noqa: S311 - a style of writing is no secret
    text = writer.write(document)
    assert tomllib.loads(text) == document
    assert lines_of(text) == writer.places
