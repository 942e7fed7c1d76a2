"""Both passages under everything that a broken or hostile provider may send: equal for every chunking, and a failure at
worst."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors, sse
from libs.errors import UpstreamFailed
from tests.fixtures.strategies import json_values, quick, thorough
from tests.unit.router import streams
from tests.unit.router.streams import (
    DONE,
    MESSAGES_TEXT,
    STOP,
    STOPPED,
    TEXT,
    USAGE,
    Carried,
    chat,
    chunk,
    compact,
    delta,
    events,
    happening,
    messages,
)

Carry = Callable[..., Carried]

CALLS = [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"model":"deepseek-v3"}'}}]
ALIAS = TEXT.replace(b"deepseek-chat", b"deepseek-v3") + chunk(usage=USAGE, model="deepseek-v3")
GOLDEN = {
    "chat text": (chat, TEXT + chunk(usage=USAGE) + DONE),
    "chat cut": (chat, TEXT[:-30]),
    "chat alias": (chat, ALIAS + DONE),
    "chat tools": (chat, chunk(delta(tool_calls=CALLS)) + chunk(delta(finish="tool_calls"), usage=USAGE)),
    "chat CRLF": (chat, (TEXT + DONE).replace(b"\n", b"\r\n")),
    "chat pings": (chat, b": ping\n\n" + TEXT.replace(b"\n\n", b"\n\n: ping\n\n") + DONE),
    "chat error": (chat, TEXT[:200] + b'\n\ndata: {"error":{"message":"x"}}\n\n' + DONE),
    "messages text": (messages, MESSAGES_TEXT + STOPPED + STOP),
    "messages cut": (messages, MESSAGES_TEXT[:-10]),
    "messages alias": (messages, MESSAGES_TEXT.replace(b"deepseek-chat", b"glm-4") + STOPPED + STOP),
    "messages CR": (messages, (MESSAGES_TEXT + STOPPED + STOP).replace(b"\n", b"\r")),
    "messages error": (messages, MESSAGES_TEXT + happening("error", error={"type": "overloaded_error"})),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_stream_comes_to_the_same_byte_by_byte(name: str) -> None:
    carry, raw = GOLDEN[name]
    assert carry(*[raw[i : i + 1] for i in range(len(raw))]).outcome == carry(raw).outcome


@given(st.sampled_from(sorted(GOLDEN)), st.data())
@thorough
def test_a_stream_comes_to_the_same_for_every_chunking(name: str, data: st.DataObject) -> None:
    carry, raw = GOLDEN[name]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert carry(*pieces).outcome == carry(raw).outcome


@pytest.mark.parametrize("carry", [chat, messages])
@pytest.mark.parametrize(
    "data",
    [
        b"123",
        b'"x"',
        b"null",
        b"[]",
        b"true",
        b"",
        b"{",
        b"not json",
        b"<html>Bad Gateway</html>",
        b"[DONE] ",
        b"\xff\xfe",
        b'{"id":"\xff","type":"\xff"}',
        b'{"\xff":1,"model":"other","type":"message_start","message":{"model":"other","\xff":1},"choices":5}',
        b'{"type":"ping","choices":"x","message":5}',
        b'{"type":"ping","x":' + b"[" * 100_000,
        b'{"type":"ping","error":' + b"[" * 100_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_a_failure_and_no_crash(carry: Carry, data: bytes) -> None:
    found = carry(b"data: " + data + b"\n\n")
    assert isinstance(found.passage.failure, UpstreamFailed)
    assert found.passage.failure.message == "The provider sent something that is no answer."
    assert (found.raw, found.passage.complete, found.passage.stop_reading) == (b"", False, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": []},
        {"usage": "x"},
        {"usage": 5},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [5]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"finish_reason": 5}]},
        {"choices": [{"index": "0"}]},
        {"error": "x"},
        {"error": {}},
        {"error": 0},
    ],
)
def test_a_chunk_with_a_wrong_type_where_it_matters_is_a_failure(fields: dict[str, Any]) -> None:
    found = chat(chunk(**fields))
    assert isinstance(found.passage.failure, UpstreamFailed)
    assert found.raw == b""


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"delta": None},
        {"delta": {}},
        {"index": None, "delta": {"content": 5}},
        {"delta": {"content": ["x"], "tool_calls": "x"}},
        {"delta": {"content": False, "function_call": "x"}, "finish_reason": ""},
    ],
)
def test_a_chunk_with_a_wrong_type_where_it_does_not_matter_passes(choice: dict[str, Any]) -> None:
    piece = chunk(choice)
    found = chat(piece)
    assert (found.raw, found.passage.failure, found.passage.complete) == (piece, None, False)


def test_tool_calls_of_any_shape_pass() -> None:
    odd = [None, 5, {"function": 5}, {"function": {"name": 5, "arguments": [1]}}]
    found = chat(chunk({"delta": {"tool_calls": odd}}))
    assert found.passage.failure is None
    [told] = found.documents[0]["choices"]
    assert told["delta"]["tool_calls"][:2] == [None, 5]


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": []},
        {"usage": "x"},
        {"message": []},
        {"message": {"usage": 5}},
        {"delta": "x"},
        {"delta": {"stop_reason": 5}},
        {"content_block": 5},
        {"type": None},
        {"type": 5},
    ],
)
def test_a_happening_with_a_wrong_type_where_it_matters_is_a_failure(fields: dict[str, Any]) -> None:
    for kind in ("message_start", "message_delta", "content_block_start"):
        found = messages(sse.encode(compact({"type": kind, **fields})))
        assert isinstance(found.passage.failure, UpstreamFailed)
        assert found.raw == b""


CHAT_NAMES = ["id", "model", "choices", "usage", "error", "object", "x"]
MESSAGES_NAMES = ["type", "message", "content_block", "delta", "usage", "error", "index", "x"]
WORDS = st.sampled_from(["message_start", "message_delta", "message_stop", "error", "ping", "content_block_delta"])


@given(st.lists(st.dictionaries(st.sampled_from(CHAT_NAMES), json_values()), max_size=3), st.booleans())
@thorough
def test_no_chunks_at_all_make_it_raise(documents: list[dict[str, Any]], wanted: bool) -> None:
    pieces = [chunk(delta(content="x")), *(b"data: " + compact(document) + b"\n\n" for document in documents)]
    check(chat(*pieces, usage_wanted=wanted))


@given(
    st.lists(st.tuples(WORDS, st.dictionaries(st.sampled_from(MESSAGES_NAMES), json_values())), max_size=3),
    st.dictionaries(st.sampled_from(["id", "model", "usage", "type", "text", "stop_reason"]), json_values()),
)
@thorough
def test_no_happenings_at_all_make_it_raise(documents: list[tuple[str, dict[str, Any]]], part: dict[str, Any]) -> None:
    pieces = [compact({"type": kind, **fields}) for kind, fields in documents]
    pieces += [compact({"type": "message_start", "message": part}), compact({"type": "message_delta", "delta": part})]
    check(messages(*(b"data: " + piece + b"\n\n" for piece in pieces)))


@given(st.sampled_from([chat, messages]), st.lists(st.binary(max_size=30), max_size=5))
@quick
def test_no_bytes_at_all_make_it_raise(carry: Carry, pieces: list[bytes]) -> None:
    check(carry(*pieces, b"\n\ndata: ", *pieces, b"\n\n"))


def check(found: Carried) -> None:
    """Whatever came in: what went out are whole events, and a failure has its sentence."""
    assert b"".join(sse.encode(event.data, event.name) for event in events(found.raw)) == found.raw
    assert found.passage.delivered >= 0
    if found.passage.failure is not None:
        assert errors.body_of(found.passage.failure, "openai_chat", "r")
        assert found.passage.stop_reading


def test_the_samples_are_whole_answers() -> None:
    assert {name: carry(raw).passage.complete for name, (carry, raw) in GOLDEN.items()} == {
        name: not name.endswith(("cut", "error")) for name in GOLDEN
    }
    assert streams.events(TEXT)[0].name == ""


def test_half_a_surrogate_pair_passes_as_it_came() -> None:
    """Some providers cut an emoji in two between events; the caller's parser puts it together again."""
    data = b'{"id":"1","choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}'
    found = chat(b"data: " + data + b"\n\n")
    assert data in found.raw
    assert found.passage.delivered == 3
