"""An Anthropic stream on its way to an Anthropic caller."""

import json
from typing import Any

import pytest

from libs import errors, sse
from libs.pricing import Usage, cost, usd
from tests.fixtures.samples import NOW_MS, hold, price
from tests.unit.router.streams import MESSAGES_TEXT, STOP, STOPPED, chunk, events, happening, messages, started

USED = Usage(input=10, cache_read=2, output=5)
TOOL = happening("content_block_start", index=1, content_block={"type": "tool_use", "id": "toolu_1", "name": "f"})


def test_an_answer_passes_byte_for_byte_up_to_its_last_figures() -> None:
    found = messages(MESSAGES_TEXT, STOPPED, STOP)
    assert found.raw.startswith(MESSAGES_TEXT)
    assert found.passage.closing(Usage()) == STOP
    assert (found.passage.complete, found.passage.final, found.passage.failure) == (True, True, None)
    assert found.passage.usage == USED
    assert found.passage.delivered == len("Hello wörld".encode())
    assert (found.passage.upstream_id, found.passage.must_abort) == ("msg_1", False)


def test_the_last_figures_have_their_cost() -> None:
    found = messages(MESSAGES_TEXT, STOPPED, STOP)
    last = found.documents[-1]
    assert last["usage"] == {"output_tokens": 5, "cost": usd(cost(price(), USED, NOW_MS))}
    assert last["delta"] == {"stop_reason": "end_turn"}
    assert events(found.raw)[-1].name == "message_delta"


def test_the_cost_that_is_shown_is_never_above_the_hold() -> None:
    found = messages(MESSAGES_TEXT, STOPPED, hold=hold(cash=3))
    assert found.documents[-1]["usage"]["cost"] == "0.000000003"


def test_figures_are_cumulative() -> None:
    later = happening("message_delta", delta={}, usage={"output_tokens": 9, "input_tokens": 20})
    assert messages(MESSAGES_TEXT, STOPPED, later).passage.usage == Usage(input=20, cache_read=2, output=9)


def test_an_hour_s_cache_writes_stay_told_apart_at_the_end() -> None:
    split = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}
    first = started(input_tokens=1, cache_creation_input_tokens=7, cache_creation=split, output_tokens=1)
    last = happening("message_delta", delta={}, usage={"cache_creation_input_tokens": 7, "output_tokens": 5})
    assert messages(first, last).passage.usage == Usage(input=1, cache_write=3, cache_write_1h=4, output=5)


@pytest.mark.parametrize("nothing", [{}, {"output_tokens": None}, {"input_tokens": 10}])
def test_figures_that_do_not_name_the_output_are_not_the_last_ones(nothing: dict[str, Any]) -> None:
    found = messages(MESSAGES_TEXT, happening("message_delta", delta={"stop_reason": "end_turn"}, usage=nothing), STOP)
    assert (found.passage.final, found.passage.complete) == (False, True)
    assert found.passage.usage == Usage(input=10, cache_read=2, output=1)
    assert "cost" not in found.documents[-1]["usage"]


