"""A provider's whole answer on its way to a caller of either protocol, plain and streamed: why it ended, and whether it
is one at all."""

import json
from typing import Any, Final

import pytest

from libs.errors import GatewayError, Overloaded, UpstreamFailed, status_of
from libs.pricing import Usage
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.router import whole
from services.router.choose import choose
from services.router.passages import Told, terms_of, told_to
from services.router.prepare import Prepared
from tests.fixtures.conversions import DONE, answering, chunk, chunk_of, chunked, every_chunking, happenings, sent
from tests.fixtures.message_events import ended, started, stream, text, tool
from tests.fixtures.samples import NOW_MS, offer, order, shelf

Json = dict[str, Any]
FIGURES: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
USED: Final = Usage(input=10, output=5)
CALL: Final = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
CUT_CALL: Final = {**CALL, "function": {"name": "look", "arguments": '{"a": "cu'}}
both_ways: Final = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
callers: Final = pytest.mark.parametrize("caller", [OPENAI_CHAT, ANTHROPIC_MESSAGES])


def way(upstream: Protocol, caller: Protocol, *, stream: bool, **changes: Any) -> Told:
    asked = order(protocol=caller, stream=stream, usage_wanted=True)
    converted = answering(model=asked.model, **changes) if upstream != caller else None
    chosen = choose(shelf(offer(protocol=upstream)), asked.model, lambda _: "key", "")
    return told_to(asked, chosen, Prepared(b"", stream, (), converted), NOW_MS)


def completion(finish: Any, **message: Any) -> Json:
    said = {"role": "assistant", "content": "Hi", **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "theirs"}
    return {**head, "choices": [choice], "usage": FIGURES}


def message(stop: Any, *more: Json) -> Json:
    content = [{"type": "text", "text": "Hi"}, *more]
    figures = {"input_tokens": 10, "output_tokens": 5}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "theirs"}
    return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": figures}


def plainly(upstream: Protocol, caller: Protocol, answer: Json, **changes: Any) -> Json:
    """The plain answer that the caller gets for a plain one. Raises the error that it gets instead."""
    told = way(upstream, caller, stream=False, **changes)
    for event in whole.as_events(json.dumps(answer).encode(), upstream):
        told.passage.feed(event)
    if told.passage.failure is not None:
        raise told.passage.failure
    assert told.passage.complete
    found: Json = json.loads(told.folded(USED))
    return found


def streamed_out(upstream: Protocol, caller: Protocol, data: bytes, how: str = "whole") -> bytes:
    """The stream that the caller gets for one. Raises the error that ends it instead."""
    told, got = way(upstream, caller, stream=True), b""
    for event in happenings(chunked(data, how)):
        got += told.passage.feed(event)
        if told.passage.stop_reading:
            break
    if told.passage.failure is not None:
        assert b"message_stop" not in got
        assert DONE not in got
        raise told.passage.failure
    assert told.passage.complete
    return got + told.passage.closing(USED)


def documents(got: bytes) -> list[Json]:
    return [json.loads(event.data) for event in happenings([got]) if event.data != b"[DONE]"]


def stop_of(answer: Json, *, streamed: bool) -> tuple[Any, Any]:
    """Why an OpenAI provider's answer ended, as an Anthropic caller hears it."""
    if not streamed:
        found = plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, answer, stops=("END",))
        return found["stop_reason"], found["stop_sequence"]
    (choice,) = answer["choices"]
    said = {name: value for name, value in choice["message"].items() if value is not None}
    data = sent(chunk(**said), chunk(choice["finish_reason"]), chunk_of(usage=FIGURES))
    (delta,) = [e["delta"] for e in documents(streamed_out(OPENAI_CHAT, ANTHROPIC_MESSAGES, data)) if "usage" in e]
    return delta["stop_reason"], delta["stop_sequence"]


