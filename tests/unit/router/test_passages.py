"""A whole answer's way to a caller of either protocol, as a stream and plain: what is told, and how it may end."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from libs import sse
from libs.contracts.profile import GENERIC, Profile
from libs.errors import GatewayError, Overloaded, UpstreamFailed
from libs.pricing import Usage
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.router import whole
from services.router.choose import Chosen, choose
from services.router.passages import Told, told_to
from services.router.prepare import Prepared, prepare
from tests.fixtures.conversions import DONE, answering, chunk, chunk_of, chunked, every_chunking, sent
from tests.fixtures.samples import NOW_MS, offer, order, shelf

CHAT = (chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo"))
FIGURES = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
FINISH = (chunk("stop"), chunk_of(usage=FIGURES))
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-upstream",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    },
}
TEXT = (
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
)
TOOL = {
    "type": "content_block_start",
    "index": 1,
    "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
}
STOPPED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
STOP = {"type": "message_stop"}
MESSAGES = sent(START, *TEXT, STOPPED, STOP, done=b"")


def way(
    upstream: Protocol, caller: Protocol, *, stream: bool = True, profile: Profile = GENERIC, **changes: Any
) -> Told:
    asked = order(protocol=caller, stream=stream, usage_wanted=True, **changes)
    converted = answering(model=asked.model) if upstream != caller else None
    return told_to(asked, chosen(upstream, profile), Prepared(b"", stream, (), converted), NOW_MS)


def chosen(protocol: Protocol, profile: Profile = GENERIC) -> Chosen:
    served = shelf(offer(protocol=protocol, profile=profile))
    return choose(served, "deepseek-chat", lambda _: "key", "")


def carried(told: Told, pieces: Sequence[bytes]) -> bytes:
    """What the caller has got when the provider's bytes are over, without the closing."""
    reader = sse.Reader()
    events = [event for piece in pieces for event in reader.feed(piece)] + list(reader.finish())
    return fed(told, events)


def fed(told: Told, events: Sequence[sse.Event]) -> bytes:
    got = b""
    for event in events:
        got += told.passage.feed(event)
        if told.passage.stop_reading:
            break
    return got


def names(got: bytes) -> list[str]:
    return [event.name for event in sse.Reader().feed(got)]


def said(got: bytes) -> list[Any]:
    return [json.loads(event.data) for event in sse.Reader().feed(got) if event.data != b"[DONE]"]


@every_chunking
def test_every_event_of_a_converted_stream_has_its_name(how: str) -> None:
    told = way(OPENAI_CHAT, ANTHROPIC_MESSAGES)
    got = carried(told, chunked(sent(*CHAT, *FINISH), how)) + told.passage.closing(Usage(input=10, output=5))
    assert names(got) == [event["type"] for event in said(got)]
    assert names(got)[:2] == ["message_start", "ping"]
    assert names(got)[-2:] == ["message_delta", "message_stop"]
    assert said(got)[-2]["usage"]["cost"] == "0.000008200"


@every_chunking
def test_a_converted_stream_for_an_openai_caller_ends_with_done(how: str) -> None:
    told = way(ANTHROPIC_MESSAGES, OPENAI_CHAT)
    got = carried(told, chunked(MESSAGES, how)) + told.passage.closing(Usage(input=10, output=5))
    assert got.endswith(DONE)
    assert said(got)[-1]["usage"]["prompt_tokens"] == 10
    assert told.passage.usage == Usage(input=10, output=5)


def test_u_no_include_usage_keeps_the_figures_from_the_caller_and_not_from_the_record() -> None:
    asked = order(protocol=OPENAI_CHAT, stream=True, usage_wanted=False)
    told = told_to(asked, chosen(ANTHROPIC_MESSAGES), Prepared(b"", True, (), answering()), NOW_MS)
    got = carried(told, [MESSAGES]) + told.passage.closing(Usage(input=10, output=5))
    assert all("usage" not in document and document["choices"] for document in said(got))
    assert (told.passage.usage, told.passage.final) == (Usage(input=10, output=5), True)


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_s_break_text_only_may_be_told_in_the_stream(caller: Protocol) -> None:
    broken: list[tuple[Protocol, bytes]] = [
        (OPENAI_CHAT, sent(*CHAT, done=b"")),
        (ANTHROPIC_MESSAGES, sent(START, *TEXT, done=b"")),
    ]
    for upstream, data in broken:
        told = way(upstream, caller)
        got = carried(told, [data])
        assert got
        assert not told.passage.complete
        assert not told.passage.must_abort
        assert b"message_stop" not in got
        assert b"[DONE]" not in got
        assert b'"finish_reason":"stop"' not in got


