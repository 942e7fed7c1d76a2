"""Anthropic's streams for OpenAI's callers: what becomes of each event."""

from typing import Any

import pytest

from libs.pricing import Usage
from services.router import messages_wire
from services.router.convert.answers import fold_chat
from services.router.convert.answers.finish_reasons import OF_STOP
from services.router.convert.answers.messages_as_chat import MessagesAsChat
from services.router.convert.replay import Thought
from tests.fixtures.chat_chunks import arguments, deltas, finish, joined, of_blocks
from tests.fixtures.conversions import CHUNKINGS, Json, answering, as_chat, happenings
from tests.fixtures.message_events import (
    PING,
    TWO_TOOLS,
    added,
    closed,
    ended,
    opened,
    started,
    stream,
    text,
    thinking,
    tool,
)
from tests.fixtures.strict_chat_stream import checked

in_every_chunking = pytest.mark.parametrize("how", CHUNKINGS)


def machine_of(*events: Json, **changes: Any) -> MessagesAsChat:
    """The machine after these events."""
    machine = MessagesAsChat(answering(**changes))
    for event in happenings([stream(*events)]):
        machine.take(messages_wire.decoder.decode(event.data))
    machine.close(Usage(), None)
    return machine


@in_every_chunking
def test_t_text_tools_comes_chunk_by_chunk(how: str) -> None:
    chunks = checked(as_chat(TWO_TOOLS, how, cost="0.01"))
    assert deltas(chunks) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me "},
        {"reasoning_content": "see."},
        {"content": "I will "},
        {"content": "look — 看."},
        {"tool_calls": [_begun(0, "toolu_A", "Bash")]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"command":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "ls"}'}}]},
        {"tool_calls": [_begun(1, "toolu_B", "Read")]},
        {"tool_calls": [{"index": 1, "function": {"arguments": '{"path": "/tmp"}'}}]},
        {},
    ]
    assert finish(chunks) == "tool_calls"
    figures = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert chunks[-1]["usage"].items() >= {**figures, "cost": "0.01"}.items()


def _begun(index: int, call_id: str, name: str) -> Json:
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}


def test_t_text_tools_has_one_head() -> None:
    head = {"id": "chatcmpl-msg_1", "object": "chat.completion.chunk", "created": 1_780_000_000, "model": "house-model"}
    for chunk in as_chat(TWO_TOOLS, "whole"):
        assert {name: chunk[name] for name in head} == head
    plain = {"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}
    assert of_blocks(*text(0, "Hi"))[1] == {**head, "choices": [plain]}


@in_every_chunking
def test_t_thinking_becomes_reasoning_content(how: str) -> None:
    chunks = of_blocks(*thinking(0, "Hm ", "思考."), *text(1, "Yes"), how=how)
    assert (joined(chunks, "reasoning_content"), joined(chunks, "content")) == ("Hm 思考.", "Yes")


def test_t_thinking_keeps_its_signature_for_replay() -> None:
    events = (
        *thinking(0, "Hm ", "yes.", signature="c2lnbmVk"),
        opened(1, "redacted_thinking", data="b3BhcXVl"),
        closed(1),
        *tool(2, "toolu_A", "Bash", "{}"),
        *thinking(3, "And", signature="bW9yZQ"),
        *tool(4, "toolu_B", "Bash", "{}"),
    )
    machine = machine_of(started(), *events, *ended("tool_use"))
    assert machine.thoughts == [
        Thought(text="Hm yes.", signature="c2lnbmVk"),
        Thought(text="", redacted="b3BhcXVl"),
        Thought(text="And", signature="bW9yZQ"),
    ]
    assert machine.call_ids == ["toolu_A", "toolu_B"]


@pytest.mark.parametrize(
    ("events", "thought"),
    [
        ([opened(0, "thinking", thinking="At once", signature="c2ln"), closed(0)], Thought("At once", "c2ln")),
        ([*thinking(0, signature="b21pdHRlZA")], Thought("", "b21pdHRlZA")),
        ([added(0, "thinking_delta", thinking="No start")], Thought("No start")),
        ([opened(0, "thinking"), added(0, "thinking_delta", thinking="No stop"), *text(1, "x")], Thought("No stop")),
        (
            [
                opened(0, "thinking"),
                added(0, "thinking_delta", thinking="a"),
                added(0, "signature_delta", signature=""),
                added(0, "signature_delta", signature="c2ln"),
                added(0, "signature_delta", signature=None),
            ],
            Thought("a", "c2ln"),
        ),
    ],
)
def test_t_thinking_however_it_comes_is_remembered(events: list[Json], thought: Thought) -> None:
    assert machine_of(started(), *events).thoughts == [thought]


def test_t_thinking_that_says_nothing_is_not_remembered() -> None:
    assert machine_of(started(), *thinking(0, signature=""), added(0, "signature_delta", signature="x")).thoughts == []


def test_t_thinking_that_is_hidden_is_remembered_and_not_shown() -> None:
    events = (*thinking(0, "Secret"), *text(1, "Open"))
    chunks = of_blocks(*events, thinking_hidden=True)
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {"content": "Open"}, {}]
    assert machine_of(started(), *events, thinking_hidden=True).thoughts == [Thought("Secret", "c2ln")]