OF_FINISH: Final = {
    "stop": ("end_turn", "tool_use"),
    "length": ("max_tokens", "max_tokens"),
    "tool_calls": ("end_turn", "tool_use"),
    "function_call": ("end_turn", "tool_use"),
    "content_filter": ("refusal", "refusal"),
    "sensitive": ("refusal", "refusal"),
    "model_context_window_exceeded": ("model_context_window_exceeded", "model_context_window_exceeded"),
    "of_tomorrow": ("end_turn", "tool_use"),
}


@both_ways
@pytest.mark.parametrize("finish", OF_FINISH)
def test_r_finish_map_of_an_openai_provider(finish: str, streamed: bool) -> None:
    alone, with_call = OF_FINISH[finish]
    assert stop_of(completion(finish), streamed=streamed) == (alone, None)
    assert stop_of(completion(finish, tool_calls=[CALL]), streamed=streamed) == (with_call, None)


@pytest.mark.parametrize(("calls", "stop"), [(None, "end_turn"), ([CALL], "tool_use")])
def test_r_finish_map_null_in_a_complete_answer(calls: Any, stop: str) -> None:
    """A plain answer is whole once its JSON is, whatever it says of its end."""
    assert plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, completion(None, tool_calls=calls))["stop_reason"] == stop


BROKEN: Final = {
    "network_error": (UpstreamFailed, 502, 502),
    "error": (UpstreamFailed, 502, 502),
    "abort": (UpstreamFailed, 502, 502),
    "insufficient_system_resource": (Overloaded, 503, 529),
}


def ended_by(finish: str, how: str, caller: Protocol) -> object:
    """What an OpenAI provider's answer with this end comes to. Raises the error that the caller gets."""
    if how == "plain":
        return plainly(OPENAI_CHAT, caller, completion(finish))
    begun = [chunk(content="Hi")] if how == "stream after text" else []
    return streamed_out(OPENAI_CHAT, caller, sent(*begun, chunk(finish), chunk_of(usage=FIGURES)))


@callers
@pytest.mark.parametrize("how", ["plain", "stream", "stream after text"])
@pytest.mark.parametrize("finish", BROKEN)
def test_r_finish_map_of_a_break_is_an_error(finish: str, how: str, caller: Protocol) -> None:
    """Never a stop: an agent would take the half answer for the whole."""
    kind, for_openai, for_anthropic = BROKEN[finish]
    with pytest.raises(GatewayError) as caught:
        ended_by(finish, how, caller)
    assert type(caught.value) is kind
    assert status_of(caught.value, caller) == (for_openai if caller == OPENAI_CHAT else for_anthropic)


@pytest.mark.parametrize("finish", BROKEN)
def test_r_finish_map_of_a_break_is_an_error_in_a_plain_answer_that_is_passed_on(finish: str) -> None:
    sold = choose(shelf(offer()), "deepseek-chat", lambda _: "key", "")
    with pytest.raises(GatewayError) as caught:
        whole.answer(json.dumps(completion(finish)).encode(), order(stream=False), NOW_MS, terms_of(sold))
    assert type(caught.value) is BROKEN[finish][0]


OF_STOP: Final = {
    "end_turn": ("stop", "tool_calls"),
    "stop_sequence": ("stop", "tool_calls"),
    "pause_turn": ("stop", "tool_calls"),
    "compaction": ("stop", "tool_calls"),
    "tool_use": ("stop", "tool_calls"),
    "max_tokens": ("length", "length"),
    "model_context_window_exceeded": ("length", "length"),
    "refusal": ("content_filter", "content_filter"),
    "of_tomorrow": ("stop", "tool_calls"),
}


@both_ways
@pytest.mark.parametrize("stop", OF_STOP)
def test_r_finish_map_of_an_anthropic_provider(stop: str, streamed: bool) -> None:
    alone, with_call = OF_STOP[stop]
    assert finish_of(stop, [], streamed=streamed) == alone
    assert finish_of(stop, [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}], streamed=streamed) == (
        with_call
    )


