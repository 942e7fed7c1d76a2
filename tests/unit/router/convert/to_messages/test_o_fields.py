"""The top-level fields of an OpenAI request: what they become, what is refused, what is left out and listed."""

import hashlib
from typing import Any

import msgspec
import pytest

from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.terms import Terms
from services.router.convert.to_messages.request import convert
from tests.fixtures.chat_requests import HELLO, PLAIN, converted, forgotten, sent
from tests.fixtures.profiles import ANTHROPIC, GLM_MESSAGES, QWEN_MESSAGES

ONE_OF_BOTH = msgspec.structs.replace(PLAIN, one_of_temperature_top_p=True)
COOL = msgspec.structs.replace(PLAIN, max_temperature=0.5)
FEW_STOPS = msgspec.structs.replace(PLAIN, max_stop=1)
NAMED_USERS = msgspec.structs.replace(PLAIN, user_field=True)
WORDS_ONLY = msgspec.structs.replace(PLAIN, formats=("text",))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}}


def test_the_model_and_the_stream_are_those_of_the_offer() -> None:
    body = sent(stream=True)
    assert (body["model"], body["stream"]) == ("their-model", True)
    assert sent(stream=False)["stream"] is False


@pytest.mark.parametrize(
    "fields", [{}, {"max_tokens": 10}, {"max_completion_tokens": 20}, {"max_tokens": 10, "max_completion_tokens": 20}]
)
def test_o_max_tokens_is_the_cap_that_was_held_for_whatever_the_body_says(fields: Any) -> None:
    """Which of the two counts was decided when the credit was set aside."""
    assert sent(cap=77, **fields)["max_tokens"] == 77


def test_o_temperature_1_8_becomes_1() -> None:
    assert sent(temperature=1.8)["temperature"] == 1.0
    assert sent(temperature=0.3)["temperature"] == 0.3
    assert sent(temperature=0.8, profile=COOL)["temperature"] == 0.5


def test_o_temperature_is_left_out_with_thinking() -> None:
    made = converted(temperature=0.5, top_k=5, top_p=0.5, reasoning_effort="low", profile=ANTHROPIC)
    assert not made.body.keys() & {"temperature", "top_k", "top_p"}
    assert made.dropped == ("temperature", "top_k", "top_p")


def test_o_temperature_stays_when_thinking_is_switched_off() -> None:
    assert sent(temperature=0.5, reasoning_effort="none", profile=ANTHROPIC)["temperature"] == 0.5


def test_top_p_that_thinking_allows_is_kept() -> None:
    assert sent(top_p=0.97, reasoning_effort="low", profile=ANTHROPIC)["top_p"] == 0.97


def test_temperature_counts_where_only_one_of_both_is_taken() -> None:
    made = converted(temperature=0.5, top_p=0.5, profile=ONE_OF_BOTH)
    assert made.body["temperature"] == 0.5
    assert made.dropped == ("top_p",)
    assert sent(top_p=0.5, profile=ONE_OF_BOTH)["top_p"] == 0.5


def test_sampling_lies_inside_the_interval_that_the_provider_takes() -> None:
    body = sent(temperature=0, top_p=1, profile=GLM_MESSAGES)
    assert (body["temperature"], body["top_p"]) == (0.01, 0.99)


def test_top_k_is_passed_where_it_is_known() -> None:
    assert sent(top_k=20, profile=QWEN_MESSAGES)["top_k"] == 20
    assert converted(top_k=20, profile=GLM_MESSAGES).dropped == ("top_k",)
    assert "top_k" not in sent(top_k=-1, profile=QWEN_MESSAGES)


@pytest.mark.parametrize("name", ["temperature", "top_p"])
@pytest.mark.parametrize("value", [-0.1, "hot", True, []])
def test_sampling_that_is_no_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(**{name: value})
    assert raised.value.param == name


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("END", ["END"]),
        (["a", "b"], ["a", "b"]),
        ([" ", "a", "", "\n"], ["a"]),
        (" \n", None),
        ([], None),
        (None, None),
    ],
)
def test_o_stop_is_always_an_array_without_whitespace(stop: Any, expected: Any) -> None:
    made = converted(stop=stop)
    assert made.body.get("stop_sequences") == expected
    assert made.stops == tuple(expected or ())