def test_figures_that_are_all_zero_are_none() -> None:
    zero = happening("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 0, "output_tokens": 0})
    found = messages(started(), happening("content_block_delta", delta={"text": "Hi"}), zero, STOP)
    assert (found.passage.final, found.passage.complete, found.passage.delivered) == (False, True, 2)


def test_the_input_is_known_before_the_end() -> None:
    found = messages(MESSAGES_TEXT)
    assert (found.passage.usage, found.passage.final) == (Usage(input=10, cache_read=2, output=1), False)
    assert not found.passage.complete


def test_a_stop_reason_makes_an_answer_whole_without_its_stop() -> None:
    assert messages(MESSAGES_TEXT, STOPPED).passage.complete
    silent = happening("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 5})
    assert not messages(MESSAGES_TEXT, silent).passage.complete


def test_the_answer_ends_at_its_stop() -> None:
    found = messages(MESSAGES_TEXT, STOPPED, STOP + happening("ping"))
    assert found.passage.stop_reading
    assert found.documents[-1]["type"] == "message_delta"


def test_nothing_at_all_is_not_complete() -> None:
    for raw in (b"", happening("ping")):
        found = messages(raw)
        assert (found.passage.complete, found.passage.failure, found.passage.usage) == (False, None, None)


def test_an_error_event_is_a_failure_and_not_passed_on() -> None:
    broken = happening("error", error={"type": "overloaded_error", "message": "Overloaded"})
    found = messages(MESSAGES_TEXT, broken, STOP)
    assert isinstance(found.passage.failure, errors.Overloaded)
    assert found.raw == MESSAGES_TEXT
    assert (found.passage.stop_reading, found.passage.complete) == (True, False)


def test_an_error_without_a_word_is_a_failure_too() -> None:
    found = messages(happening("error"))
    assert found.passage.failure is not None
    assert found.passage.failure.message == "The provider broke off: no reason given"


def test_after_a_tool_was_begun_a_break_may_only_be_a_cut() -> None:
    broken = happening("error", error={"type": "api_error", "message": "It broke"})
    assert messages(MESSAGES_TEXT, TOOL, broken).passage.must_abort
    assert messages(MESSAGES_TEXT, TOOL, happening("content_block_stop", index=1), broken).passage.must_abort
    assert not messages(MESSAGES_TEXT, broken).passage.must_abort


def test_the_model_has_the_name_that_was_asked_for() -> None:
    for name in ("deepseek-v3", "claude-sonnet-4-20250514", "org/deepseek"):
        found = messages(started(name, input_tokens=1))
        assert found.documents[0]["message"]["model"] == "deepseek-chat"
        assert found.documents[0]["message"]["usage"] == {"input_tokens": 1}


def test_a_name_inside_the_answer_is_the_answer_s_own() -> None:
    raw = (
        happening("content_block_start", index=0, content_block={"type": "tool_use", "input": {"model": "other"}})
        + happening("content_block_delta", index=0, delta={"partial_json": '{"model":"other"}'})
        + happening("content_block_delta", index=0, delta={"text": '"model":"other"'})
    )
    assert messages(raw).raw == raw
    message = {"content": [{"model": "other"}], "metadata": {"model": "other"}, "model": "other"}
    first = {"type": "message_start", "message": message}
    found = messages(sse.encode(json.dumps(first).encode(), "message_start"))
    assert found.documents[0]["message"] == {**message, "model": "deepseek-chat"}


def test_events_that_came_later_to_the_protocol_pass() -> None:
    raw = happening("content_block_flourish", index=0, delta={"type": "new_delta", "flourish": {"a": 1.00}})
    assert messages(raw).raw == raw


def test_an_event_without_its_name_is_given_it() -> None:
    assert messages(b'data: {"type":"ping"}\n\n').raw == happening("ping")


@pytest.mark.parametrize("kind", ["ping\n\ndata: {}", "a\rb", "a\u0000", "\n"])
def test_a_type_cannot_break_the_frame(kind: str) -> None:
    found = messages(sse.encode(json.dumps({"type": kind}).encode()))
    assert (found.raw, type(found.passage.failure)) == (b"", errors.UpstreamFailed)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"delta": {"type": "thinking_delta", "thinking": "hm"}}, 2),
        ({"delta": {"type": "input_json_delta", "partial_json": '{"a'}}, 3),
        ({"delta": {"type": "signature_delta", "signature": "xxxx"}}, 0),
        ({"delta": {"type": "text_delta", "text": "日本"}}, 6),
        ({"content_block": {"type": "text", "text": "early"}}, 5),
        ({"delta": {"text": ["x"]}}, len('["x"]')),
        ({"delta": {}}, 0),
        ({"delta": None, "content_block": None}, 0),
    ],
)
def test_what_was_delivered_is_counted(fields: dict[str, Any], size: int) -> None:
    found = messages(happening("content_block_delta", index=0, **fields))
    assert (found.passage.delivered, found.passage.failure) == (size, None)


def test_an_openai_stream_is_no_anthropic_stream() -> None:
    assert messages(chunk()).passage.failure is not None