@in_every_chunking
def test_t_two_message_delta_second_null_keeps_the_stop_reason(how: str) -> None:
    first, stop = ended("max_tokens", usage={"output_tokens": 7})
    second, _ = ended(None, usage={"output_tokens": 9})
    chunks = checked(as_chat(stream(started(), *text(0, "Hi"), first, second, stop), how))
    assert finish(chunks) == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 9


@pytest.mark.parametrize("stop", [*OF_STOP, "", "unknown", None])
@pytest.mark.parametrize("called", [True, False])
def test_every_stop_reason_has_its_finish_reason(stop: str | None, called: bool) -> None:
    blocks = tool(0, "toolu_A", "Bash", "{}") if called else text(0, "Hi")
    wanted = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "content_filter"}
    chunks = checked(as_chat(stream(started(), *blocks, *ended(stop)), "event"))
    assert finish(chunks) == wanted.get(str(stop), "tool_calls" if called else "stop")


@in_every_chunking
def test_a_refusal_without_text_says_why(how: str) -> None:
    end = ended("refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "Not allowed."})
    chunks = checked(as_chat(stream(started(), *thinking(0, "Hm"), *end), how))
    assert deltas(chunks)[-2:] == [{"refusal": "Not allowed."}, {}]
    message = fold_chat.fold(chunks)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "Not allowed.")


@pytest.mark.parametrize("details", [None, {}, {"explanation": None}, {"explanation": 5}, "no", []])
def test_a_refusal_that_says_nothing_has_no_refusal_text(details: Any) -> None:
    chunks = checked(as_chat(stream(started(), *ended("refusal", stop_details=details)), "event"))
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {}]


def test_a_refusal_after_text_leaves_the_text_alone() -> None:
    end = ended("refusal", stop_details={"explanation": "Not allowed."})
    assert joined(checked(as_chat(stream(started(), *text(0, "Well"), *end), "event")), "refusal") == ""


@in_every_chunking
def test_text_in_the_start_of_a_block_is_shown(how: str) -> None:
    chunks = of_blocks(opened(0, "text", text="Hel"), added(0, "text_delta", text="lo"), closed(0), how=how)
    assert joined(chunks, "content") == "Hello"


