"""Whatever JSON a request holds, a provider takes it or says why it does not; nothing else comes out."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo.provider.strict import refusal_of
from libs.protocols import PROTOCOLS
from tests.unit.provider_simulator.calls import MESSAGES, PLAIN, plan_of

WORDS = st.sampled_from(
    (
        *("user", "assistant", "tool", "system", "text", "image", "image_url", "tool_use", "tool_result", "thinking"),
        *("function", "object", "enabled", "disabled", "c1", "", " ", "{}", "m", "base64", "url", "required", "auto"),
    )
)
KEYS = st.sampled_from(
    (
        *("role", "content", "type", "text", "tool_calls", "id", "function", "name", "arguments", "tool_call_id"),
        *("source", "media_type", "data", "thinking", "signature", "input", "tool_use_id", "is_error", "image_url"),
        *("url", "parameters", "properties", "required", "enum", "input_schema", "reasoning_content", "cache_control"),
    )
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.floats(-2, 2), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)
TURNS = st.lists(st.fixed_dictionaries({"role": WORDS, "content": VALUES}, optional={"tool_calls": VALUES}), max_size=4)
FIELDS = st.dictionaries(
    st.sampled_from(
        (
            *("tools", "tool_choice", "thinking", "stop", "system", "response_format", "metadata", "output_config"),
            *("stop_sequences", "temperature", "top_k", "stream", "reasoning_effort", "enable_thinking", "model"),
            *("max_tokens", "thread", "cache_control", "thinking_budget", "parallel_tool_calls"),
        )
    ),
    VALUES,
    max_size=5,
)
PROVIDERS = ("deepseek", "qwen", "zhipu", "anthropic", "somebody")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("provider", PROVIDERS)
@settings(max_examples=30)
@given(messages=st.one_of(TURNS, VALUES), fields=FIELDS)
def test_any_json_is_taken_or_refused(provider: str, protocol: str, messages: Any, fields: dict[str, Any]) -> None:
    body = msgspec.json.encode({"model": "m", "max_tokens": 9, "messages": messages, **fields})
    told = refusal_of(provider, protocol, {}, body)
    assert told is None or told


@given(st.binary(max_size=40))
def test_any_bytes_are_refused(body: bytes) -> None:
    for protocol in PROTOCOLS:
        assert refusal_of("somebody", protocol, {}, body)


@pytest.mark.parametrize("path", [PLAIN, MESSAGES])
@settings(max_examples=50)
@given(schema=st.dictionaries(KEYS, VALUES, max_size=5))
def test_a_tool_of_any_schema_can_be_called(path: str, schema: dict[str, Any]) -> None:
    schema = {"properties": {}, **schema, "type": "object"}
    tool: dict[str, Any] = {"name": "t", "input_schema": schema}
    if path == PLAIN:
        tool = {"type": "function", "function": {"name": "t", "parameters": schema}}
    turns = [{"role": "user", "content": "[sim: tools=t]"}]
    request = {"model": "m", "max_tokens": 99, "messages": turns, "tools": [tool]}
    assert plan_of(path, msgspec.json.encode(request)).status in (200, 400)
