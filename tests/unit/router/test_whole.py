"""A whole answer on its way to a caller of the same protocol."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.errors import UpstreamFailed
from libs.pricing import Usage, cost, usd
from libs.protocols import PROTOCOLS, Protocol
from services.router import whole
from services.router.whole import Whole
from tests.fixtures.samples import NOW_MS, hold, order, price
from tests.fixtures.strategies import json_values, thorough

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "deepseek-v3",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "glm-4",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 2},
}
DOCUMENTS: dict[Protocol, dict[str, Any]] = {"openai_chat": CHAT, "anthropic_messages": MESSAGE}


def answer(document: object, protocol: Protocol = "openai_chat", **changes: Any) -> Whole:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return whole.answer(body, order(stream=False, protocol=protocol, **changes), NOW_MS)


def test_a_chat_answer_has_the_asked_name_and_its_cost() -> None:
    found = answer(CHAT)
    used = Usage(input=10, output=5)
    expected = {**CHAT, "model": "deepseek-chat", "usage": {**USAGE, "cost": usd(cost(price(), used, NOW_MS))}}
    assert json.loads(found.body) == expected
    assert (found.usage, found.upstream_id) == (used, "chatcmpl-1")
    assert list(json.loads(found.body)) == list(CHAT)


def test_a_messages_answer_has_the_asked_name_and_its_cost() -> None:
    found = answer(MESSAGE, "anthropic_messages")
    used = Usage(input=10, cache_read=2, output=5)
    shown = {**MESSAGE["usage"], "cost": usd(cost(price(), used, NOW_MS))}  # type: ignore[dict-item] # it is a dict
    assert json.loads(found.body) == {**MESSAGE, "model": "deepseek-chat", "usage": shown}
    assert (found.usage, found.upstream_id) == (used, "msg_1")


def test_the_cost_that_is_shown_is_never_above_the_hold() -> None:
    assert json.loads(answer(CHAT, hold=hold(cash=3)).body)["usage"]["cost"] == "0.000000003"


def test_every_other_value_keeps_its_bytes() -> None:
    body = rb'{"z":1.00,"choices":[ {"model":"deepseek-v3","x":"\u00e9\/","n":12345678901234567890} ],"a":{"b":1e5}}'
    assert answer(body).body == body.removesuffix(b"}") + b',"model":"deepseek-chat"}'


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "input_tokens": 0}, {"prompt_tokens": "10"}])
def test_without_figures_there_is_no_usage_and_no_cost(protocol: Protocol, usage: object) -> None:
    found = answer({**DOCUMENTS[protocol], "usage": usage}, protocol)
    assert found.usage is None
    assert json.loads(found.body)["usage"] == usage
    assert found.delivered > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"123",
        b'"x"',
        b"[]",
        b"{}",
        b"{",
        b"<html>",
        b"\xff",
        b'{"\xff":1,"choices":[],"content":[]}',
        b'{"choices":null,"content":null}',
        b'{"choices":{},"content":{}}',
        b'{"choices":"x","content":"x"}',
        b'{"choices":[],"content":[],"usage":[]}',
        b'{"choices":[],"content":[],"usage":"x"}',
        b'{"choices":[],"content":[],"x":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_answer_is_a_failure_and_no_crash(protocol: Protocol, body: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="sent something that is no answer"):
        answer(body, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_of_the_other_protocol_is_none(protocol: Protocol) -> None:
    (other,) = (document for name, document in DOCUMENTS.items() if name != protocol)
    with pytest.raises(UpstreamFailed):
        answer(other, protocol)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "It broke"}, UpstreamFailed),
        ({"type": "overloaded_error"}, errors.Overloaded),
        ({"code": "insufficient_quota"}, errors.UpstreamUnavailable),
        ("It broke", UpstreamFailed),
        ({}, UpstreamFailed),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_error_with_a_good_status_is_an_error(
    protocol: Protocol, error: object, kind: type[errors.GatewayError]
) -> None:
    with pytest.raises(kind):
        answer({**DOCUMENTS[protocol], "error": error}, protocol)


def test_an_error_of_null_is_none() -> None:
    assert answer({**CHAT, "error": None}).usage == Usage(input=10, output=5)


@pytest.mark.parametrize("identifier", [None, 17, "", "x" * 300, "a\u0000b", ["x"]])
def test_an_id_that_cannot_be_written_down_is_none(identifier: object) -> None:
    assert answer({**CHAT, "id": identifier}).upstream_id is None


@given(
    st.dictionaries(st.sampled_from(["id", "model", "choices", "content", "usage", "error", "x"]), json_values()),
    st.sampled_from(PROTOCOLS),
)
@thorough
def test_no_json_at_all_makes_it_raise_anything_else(fields: dict[str, Any], protocol: Protocol) -> None:
    for document in (fields, {**DOCUMENTS[protocol], **fields}):
        try:
            found = answer(document, protocol)
        except errors.GatewayError:
            continue
        assert json.loads(found.body)["model"] == "deepseek-chat"
        assert found.usage is None or found.usage != Usage()