def test_o_stop_has_no_more_than_the_provider_takes() -> None:
    made = converted(stop=["a", "b"], profile=FEW_STOPS)
    assert made.body["stop_sequences"] == ["a"]
    assert made.dropped == ("stop",)


def test_o_n_2_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        converted(n=2)
    assert raised.value.param == "n"
    assert raised.value.code == "unsupported_parameter"


@pytest.mark.parametrize("n", [1, None])
def test_o_n_1_is_fine(n: Any) -> None:
    assert "n" not in sent(n=n)


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": True},
        {"audio": {"voice": "x", "format": "wav"}},
        {"modalities": ["text", "audio"]},
        {"web_search_options": {}},
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(fields: Any) -> None:
    with pytest.raises(UnsupportedParameter) as raised:
        converted(**fields)
    assert raised.value.param in fields


def test_what_cannot_be_honoured_is_listed_once_in_the_order_of_the_body() -> None:
    fields: Any = {"seed": 1, "frequency_penalty": 0.5, "metadata": {"a": "b"}, "brand_new": 1, "prediction": {"x": 1}}
    made = converted(**fields)
    assert made.dropped == tuple(fields)
    assert not made.body.keys() & fields.keys()


@pytest.mark.parametrize("value", [None, False, {}, []])
def test_what_says_nothing_is_not_listed(value: Any) -> None:
    made = converted(store=value, logprobs=value, metadata=value, modalities=["text"], stream_options={"a": 1})
    assert made.dropped == ()


def test_o_response_format_text_adds_nothing() -> None:
    assert sent(response_format={"type": "text"}) == sent()


def test_o_response_format_json_object_is_a_sentence_after_the_system_prompt() -> None:
    body = sent({"role": "system", "content": "s"}, HELLO, response_format={"type": "json_object"})
    assert [block["text"] for block in body["system"]] == ["s", "Answer with one JSON object only."]
    assert "output_config" not in body


def test_o_response_format_json_schema_is_a_format_where_the_provider_has_it() -> None:
    body = sent(response_format=BY_SCHEMA, profile=ANTHROPIC)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "system" not in body


def test_o_response_format_json_schema_stands_beside_the_effort() -> None:
    body = sent(response_format=BY_SCHEMA, reasoning_effort="low", profile=ANTHROPIC)
    assert body["output_config"].keys() == {"effort", "format"}


def test_o_response_format_json_schema_is_a_sentence_and_listed_elsewhere() -> None:
    made = converted(response_format=BY_SCHEMA, profile=WORDS_ONLY)
    assert '"additionalProperties": false' in made.body["system"][0]["text"]
    assert made.dropped == ("response_format",)


def test_the_user_is_hashed_where_the_provider_wants_one() -> None:
    hashed = {"user_id": hashlib.sha256(b"ann").hexdigest()}
    assert sent(user="ann", profile=NAMED_USERS)["metadata"] == hashed
    assert sent(user="bob", safety_identifier="ann", profile=NAMED_USERS)["metadata"] == hashed
    assert converted(user="ann").dropped == ("user",)


@pytest.mark.parametrize(
    ("tier", "expected", "dropped"),
    [("auto", "auto", ()), ("default", "standard_only", ()), ("flex", None, ("service_tier",))],
)
def test_the_service_tier_is_translated(tier: str, expected: Any, dropped: Any) -> None:
    made = converted(service_tier=tier)
    assert made.body.get("service_tier") == expected
    assert made.dropped == dropped


def test_fields_that_the_host_refuses_are_dropped_last() -> None:
    profile = msgspec.structs.replace(PLAIN, drop_fields=("temperature", "top_p", "stop_sequences"))
    made = converted(temperature=0.5, stop="x", profile=profile)
    assert not made.body.keys() & {"temperature", "top_p", "stop_sequences"}
    assert made.dropped == ("temperature",)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"null", b'{"messages":[{"role":"user","content":"\xff"}]}', b"[" * 100_000, b'{"a":"\\ud83d"}'],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    terms = Terms(upstream_model="m", output_cap=9, upstream_stream=False, profile=PLAIN)
    with pytest.raises(InvalidRequest):
        convert(body, terms, forgotten)
