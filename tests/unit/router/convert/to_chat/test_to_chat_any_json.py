"""Whatever a caller sends: an error that can be shown, or a request that a strict provider takes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.profile import Profile
from libs.errors import GatewayError, InvalidRequest
from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, GLM_CHAT, QWEN_CHAT
from tests.fixtures.strategies import json_values, thorough
from tests.fixtures.strict_chat_request import faults
from tests.unit.router.convert.to_chat.asks import (
    HELLO,
    WEATHER,
    Json,
    image,
    pdf,
    result,
    terms,
    text,
    thinking,
    use,
    variant,
)

PROFILES = [
    GENERIC_CHAT,
    DEEPSEEK_CHAT,
    QWEN_CHAT,
    GLM_CHAT,
    variant(GENERIC_CHAT, mid_system="keep", prefill=False, reasoning_replay="all", file_parts=True, tool_id_chars=12),
    variant(QWEN_CHAT, mid_system="hoist", string_content=True, one_of_temperature_top_p=True, user_field=True),
]
FILES_TOO = variant(QWEN_CHAT, file_parts=True)
FIELDS = (
    *("max_tokens", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format"),
    *("metadata", "temperature", "top_p", "top_k", "stop_sequences", "mcp_servers", "container", "thread", "x"),
)
KINDS = (
    *("text", "image", "document", "search_result", "tool_use", "tool_result", "thinking", "redacted_thinking"),
    *("tool_reference", "compaction", "web_search_tool_result", "json_schema", "enabled", "tool", "base64", "content"),
)
KEYS = (
    *("type", "text", "thinking", "id", "name", "input", "tool_use_id", "content", "is_error", "source", "title"),
    *("tool_name", "cache_control", "input_schema", "strict", "data", "url", "media_type", "budget_tokens", "effort"),
    *("format", "schema", "role"),
)


def shaped() -> st.SearchStrategy[Any]:
    """JSON that looks like a part of a request, and is not one."""
    leaves = st.one_of(st.sampled_from([*KINDS, "user", "assistant", "system"]), json_values(leaves=2))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=5)
        ),
        max_leaves=8,
    )


def wrong(body: Json, profile: Profile) -> list[str]:
    """What is wrong with what is made of it. A refusal that the caller can be shown is right."""
    try:
        found = convert(json.dumps(body).encode(), terms(profile))
    except GatewayError as error:
        return [] if error.status == 400 else [f"status {error.status}"]
    return faults(json.loads(msgspec.json.encode(found.body)), profile)


@given(st.dictionaries(st.sampled_from(FIELDS), shaped()), st.sampled_from(PROFILES), st.booleans())
@thorough
def test_any_value_anywhere_is_converted_or_refused(given: Json, profile: Profile, well_begun: bool) -> None:
    beginning = {"max_tokens": 9, "messages": [HELLO]} if well_begun else {}
    assert wrong({**beginning, **given}, profile) == []


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.lists(shaped(), max_size=4)), max_size=4)
)
@thorough
def test_any_content_of_a_message_is_converted_or_refused(said: list[tuple[str, list[Any]]]) -> None:
    turns = [{"role": role, "content": content} for role, content in said]
    assert wrong({"max_tokens": 9, "messages": [HELLO, *turns]}, FILES_TOO) == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"{", b'{"max_tokens":1,}', b"\xff", b'{"max_tokens":1,"messages":[]}'),
        b'{"x":"\xff","max_tokens":1,"messages":[{"role":"user","content":"x"}]}',
        b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b',"max_tokens":1}',
        b'{"max_tokens":' + b"9" * 5000 + b',"messages":[]}',
        b'{"max_tokens":1e999,"messages":[]}',
        b'{"max_tokens":1,"messages":[{"role":"user","content":"\\ud800"}]}',
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        convert(body, terms())


IDS = st.sampled_from(["a", "b", "c", "toolu_01" + "x" * 60])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
BLOCKS = {
    "user": st.one_of(
        st.builds(text, WORDS),
        st.builds(image),
        st.builds(pdf, title=st.none() | WORDS),
        st.builds(
            result,
            IDS,
            st.none() | WORDS | st.lists(st.builds(text, WORDS) | st.builds(image) | st.builds(pdf), max_size=2),
            is_error=st.none() | st.booleans(),
            cache_control=st.none() | st.just({"type": "ephemeral"}),
        ),
    ),
    "assistant": st.one_of(
        st.builds(text, WORDS),
        st.builds(thinking, WORDS),
        st.just({"type": "redacted_thinking", "data": "x"}),
        st.builds(use, IDS, st.sampled_from(["weather", "mcp__" + "y" * 70, "with.dots"]), city=WORDS),
    ),
    "system": st.builds(text, WORDS, cache_control=st.none() | st.just({"type": "ephemeral"})),
}


@st.composite
def turns(draw: st.DrawFn) -> Json:
    role = draw(st.sampled_from(["user", "assistant", "system"]))
    return {"role": role, "content": draw(st.one_of(WORDS, st.lists(BLOCKS[role], max_size=5)))}


@given(st.lists(turns(), max_size=9), st.sampled_from(PROFILES), st.booleans())
@thorough
def test_every_conversation_is_one_that_a_strict_provider_takes(
    said: list[Json], profile: Profile, armed: bool
) -> None:
    more = {"tools": [WEATHER], "tool_choice": {"type": "any"}} if armed else {}
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}, *said], "system": "S", **more}
    found = convert(json.dumps(body).encode(), terms(profile))
    assert faults(json.loads(msgspec.json.encode(found.body)), profile) == []
