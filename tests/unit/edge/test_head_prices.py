"""What has no price or no bound does not pass the door unheld."""

import json
from typing import Any

import pytest

from libs.errors import UnsupportedParameter
from libs.protocols import PROTOCOLS, Protocol
from services.edge.head import ANY_NUMBER, look


def body(content: Any = "hello", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": "m", "max_tokens": 5, "messages": messages, **fields}).encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 20}]},
        {"tools": [{"type": "code_execution_20250522", "name": "x"}]},
        {"tools": [{"type": "function"}, {"type": "web_search"}], "enable_search": True},
        {"web_search_options": {}},
        {"web_search_options": {"search_context_size": "low"}},
        {"enable_search": True},
        {"mcp_servers": [{"type": "url", "url": "https://example.com"}]},
    ],
)
def test_what_is_billed_beside_tokens_is_refused(protocol: Protocol, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        look(body(**fields), protocol)
    assert caught.value.param in fields


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "fields",
    [
        {"tools": None},
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "x"}}]},
        {"tools": [{"name": "x", "input_schema": {"type": "object"}}]},
        {"tools": [{"type": "custom", "name": "x"}, {"type": "bash_20250124", "name": "bash"}]},
        {"web_search_options": None},
        {"enable_search": False},
        {"mcp_servers": []},
    ],
)
def test_tools_that_cost_tokens_alone_pass(protocol: Protocol, fields: dict[str, Any]) -> None:
    assert look(body(**fields), protocol).model == "m"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ],
)
def test_what_may_be_of_any_size_is_bounded_by_the_context_alone(part: dict[str, Any]) -> None:
    assert look(body([part]), "openai_chat").input_bound == ANY_NUMBER
    hidden = body([part])
    for word, spelt in ((b"doc", rb"d\u006fc"), (b"file", rb"f\u0069le"), (b"video", rb"v\u0069deo")):
        hidden = hidden.replace(word, spelt)
    assert look(hidden, "openai_chat").input_bound == ANY_NUMBER


def test_ordinary_words_are_not_taken_for_documents() -> None:
    plain = body('a "file" of type "document"', tools=[{"type": "function", "function": {"name": "file"}}])
    assert look(plain, "openai_chat").input_bound < 10_000