@pytest.mark.parametrize(
    ("upstream", "data"),
    [
        (OPENAI_CHAT, sent(*CHAT, chunk(tool_calls=[CALL]), done=b"")),
        (ANTHROPIC_MESSAGES, sent(START, *TEXT, TOOL, done=b"")),
    ],
)
def test_s_break_in_tool_is_cut_for_anthropic_callers_alone(upstream: Protocol, data: bytes) -> None:
    """Claude Code takes an error event after an opened tool block for the end of its turn."""
    for caller in (OPENAI_CHAT, ANTHROPIC_MESSAGES):
        told = way(upstream, caller)
        carried(told, [data])
        assert not told.passage.complete
        assert told.passage.must_abort == (caller == ANTHROPIC_MESSAGES)


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_s_error_chunk_ends_the_stream_with_the_provider_s_complaint(caller: Protocol) -> None:
    broken = {"error": {"message": "boom", "code": "overloaded_error"}}
    told = way(OPENAI_CHAT, caller)
    carried(told, [sent(*CHAT, broken)])
    assert isinstance(told.passage.failure, Overloaded)
    told = way(ANTHROPIC_MESSAGES, caller)
    carried(told, [sent(START, *TEXT, {"type": "error", "error": {"type": "api_error", "message": "boom"}}, STOP)])
    assert isinstance(told.passage.failure, UpstreamFailed)
    assert "boom" in told.passage.failure.message
    assert not told.passage.complete


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_a_provider_s_own_code_means_what_its_profile_says(caller: Protocol) -> None:
    told = way(OPENAI_CHAT, caller, profile=Profile(errors={"E77": "overloaded"}))
    carried(told, [sent(*CHAT, {"error": {"message": "x", "code": "E77"}})])
    assert isinstance(told.passage.failure, Overloaded)


COMPLETION = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 5,
    "model": "upstream",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": FIGURES,
}
MESSAGE = {
    "id": "msg_9",
    "type": "message",
    "role": "assistant",
    "model": "upstream",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 5},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