SERVER_TOOL = (
    opened(1, "server_tool_use", id="srvtoolu_1", name="web_search", input={}),
    added(1, "input_json_delta", partial_json='{"query": "secret"}'),
    closed(1),
    opened(
        2, "web_search_tool_result", tool_use_id="srvtoolu_1", content=[{"type": "web_search_result", "title": "t"}]
    ),
    closed(2),
    opened(3, "code_execution_tool_result", tool_use_id="srvtoolu_2", content={"stdout": "secret"}),
    closed(3),
    opened(4, "mcp_tool_use", id="mcptoolu_1", name="list", input={"a": 1}),
    closed(4),
    opened(5, "compaction", content="secret"),
    added(5, "compaction_delta", content="secret"),
    closed(5),
    opened(6, "of_tomorrow", text="secret", thinking="secret"),
    added(6, "of_tomorrow_delta", text="secret", thinking="secret", partial_json="secret"),
    closed(6),
)


@in_every_chunking
def test_what_the_provider_runs_itself_is_not_shown(how: str) -> None:
    cited = added(0, "citations_delta", citation={"type": "char_location", "cited_text": "secret"})
    chunks = of_blocks(*text(0, "Hi")[:-1], cited, closed(0), *SERVER_TOOL, *text(7, "!"), how=how)
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {"content": "Hi"}, {"content": "!"}, {}]
    assert finish(chunks) == "stop"


@pytest.mark.parametrize("event", [PING, {"type": "of_tomorrow"}, {"type": "content_block_delta"}, {"type": "error"}])
def test_an_event_that_says_nothing_gives_nothing(event: Json) -> None:
    machine = MessagesAsChat(answering())
    assert machine.take(messages_wire.decoder.decode(next(happenings([stream(event)])).data)) == []
    assert machine.start() != []


@in_every_chunking
def test_an_answer_without_content_is_whole(how: str) -> None:
    assert deltas(of_blocks(how=how)) == [{"role": "assistant", "content": ""}, {}]
    assert deltas(checked(as_chat(b"", how))) == [{"role": "assistant", "content": ""}, {}]


def test_the_role_comes_first_also_without_a_message_start() -> None:
    chunks = checked(as_chat(stream(*text(0, "Hi"), *ended()), "event"))
    assert deltas(chunks)[0] == {"role": "assistant", "content": ""}


def test_the_role_comes_once_and_the_head_stays() -> None:
    machine = MessagesAsChat(answering())
    (first,) = machine.start()
    assert machine.start() == []
    assert machine.take(messages_wire.decoder.decode(stream(started()).split(b"data: ")[1])) == []
    (finished, counted) = machine.close(Usage(), None)
    assert first["id"] == finished["id"] == counted["id"] != "chatcmpl-msg_1"


@pytest.mark.parametrize("given", [None, "", 5, [], "x" * 201, "with\nnewline"])
def test_an_id_that_is_none_is_made(given: Any) -> None:
    chunks = checked(as_chat(stream(started(given), *ended()), "event"))
    assert chunks[0]["id"].startswith("chatcmpl-")
    assert chunks[0]["id"] != checked(as_chat(stream(started(given), *ended()), "event", nonce="other"))[0]["id"]


def test_nothing_follows_the_end() -> None:
    machine = MessagesAsChat(answering())
    assert len(machine.close(Usage(), None)) == 3
    assert machine.close(Usage(), None) == []
    assert machine.take(messages_wire.decoder.decode(b'{"type":"message_start"}')) == []


@in_every_chunking
def test_an_emoji_that_was_cut_in_two_is_whole(how: str) -> None:
    raw = stream(
        *text(0, "HIGH", "LOW"), *thinking(1, "HIGH", "LOW"), *tool(2, "toolu_A", "Bash", '{"a":"HIGH', 'LOW"}')
    )
    halved = raw.replace(b"HIGH", rb"\ud83d").replace(b"LOW", rb"\ude42")
    chunks = checked(as_chat(halved, how))
    assert (joined(chunks, "content"), joined(chunks, "reasoning_content")) == ("🙂", "🙂")
    assert arguments(chunks) == {0: '{"a":"🙂"}'}


def test_an_openai_caller_is_never_cut_off() -> None:
    assert machine_of(started(), *tool(0, "toolu_A", "Bash", '{"a"')).tool_opened is False