def finish_of(stop: str, calls: list[Json], *, streamed: bool) -> Any:
    """Why an Anthropic provider's answer ended, as an OpenAI caller hears it."""
    if not streamed:
        return plainly(ANTHROPIC_MESSAGES, OPENAI_CHAT, message(stop, *calls))["choices"][0]["finish_reason"]
    blocks = [event for n, call in enumerate(calls, 1) for event in tool(n, call["id"], call["name"], "{}")]
    got = streamed_out(ANTHROPIC_MESSAGES, OPENAI_CHAT, stream(started(), *text(0, "Hi"), *blocks, *ended(stop)))
    (finish,) = [c["finish_reason"] for d in documents(got) for c in d["choices"] if c["finish_reason"]]
    return finish


@both_ways
def test_r_length_with_tools_of_an_openai_provider_is_max_tokens(streamed: bool) -> None:
    assert stop_of(completion("length", tool_calls=[CUT_CALL]), streamed=streamed) == ("max_tokens", None)
    found = plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, completion("length", tool_calls=[CUT_CALL]))
    assert found["content"][1]["input"] == {"_raw_arguments": '{"a": "cu'}


@every_chunking
def test_r_length_with_tools_of_an_anthropic_provider_is_length(how: str) -> None:
    events = (started(), *tool(0, "t1", "look", '{"a": "cu'), *ended("max_tokens"))
    got = documents(streamed_out(ANTHROPIC_MESSAGES, OPENAI_CHAT, stream(*events), how))
    choices = [choice for document in got for choice in document["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    said = [call["function"]["arguments"] for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert "".join(said) == '{"a": "cu'
    folded = plainly(
        ANTHROPIC_MESSAGES, OPENAI_CHAT, message("max_tokens", {"type": "tool_use", "id": "t", "name": "f"})
    )
    assert folded["choices"][0]["finish_reason"] == "length"


def test_r_content_parts_array_is_joined() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    found = plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, completion("stop", content=parts))
    assert found["content"] == [{"type": "text", "text": "one two"}]


@both_ways
def test_r_content_refusal_is_text_and_the_reason(streamed: bool) -> None:
    refused = completion("stop", content=None, refusal="I won't.")
    assert stop_of(refused, streamed=streamed) == ("refusal", None)
    assert plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, refused)["content"] == [{"type": "text", "text": "I won't."}]


@pytest.mark.parametrize("arguments", ["{'a': 1}", '{"a":', "look!", "[" * 5000, '{"a":1}{'])
def test_r_arguments_invalid_are_handed_on_under_a_name(arguments: str) -> None:
    call = {**CALL, "function": {"name": "look", "arguments": arguments}}
    found = plainly(OPENAI_CHAT, ANTHROPIC_MESSAGES, completion("tool_calls", content=None, tool_calls=[call]))
    assert [block["input"] for block in found["content"]] == [{"_raw_arguments": arguments}]
    assert found["stop_reason"] == "tool_use"


NO_ANSWERS: Final = (b"{}", b'{"id":"1","usage":{}}', b'{"choices":null}', b'{"content":null}')


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, ANTHROPIC_MESSAGES])
@pytest.mark.parametrize("body", NO_ANSWERS)
def test_r_200_without_choices_is_the_provider_s_failure(protocol: Protocol, body: bytes) -> None:
    with pytest.raises(UpstreamFailed) as passed_on:
        whole.answer(body, order(protocol=protocol, stream=False), NOW_MS)
    with pytest.raises(UpstreamFailed) as converted:
        whole.as_events(body, protocol)
    assert status_of(passed_on.value, protocol) == status_of(converted.value, protocol) == 502


@pytest.mark.parametrize("body", [b'{"choices":[]}', b'{"choices":[null,5]}'])
def test_r_200_without_choices_that_has_an_empty_list(body: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        whole.as_events(body, OPENAI_CHAT)
