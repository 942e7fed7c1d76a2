"""What is read of a body whose tokens are to be counted: less is asked of it than of a request for an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import InvalidRequest
from services.edge.head import model_to_count
from tests.fixtures.strategies import json_values, thorough

HELLO = [{"role": "user", "content": "foo"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": HELLO},
        {"messages": HELLO, "tools": [{"name": "f", "input_schema": {}}]},
        {"tools": [{"name": "f", "input_schema": {}}]},
        {"messages": [], "tools": [{"name": "f"}]},
        {"messages": None, "system": "Be brief."},
        {"messages": HELLO, "max_tokens": None, "thread": {"type": "create"}, "temperature": 9},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    ],
)
def test_count_tokens_takes_bodies_without_a_length_and_with_tools_alone(fields: dict[str, Any]) -> None:
    assert model_to_count(json.dumps({"model": "m", **fields}).encode()) == "m"


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b'{"messages":[{"role":"user"}]}', "model", "model: Field required"),
        (b'{"model":"m"}', "messages", "messages: Field required"),
        (b'{"model":"m","messages":[],"tools":[],"system":""}', "messages", "messages: Field required"),
        (b'{"model":5,"messages":[]}', "model", "Invalid value for model: expected `str`, got `int`."),
        (
            b'{"model":"m","messages":"x"}',
            "messages",
            "Invalid value for messages: expected `array | null`, got `str`.",
        ),
        (b'{"model":"m","messages":[{}]}', "messages[0].role", "messages[0].role: Field required"),
        (b'{"model":"m","tools":{}}', "tools", "Invalid value for tools: expected `array | null`, got `object`."),
        (b"[]", None, "The body must be a JSON object: Expected `object`, got `array`."),
        (b'{"model":"m","messages":', None, "The body is not valid JSON: Input data was truncated."),
    ],
)
def test_count_tokens_names_the_field_that_is_wrong(body: bytes, param: str | None, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        model_to_count(body)
    assert (caught.value.param, caught.value.message) == (param, message)


@given(st.dictionaries(st.sampled_from(["model", "messages", "system", "tools", "x"]), json_values()), st.binary())
@thorough
def test_any_body_to_count_is_a_model_or_a_400(fields: dict[str, Any], raw: bytes) -> None:
    for body in (raw, json.dumps(fields).encode(), json.dumps({**fields, "model": "m"}).encode()):
        try:
            found = model_to_count(body)
        except InvalidRequest:
            continue
        assert isinstance(found, str)
