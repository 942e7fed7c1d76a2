"""A caller's body on its way to the provider: four fields are changed, every other byte stays."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import InvalidRequest
from libs.protocols import ANTHROPIC_MESSAGES, PROTOCOLS, Protocol
from services.edge.head import look
from services.router import rewrite
from tests.fixtures.samples import offer, order
from tests.fixtures.strategies import json_values, thorough

OFFER = offer(upstream_model="deepseek-v3-0324")
MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'


def sent(body: bytes, **changes: Any) -> bytes:
    asked = order(**changes)
    return rewrite.request(body, asked, OFFER, stream=asked.stream)[0]


def fields(body: bytes, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent(body, **changes))
    return found


@pytest.mark.parametrize(
    "value",
    [
        b"123456789012345678901234567890",
        b"1.0",
        b"1.00",
        b"-0.0",
        b"1e5",
        b"1E+05",
        b"0.1000000000000000055511151231257827",
        rb'"\u00e9\u65E5 \/ \"model\":\"x\""',
        '"日本 é"'.encode(),
        b'{"b":1,"a":{"z":[1.0 , 2 ],"y":null}, "b":2}',
        b"[ ]",
        b"null",
        b"true",
        b'"a\\u0000b"',
    ],
)
def test_a_value_that_is_not_ours_to_change_keeps_its_bytes(value: bytes) -> None:
    body = b'{"z":%b,"model":"m",%b,"a":%b}' % (value, MESSAGES, value)
    assert sent(body, stream=False) == (
        b'{"z":%b,"model":"deepseek-v3-0324",%b,"a":%b,"max_tokens":1000}' % (value, MESSAGES, value)
    )


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values(), max_size=5))
@thorough
def test_every_other_field_arrives_as_it_was_said(more: dict[str, Any]) -> None:
    ours = {"model", "max_tokens", "max_completion_tokens", "stream_options"}
    others = {name: value for name, value in more.items() if name not in ours}
    body = json.dumps({**others, "model": "m"}, ensure_ascii=False).encode()
    raws = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    arrived = msgspec.json.decode(sent(body, stream=False), type=dict[str, msgspec.Raw])
    assert [name for name in arrived if name not in ours] == list(others)
    assert {name: bytes(arrived[name]) for name in others} == {name: bytes(raws[name]) for name in others}


@pytest.mark.parametrize("name", ['q"uote', "日本", "back\\slash", "", "a\nb"])
def test_strange_names_survive(name: str) -> None:
    assert fields(json.dumps({"model": "m", name: 1}).encode())[name] == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_model_is_the_offer_s_own(protocol: Protocol) -> None:
    body = b'{"model":"m","tools":[{"model":"m"}],"metadata":{"model":"m"}}'
    found = fields(body, protocol=protocol)
    assert found["model"] == "deepseek-v3-0324"
    assert (found["tools"], found["metadata"]) == ([{"model": "m"}], {"model": "m"})


@pytest.mark.parametrize(
    ("said", "arrives"),
    [
        (b"{}", {"max_tokens": 1000}),
        (b'{"max_tokens":null}', {"max_tokens": 1000}),
        (b'{"max_tokens": null }', {"max_tokens": 1000}),
        (b'{"max_tokens":5}', {"max_tokens": 1000}),
        (b'{"max_tokens":5000}', {"max_tokens": 1000}),
        (b'{"max_completion_tokens":5}', {"max_tokens": 1000}),
        (b'{"max_completion_tokens":5,"max_tokens":null}', {"max_tokens": 1000}),
        (b'{"max_completion_tokens":5,"max_tokens":9}', {"max_tokens": 1000}),
        (rb'{"max_\u0074okens":5}', {"max_tokens": 1000}),
        (b'{"max_tokens":5,"max_tokens":7}', {"max_tokens": 1000}),
    ],
)
def test_the_cap_that_was_held_for_is_sent_under_the_one_name_that_the_endpoint_reads(
    said: bytes, arrives: dict[str, Any]
) -> None:
    found = fields(said, stream=False)
    assert {name: found[name] for name in found if name != "model"} == arrives
    assert sent(said, stream=False).count(b'"max_tokens"') == ("max_tokens" in arrives)


@pytest.mark.parametrize(
    "said", [b"{}", b'{"max_completion_tokens":5}', b'{"max_tokens":null,"max_completion_tokens":5}']
)
def test_messages_know_the_cap_by_one_name_only(said: bytes) -> None:
    """Under another it would not be a cap, and the answer could pass what was held."""
    assert fields(said, protocol=ANTHROPIC_MESSAGES)["max_tokens"] == 1000


def test_a_stream_is_asked_for_its_usage() -> None:
    assert fields(b"{}")["stream_options"] == {"include_usage": True}
    assert fields(b'{"stream_options":null}')["stream_options"] == {"include_usage": True}
    assert fields(b'{"stream_options":{"include_usage":false}}')["stream_options"] == {"include_usage": True}
    body = b'{"stream_options":{"x": 1.00,"include_usage":null}}'
    assert b'"stream_options":{"x":1.00,"include_usage":true}' in sent(body)


def test_what_is_no_chat_stream_is_not() -> None:
    assert "stream_options" not in fields(b"{}", stream=False)
    assert "stream_options" not in fields(b"{}", protocol=ANTHROPIC_MESSAGES)
    kept = b'{"stream_options":{"include_usage":false}}'
    assert fields(kept, stream=False)["stream_options"] == {"include_usage": False}


@pytest.mark.parametrize("value", [b'"x"', b"[]", b"true", b"5", b'[{"include_usage":true}]'])
def test_stream_options_of_another_kind_are_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="stream_options") as caught:
        sent(b'{"stream_options":%b}' % value)
    assert caught.value.param == "stream_options"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"a":}', b"\xff", b'{"\xff":1}', b'{"a":' + b"[" * 100_000, b"[" * 100_000],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        sent(body)


@given(json_values(), st.sampled_from(PROTOCOLS), st.booleans())
@thorough
def test_any_json_at_all_is_sent_or_refused(value: Any, protocol: Protocol, stream: bool) -> None:
    for said in (value, {"stream_options": value, "max_tokens": value, "model": value}):
        try:
            found = json.loads(sent(json.dumps(said).encode(), protocol=protocol, stream=stream))
        except InvalidRequest:
            continue
        assert found["model"] == "deepseek-v3-0324"
        assert 1000 in (found.get("max_tokens"), found.get("max_completion_tokens"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_was_seen_at_the_door_is_what_is_sent(protocol: Protocol) -> None:
    """Names hidden or said twice mean the same to the door, to this rewriting, and so to the provider."""
    body = (
        rb'{"model":"a","\u006dodel":"b","messages":[{"role":"user"}],"n":1,"\u006e":2,"max_tokens":9,'
        rb'"max_t\u006fkens":7,"stream":false,"str\u0065am":true,"messages":[{"role":"user"},{"role":"user"}]}'
    )
    arrived = sent(body, protocol=protocol)
    assert len(msgspec.json.decode(arrived)) == len(set(msgspec.json.decode(arrived)))
    assert arrived.count(b'"n"') == arrived.count(b'"model"') == arrived.count(b'"messages"') == 1
    before, after = look(body, protocol), look(arrived, protocol)
    assert (before.choices, before.stream) == (after.choices, after.stream)
    assert msgspec.json.decode(arrived)["n"] == 2
