"""Every body that is no request is a 400 that says which field is wrong, and never anything else."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.errors import InvalidRequest
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.edge.head import look
from tests.fixtures.strategies import json_values, thorough

both = pytest.mark.parametrize("protocol", PROTOCOLS)
GOOD: Final = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]'
COUNTS: Final = {OPENAI_CHAT: ("max_tokens", "max_completion_tokens", "n"), ANTHROPIC_MESSAGES: ("max_tokens",)}
NOT_COUNTS: Final = ["true", "false", '"10"', "-1", "0", "10.0", "10.5", "1e3", "1e400", str(2**63), str(2**300)]
NOT_COUNTS_EITHER: Final = [str((1 << 31) + 1), "[]", "{}", '""', "9" * 5000, "-0"]


def refused(body: bytes, protocol: Protocol) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        look(body, protocol)
    error = caught.value
    assert type(error) is InvalidRequest
    assert errors.status_of(error, protocol) == 400
    assert error.message.endswith(": Field required") or (error.message[0].isupper() and error.message.endswith("."))
    assert len(error.message) < 300
    assert json.loads(errors.body_of(error, protocol, "req_1"))["error"]["message"] == error.message
    return error


def with_field(name: str, value: str) -> bytes:
    return GOOD + f',"{name}":{value}}}'.encode()


@pytest.mark.parametrize(
    ("protocol", "name", "message"),
    [
        (OPENAI_CHAT, "model", "Missing required field: model."),
        (OPENAI_CHAT, "messages", "Missing required field: messages."),
        (ANTHROPIC_MESSAGES, "model", "model: Field required"),
        (ANTHROPIC_MESSAGES, "messages", "messages: Field required"),
        (ANTHROPIC_MESSAGES, "max_tokens", "max_tokens: Field required"),
    ],
)
def test_a_missing_field_is_named_in_the_words_of_the_protocol(protocol: Protocol, name: str, message: str) -> None:
    fields = {"model": "m", "messages": [{"role": "user"}], "max_tokens": 5}
    del fields[name]
    error = refused(json.dumps(fields).encode(), protocol)
    assert (error.message, error.param) == (message, name)


def test_messages_callers_cannot_leave_the_length_to_us_with_null() -> None:
    assert refused(with_field("max_tokens", "null"), ANTHROPIC_MESSAGES).param == "max_tokens"


@pytest.mark.parametrize("value", ["-1", "1.5", '"5"', "true"])
def test_top_k_of_messages_is_a_whole_number_from_zero(value: str) -> None:
    assert refused(with_field("top_k", value), ANTHROPIC_MESSAGES).param == "top_k"
    assert look(with_field("top_k", value), OPENAI_CHAT).model == "m"


@both
@pytest.mark.parametrize("value", ["[]", "null", "{}", '"Hi"', "true", "5", '["Hi"]', "[null]", "[[]]", "[5]"])
def test_messages_of_another_kind_are_refused(protocol: Protocol, value: str) -> None:
    error = refused(b'{"model":"m","max_tokens":5,"messages":%b}' % value.encode(), protocol)
    assert error.param is not None
    assert error.param.startswith("messages")
    assert "messages" in error.message


@both
@pytest.mark.parametrize("message", ["{}", '{"role":null}', '{"role":5}', '{"content":"Hi"}'])
def test_a_message_without_its_role_is_refused(protocol: Protocol, message: str) -> None:
    error = refused(b'{"model":"m","messages":[{"role":"user"},%b]}' % message.encode(), protocol)
    assert error.param == "messages[1].role"


@both
@pytest.mark.parametrize("value", ["null", "5", "true", "[]", "{}", '["m"]'])
def test_a_model_that_is_no_name_is_refused(protocol: Protocol, value: str) -> None:
    error = refused(b'{"model":%b,"messages":[{"role":"user"}]}' % value.encode(), protocol)
    assert error.param == "model"
    assert error.message.startswith("Invalid value for model: expected `str`")


@both
@pytest.mark.parametrize("value", [*NOT_COUNTS, *NOT_COUNTS_EITHER])
def test_a_count_is_a_whole_number_from_one(protocol: Protocol, value: str) -> None:
    for name in COUNTS[protocol]:
        error = refused(with_field(name, value), protocol)
        assert error.param == name
        assert error.message.startswith(f"Invalid value for {name}: ")


def test_there_are_at_most_128_choices() -> None:
    assert refused(with_field("n", "129"), OPENAI_CHAT).param == "n"


@both
@pytest.mark.parametrize("value", ["1", "0", '"true"', "[]", "{}", "1.0"])
def test_stream_is_true_or_false(protocol: Protocol, value: str) -> None:
    assert refused(with_field("stream", value), protocol).param == "stream"


@both
@pytest.mark.parametrize("name", ["temperature", "top_p"])
@pytest.mark.parametrize("value", ["-0.1", "2.1", "true", '"1"', "[]", "1e400", "-1e400", str(2**300)])
def test_a_temperature_out_of_its_range_is_refused(protocol: Protocol, name: str, value: str) -> None:
    assert refused(with_field(name, value), protocol).param == name


def test_messages_take_a_temperature_up_to_one() -> None:
    assert refused(with_field("temperature", "1.5"), ANTHROPIC_MESSAGES).param == "temperature"


@pytest.mark.parametrize(
    ("protocol", "name", "value", "param"),
    [
        (OPENAI_CHAT, "stop", "5", "stop"),
        (OPENAI_CHAT, "stop", "[5]", "stop[0]"),
        (OPENAI_CHAT, "stop", "{}", "stop"),
        (OPENAI_CHAT, "stream_options", '"x"', "stream_options"),
        (OPENAI_CHAT, "stream_options", "[]", "stream_options"),
        (OPENAI_CHAT, "stream_options", "true", "stream_options"),
        (OPENAI_CHAT, "stream_options", '{"include_usage":1}', "stream_options.include_usage"),
        (OPENAI_CHAT, "stream_options", '{"include_usage":"true"}', "stream_options.include_usage"),
        (ANTHROPIC_MESSAGES, "stop_sequences", '"x"', "stop_sequences"),
        (ANTHROPIC_MESSAGES, "stop_sequences", "[5]", "stop_sequences[0]"),
    ],
)
def test_other_fields_of_another_kind_are_refused(protocol: Protocol, name: str, value: str, param: str) -> None:
    assert refused(with_field(name, value), protocol).param == param


@both
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        GOOD + b"}}",
        GOOD,
        GOOD + b"} x",
        GOOD + b",}",
        GOOD + b',"x":NaN}',
        GOOD + b',"temperature":NaN}',
        GOOD + b',"temperature":Infinity}',
        GOOD + b',"max_tokens":01}',
        GOOD + b",'x':1}",
        GOOD + b',"x":"\x01"}',
        b'{"model":"\xff","messages":[{"role":"user"}]}',
        b'{"model":"\\ud800","messages":[{"role":"user"}]}',
        b'{"model":"m","messages":[{"role":"\xc3"}]}',
        b"\xef\xbb\xbf" + GOOD + b"}",
        (GOOD + b"}").decode().encode("utf-16"),
        b"model=m&messages=Hi",
        b"<xml/>",
        b"\x00",
        b"\xff\xfe",
    ],
)
def test_what_is_no_json_is_refused(protocol: Protocol, body: bytes) -> None:
    error = refused(body, protocol)
    assert "JSON" in error.message
    assert error.param is None or body.startswith(GOOD)


@both
@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"m"', b"true", b"[{}]", b"1e400"])
def test_a_body_is_an_object(protocol: Protocol, body: bytes) -> None:
    error = refused(body, protocol)
    assert "JSON object" in error.message
    assert error.param is None


@both
@pytest.mark.parametrize("opening", [b"[", b'{"x":'])
@pytest.mark.parametrize(
    "start", [b"", GOOD + b',"x":', b'{"model":"m","messages":', b'{"model":"m","messages":[{"role":']
)
def test_endless_nesting_is_refused(protocol: Protocol, opening: bytes, start: bytes) -> None:
    error = refused(start + opening * 100_000, protocol)
    assert len(error.message) < 300


@given(st.binary(max_size=60), st.sampled_from(PROTOCOLS))
@thorough
def test_any_bytes_at_all_are_a_request_or_a_400(body: bytes, protocol: Protocol) -> None:
    for candidate in (body, GOOD + body, GOOD + b"," + body + b"}"):
        try:
            found = look(candidate, protocol)
        except InvalidRequest:
            continue
        assert found.input_bound >= len(candidate)


NAMES = ["model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature"]


@given(
    st.dictionaries(st.sampled_from([*NAMES, "top_p", "stop", "stop_sequences", "x"]), json_values(), max_size=6),
    st.booleans(),
    st.sampled_from(PROTOCOLS),
)
@thorough
def test_any_json_at_all_is_a_request_or_a_400(fields: dict[str, Any], fill: bool, protocol: Protocol) -> None:
    message = {"role": "user", "content": fields}
    good = {"model": "m", "max_tokens": 5, "messages": [message]} if fill else {}
    body = json.dumps({**good, **fields}).encode()
    try:
        found = look(body, protocol)
    except InvalidRequest:
        return
    assert 1 <= found.choices <= 128
    assert found.output_cap is None or 1 <= found.output_cap <= 1 << 31