@pytest.mark.parametrize(("upstream", "document"), [(OPENAI_CHAT, COMPLETION), (ANTHROPIC_MESSAGES, MESSAGE)])
def test_s_nonstream_json_on_stream_request_is_streamed_out(
    upstream: Protocol, document: dict[str, Any], caller: Protocol, *, stream: bool
) -> None:
    """Whichever way the provider answers, the caller gets what it asked for, and the figures are the provider's."""
    told = way(upstream, caller, stream=stream)
    got = fed(told, whole.as_events(b"\n\n" + json.dumps(document).encode(), upstream))
    assert (told.passage.complete, told.passage.failure) == (True, None)
    assert told.passage.usage == Usage(input=10, output=5)
    if stream:
        assert b"Hello" in got
        return
    answer = json.loads(told.folded(Usage(input=10, output=5)))
    assert answer["model"] == "deepseek-chat"
    assert answer["usage"]["cost"] == "0.000008200"
    shown = answer["choices"][0]["message"] if caller == OPENAI_CHAT else answer["content"][0]
    assert shown.get("content") == "Hello" or shown.get("text") == "Hello"


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
@pytest.mark.parametrize(("upstream", "data"), [(OPENAI_CHAT, sent(*CHAT, *FINISH)), (ANTHROPIC_MESSAGES, MESSAGES)])
def test_a_provider_that_only_streams_gives_a_plain_answer_too(
    upstream: Protocol, data: bytes, caller: Protocol
) -> None:
    told = way(upstream, caller, stream=False)
    assert carried(told, [data]) == b""
    assert told.passage.complete
    answer = json.loads(told.folded(Usage(input=10, output=5)))
    assert answer["usage"]["cost"] == "0.000008200"
    assert "Hello" in json.dumps(answer)


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"5", b"{}", b'{"choices":5,"content":"x"}', b'{"code":"x"}'])
def test_r_html_or_anything_else_that_is_no_answer_is_an_error(protocol: Protocol, body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        whole.as_events(body, protocol)
    assert caught.value.status == 502


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_r_200_error_body_is_the_error_it_names(protocol: Protocol) -> None:
    told = way(protocol, OPENAI_CHAT)
    fed(told, whole.as_events(b'{"error":{"code":"overloaded_error","message":"busy"}}', protocol))
    assert isinstance(told.passage.failure, Overloaded)


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_a_stream_under_another_content_type_is_still_one(protocol: Protocol) -> None:
    data = sent(*CHAT, *FINISH) if protocol == OPENAI_CHAT else MESSAGES
    told = way(protocol, protocol)
    assert b"Hel" in fed(told, whole.as_events(data, protocol))
    assert told.passage.complete


def test_t_message_stop_but_connection_open_ends_at_once() -> None:
    told = way(ANTHROPIC_MESSAGES, OPENAI_CHAT)
    carried(told, [MESSAGES, sent(STOPPED, done=b"")])
    assert told.passage.stop_reading


def test_a_sign_of_life_is_a_ping_once_the_message_has_begun() -> None:
    begun: list[tuple[Protocol, bytes]] = [
        (OPENAI_CHAT, sent(*CHAT, done=b"")),
        (ANTHROPIC_MESSAGES, sent(START, done=b"")),
    ]
    for upstream, data in begun:
        told = way(upstream, ANTHROPIC_MESSAGES)
        before = told.passage.keep_alive()
        carried(told, [data])
        assert before.startswith((b": keep-alive", b"event: message_start"))
        assert told.passage.keep_alive() == b'event: ping\ndata: {"type":"ping"}\n\n'
        assert way(upstream, OPENAI_CHAT).passage.keep_alive() == b": keep-alive\n\n"


@pytest.mark.parametrize("upstream", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_context_overflow_inside_an_answer_names_the_model_s_limit(upstream: Protocol) -> None:
    """Without numbers Claude Code would not know it for what it is."""
    told = way(upstream, ANTHROPIC_MESSAGES)
    fed(told, whole.as_events(b'{"error":{"code":"context_length_exceeded","message":"too long"}}', upstream))
    assert told.passage.failure is not None
    assert re.search(r"prompt is too long: \d+ tokens > \d+ maximum", told.passage.failure.message)


@pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_an_emoji_that_was_cut_in_two_breaks_no_stream(caller: Protocol) -> None:
    halves = b'data: {"model":"x","choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n' + (
        b'data: {"model":"x","choices":[{"index":0,"delta":{"content":"\\ude00"}}]}\n\n'
    )
    told = way(OPENAI_CHAT, caller)
    got = carried(told, [halves + sent(*FINISH)])
    assert (told.passage.failure, told.passage.complete) == (None, True)
    assert b"\xf0\x9f\x98\x80" in got or b"\\ud83d" in got


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
def test_a_folded_answer_shows_the_cost_that_is_recorded(protocol: Protocol) -> None:
    """A provider's stream without figures is estimated: the caller is told the estimate, not what the events say."""
    nothing = {**STOPPED, "usage": None}
    data = sent(*CHAT, chunk("stop")) if protocol == OPENAI_CHAT else sent(START, *TEXT, nothing, STOP, done=b"")
    told = way(protocol, protocol, stream=False)
    carried(told, [data])
    answer = json.loads(told.folded(Usage(input=10, output=5)))
    assert answer["usage"]["cost"] == "0.000008200"


def test_names_of_dropped_fields_are_fit_for_a_header() -> None:
    """A caller chooses them."""
    odd = {"x\r\nset-cookie: a=b": 1, "你": 1, "y" * 9000: 1, **{f"k{n}": 1 for n in range(3000)}}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **odd}).encode()
    made = prepare(
        body,
        order(protocol=OPENAI_CHAT),
        offer(protocol=ANTHROPIC_MESSAGES),
        sign=lambda _: "tog1.x",
        recall=lambda _: None,
        started_ms=NOW_MS,
    )
    assert 0 < len(made.dropped) <= 32
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", name) for name in made.dropped)
