"""Which tools are the provider's own, and so have no price here."""

import pytest
from hypothesis import given

from libs.server_tools import is_server_tool, name_of
from tests.fixtures.strategies import json_values, thorough

OWN = [
    None,
    "custom",
    "function",
    "bash_20250124",
    "text_editor_20250728",
    "computer_20251124",
    "memory_20250818",
    "browser_toolset_20260401",
]
THEIRS = [
    "web_search_20250305",
    "web_search",
    "web_fetch_20250910",
    "code_execution_20250825",
    "tool_search_tool_bm25_20251119",
    "advisor_20260301",
    "mcp_toolset",
    "builtin_function",
    "function_search",
    "customer_search",
    "retrieval",
    "",
    "Function",
]


@pytest.mark.parametrize("kind", OWN)
def test_a_tool_that_the_caller_runs_is_no_server_tool(kind: str | None) -> None:
    assert not is_server_tool(kind)
    assert not is_server_tool({"type": kind, "name": "web_search"})


@pytest.mark.parametrize("kind", THEIRS)
def test_a_tool_that_the_provider_runs_is_a_server_tool(kind: str) -> None:
    assert is_server_tool(kind)
    assert is_server_tool({"type": kind, "name": "x", "function": {"name": "x"}})


def test_a_tool_without_a_type_is_the_caller_s_own() -> None:
    assert not is_server_tool({"name": "web_search", "input_schema": {"type": "object"}})
    assert not is_server_tool({})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("web_search_20250305", "web_search"),
        ("web_search", "web_search"),
        ("web_search_20250305x", "web_search_20250305x"),
        ("x_19991231", "x_19991231"),
        ("", "''"),
        ("a b", "'a b'"),
        ("x" * 100, "x" * 60),
        (5, "'5'"),
    ],
)
def test_a_server_tool_is_named_without_its_date(kind: object, name: str) -> None:
    assert name_of(kind) == name


@given(json_values())
@thorough
def test_whatever_stands_among_the_tools_is_one_or_the_other(value: object) -> None:
    assert is_server_tool(value) in (True, False)
    assert is_server_tool({"type": value}) in (True, False)
    assert len(name_of(value)) <= 300
