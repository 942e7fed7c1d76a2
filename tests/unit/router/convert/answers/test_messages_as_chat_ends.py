"""How Anthropic's streams end for OpenAI's callers: whole, with an error, or cut. Through the passage that decides."""

import json

import pytest

from libs import sse
from libs.contracts.dispatch import Dispatch
from libs.errors import last_event_of
from libs.pricing import Usage
from services.router.converting import AsChat, as_chat_events
from services.router.messages_passage import MessagesPassage
from tests.fixtures.conversions import CHUNKINGS, DONE, Json, answering, chunked
from tests.fixtures.message_events import ended, opened, started, stream, text, tool
from tests.fixtures.samples import NOW_MS, order
from tests.fixtures.strict_chat_stream import checked

in_every_chunking = pytest.mark.parametrize("how", CHUNKINGS)
WHOLE = stream(started(), *text(0, "Hi"), *tool(1, "toolu_A", "Bash", "{}"), *ended("tool_use"))
BROKEN_OFF = (
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"type": "error", "error": {"type": "api_error", "message": "Internal"}},
)
SO_FAR = {
    "text": (started(), *text(0, "Hi")[:-1]),
    "tool": (started(), *tool(0, "toolu_A", "Bash", '{"comm')[:-1]),
}


def carried(data: bytes, how: str, asked: Dispatch) -> tuple[MessagesPassage, bytes]:
    """The passage after these bytes, with what the caller got of them."""
    passage = MessagesPassage(asked, AsChat(asked, NOW_MS, answering(), as_chat_events))
    reader, told = sse.Reader(), b""
    for piece in chunked(data, how):
        for event in reader.feed(piece):
            if not passage.stop_reading:
                told += passage.feed(event)
    return passage, told


def documents(told: bytes) -> list[Json]:
    reader = sse.Reader()
    events = [*reader.feed(told), *reader.finish()]
    return [json.loads(event.data) for event in events if event.data != b"[DONE]"]


@in_every_chunking
def test_t_text_tools_ends_with_usage_and_done(how: str) -> None:
    passage, told = carried(WHOLE, how, order(usage_wanted=True))
    assert passage.complete
    assert passage.usage == Usage(input=10, output=5)
    end = passage.closing(Usage(input=10, output=5))
    assert end.endswith(DONE)
    chunks = checked(documents(told + end))
    assert chunks[-1]["usage"]["cost"]
    assert b"usage" not in told


@in_every_chunking
def test_u_no_include_usage_has_no_usage_chunk(how: str) -> None:
    passage, told = carried(WHOLE, how, order(usage_wanted=False))
    chunks = documents(told + passage.closing(Usage(input=10, output=5)))
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert passage.usage == Usage(input=10, output=5)


@in_every_chunking
@pytest.mark.parametrize("so_far", SO_FAR)
@pytest.mark.parametrize("error", BROKEN_OFF, ids=["overloaded", "failed"])
def test_t_error_event_becomes_an_error_chunk(how: str, so_far: str, error: Json) -> None:
    passage, told = carried(stream(*SO_FAR[so_far], error, *ended()), how, order())
    assert passage.failure is not None
    assert (passage.complete, passage.must_abort, passage.stop_reading) == (False, False, True)
    assert b"[DONE]" not in told
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in documents(told))
    (last,) = documents(last_event_of(passage.failure, "openai_chat", "r"))
    assert last["error"]["message"]


@in_every_chunking
@pytest.mark.parametrize("so_far", SO_FAR)
def test_t_eof_before_stop_is_no_end(how: str, so_far: str) -> None:
    passage, told = carried(stream(*SO_FAR[so_far]), how, order())
    assert (passage.complete, passage.must_abort) == (False, False)
    assert told
    assert b"[DONE]" not in told
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in documents(told))


@in_every_chunking
def test_t_message_stop_but_connection_open_ends_at_once(how: str) -> None:
    late = stream(opened(2, "text", text="late"), {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}})
    passage, told = carried(WHOLE + late, how, order())
    assert (passage.complete, passage.stop_reading) == (True, True)
    assert b"late" not in told
    assert documents(passage.closing(Usage()))[0]["choices"][0]["finish_reason"] == "tool_calls"
