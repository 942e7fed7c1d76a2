"""The estimate of a request's tokens: near enough to plan with, whatever the body holds."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import tokens
from tests.fixtures.strategies import json_values, thorough

CLIENTS = Path(__file__).parents[2] / "data" / "clients"


def body(content: Any = "", **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode()


EMPTY = tokens.estimate(body())


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("a" * 1000, 270, 300),
        ("你" * 1000, 600, 700),
        ("こ" * 1000, 600, 700),
        ("한" * 1000, 600, 700),
        ("é" * 1000, 270, 300),
        ("ж" * 1000, 270, 300),
        ("、，。！" * 250, 600, 700),
        ("🙂" * 1000, 600, 700),
        ("lorem 你好 " * 100, 330, 370),
        ("“”…—" * 250, 270, 300),
    ],
)
def test_count_tokens_goes_by_the_kind_of_the_characters(text: str, least: int, most: int) -> None:
    for escaped in (False, True):
        sent = {"messages": [{"role": "user", "content": text}]}
        found = tokens.estimate(json.dumps(sent, ensure_ascii=escaped).encode()) - EMPTY
        assert least <= found <= most


def test_a_short_word_is_a_few_tokens() -> None:
    assert 5 <= tokens.estimate(body("foo")) <= 12


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900_000}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 900_000}},
    ],
)
def test_count_tokens_takes_every_image_for_1500(part: dict[str, Any]) -> None:
    one, two = body([part]), body([part, {"type": "text", "text": ""}, part])
    inside = body([{"type": "tool_result", "tool_use_id": "t", "content": [part]}])
    assert tokens.estimate(one) - EMPTY == 1500
    assert tokens.estimate(two) - EMPTY == 3000
    assert tokens.estimate(inside) - EMPTY == 1500


def test_a_document_of_text_is_text() -> None:
    part = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a" * 10_000}}
    assert 2700 <= tokens.estimate(body([part])) - EMPTY <= 3100


@pytest.mark.parametrize("name", ["tools", "functions", "response_format", "output_config"])
def test_count_tokens_includes_the_json_of_tools_and_forms(name: str) -> None:
    value = [{"name": "f", "description": "a" * 10_000}]
    plain = tokens.estimate(body("", **{name: value}))
    assert 2700 <= plain - EMPTY <= 3100
    wide = {"messages": [], name: [{"d": "你" * 1000}]}
    escaped, raw = (json.dumps(wide, ensure_ascii=how).encode() for how in (True, False))
    assert abs(tokens.estimate(escaped) - tokens.estimate(raw)) <= 2


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": ["b" * 1000]}}]},
        {"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "b" * 1000}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "b" * 1000, "signature": "s" * 5000}]},
        {"role": "assistant", "content": "", "reasoning_content": "b" * 1000},
        {"role": "tool", "tool_call_id": "t" * 5000, "content": "b" * 1000},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "b" * 1000}]},
        {"role": "user", "content": [{"type": "text", "text": "b" * 1000, "cache_control": {"type": "x" * 5000}}]},
    ],
)
def test_every_kind_of_block_counts_what_it_says(message: dict[str, Any]) -> None:
    assert 280 <= tokens.estimate(json.dumps({"messages": [message]}).encode()) <= 320


def test_the_system_prompt_counts_in_both_shapes() -> None:
    for system in ("b" * 1000, [{"type": "text", "text": "b" * 1000}]):
        assert 280 <= tokens.estimate(body("", system=system)) - EMPTY <= 320


def test_more_said_is_never_fewer_tokens() -> None:
    sizes = [tokens.estimate(body("word " * count)) for count in range(0, 200, 7)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("path", sorted(CLIENTS.glob("*.json")), ids=lambda path: path.stem)
def test_requests_of_real_clients_have_a_likely_size(path: Path) -> None:
    sent = json.loads(path.read_text("utf-8"))["body"]
    raw = json.dumps(sent, ensure_ascii=False).encode()
    assert 20 <= tokens.estimate(raw) <= len(raw) // 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"5", b'"x"', b'{"messages":"\\ud800"}', b"\xff", b'{"messages":' + b"[" * 100_000],
)
def test_what_is_no_request_is_a_quarter_of_its_bytes(raw: bytes) -> None:
    assert tokens.estimate(raw) == len(raw) // 4 + 1


def test_deep_nesting_is_counted_without_recursion() -> None:
    deep: Any = "b" * 1000
    for _ in range(400):
        deep = {"content": [deep]}
    assert 280 <= tokens.estimate(json.dumps({"messages": [deep]}).encode()) <= 400


@given(json_values(), st.binary(max_size=60))
@thorough
def test_any_body_at_all_has_an_estimate(value: Any, raw: bytes) -> None:
    for sent in (
        raw,
        json.dumps(value).encode(),
        json.dumps({"messages": value, "system": value, "tools": value}).encode(),
        json.dumps({"messages": [{"type": value, "source": value, "input": value, "content": value}]}).encode(),
    ):
        assert tokens.estimate(sent) >= 1
