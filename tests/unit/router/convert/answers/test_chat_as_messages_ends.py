"""Why an answer ended, in the Anthropic caller's words."""

from typing import Any

import msgspec
import pytest

from libs.pricing import Usage
from services.router import chat_wire
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from tests.fixtures.conversions import Json, answering, as_messages, chunk, chunk_of, every_chunking, sent
from tests.fixtures.strict_messages_stream import check

CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
PLAIN: dict[str | None, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "end_turn",
    "function_call": "end_turn",
    "content_filter": "refusal",
    "sensitive": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
    "eos": "end_turn",
    "network_error": "end_turn",
    "": "end_turn",
    None: "end_turn",
}


def end(how: str, *documents: Json, **changes: Any) -> Json:
    """The `delta` of the last `message_delta`."""
    events = as_messages(sent(*documents), how, **changes)
    check(events)
    delta: Json = events[-2]["delta"]
    return delta


@every_chunking
@pytest.mark.parametrize("finish", PLAIN)
def test_r_finish_map_of_text(how: str, finish: str | None) -> None:
    delta = end(how, chunk(content="Hi"), chunk(finish))
    assert (delta["stop_reason"], delta["stop_sequence"]) == (PLAIN[finish], None)


@every_chunking
@pytest.mark.parametrize("finish", PLAIN)
def test_r_finish_map_of_calls_is_tool_use_unless_cut_or_refused(how: str, finish: str | None) -> None:
    expected = "tool_use" if PLAIN[finish] == "end_turn" else PLAIN[finish]
    assert end(how, chunk(tool_calls=[CALL]), chunk(finish))["stop_reason"] == expected


@every_chunking
@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", None, "whatever"])
def test_s_finish_stop_with_tools_is_tool_use(how: str, finish: str | None) -> None:
    assert end(how, chunk(tool_calls=[CALL]), chunk(finish))["stop_reason"] == "tool_use"


@every_chunking
def test_s_finish_the_last_word_wins(how: str) -> None:
    assert end(how, chunk("stop"), chunk("length", content="x"), chunk(None))["stop_reason"] == "max_tokens"


@every_chunking
@pytest.mark.parametrize(
    ("matched", "reason", "sequence"),
    [
        ("END", "stop_sequence", "END"),
        ("other", "end_turn", None),
        (151645, "end_turn", None),
        (["END"], "end_turn", None),
        (None, "end_turn", None),
    ],
)
def test_s_stop_sequence_reported_by_the_provider(how: str, matched: Any, reason: str, sequence: str | None) -> None:
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": matched}
    delta = end(how, chunk(content="Hi"), chunk_of(last), stops=("\n\n", "END"))
    assert delta == {"stop_reason": reason, "stop_sequence": sequence}


@every_chunking
def test_s_stop_sequence_reported_beside_a_call_or_a_cut_is_not_the_reason(how: str) -> None:
    last = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    assert end(how, chunk(tool_calls=[CALL]), chunk_of(last), stops=("END",))["stop_reason"] == "tool_use"
    cut = {**last, "finish_reason": "length"}
    assert end(how, chunk(content="Hi"), chunk_of(cut), stops=("END",))["stop_reason"] == "max_tokens"


@every_chunking
@pytest.mark.parametrize("finish", ["content_filter", "sensitive"])
def test_s_refusal_content_filter(how: str, finish: str) -> None:
    delta = end(how, chunk(content="Hi"), chunk(finish))
    assert delta == {"stop_reason": "refusal", "stop_sequence": None, "stop_details": None}


@every_chunking
@pytest.mark.parametrize("finish", ["stop", "content_filter", "tool_calls"])
def test_s_refusal_is_said_and_is_the_reason(how: str, finish: str) -> None:
    events = as_messages(sent(chunk(refusal="I "), chunk(refusal="won't."), chunk(finish, refusal=None)), how)
    check(events)
    assert "".join(event["delta"]["text"] for event in events if "text" in event.get("delta", {})) == "I won't."
    assert events[-2]["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize(
    "finish", ["network_error", "insufficient_system_resource", "error", "abort", "\x00", "é" * 99]
)
def test_a_broken_finish_never_crashes_the_machine_and_is_known_after(finish: str) -> None:
    machine = ChatAsMessages(answering())
    machine.take(msgspec.convert(chunk(finish, content="x"), chat_wire.Chunk))
    assert machine.finish == finish
    assert machine.close(Usage(), None)[-1] == {"type": "message_stop"}
