"""Whatever an OpenAI provider says and however it cuts it, the Anthropic caller gets a stream by the rules, and the
same answer. What comes is also read by Anthropic's own SDK."""

import json
from collections.abc import Iterator
from typing import Any, Final

import anthropic
import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import sse
from libs.pricing import Usage
from services.router import chat_wire
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.fold_messages import fold
from tests.fixtures.conversions import Json, answering, as_messages, chunk, chunk_of, messages_of, plain, sent
from tests.fixtures.strategies import json_values, thorough
from tests.fixtures.strict_messages_stream import check

USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5}
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
INPUT: Final = st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-9, 9), st.none(), st.lists(TEXT, max_size=2)))
CALLS: Final = st.lists(st.tuples(st.sampled_from(["look", "find", "get_weather"]), INPUT), min_size=1, max_size=3)
PROSE: Final = st.tuples(st.sampled_from(["text", "thinking"]), TEXT)
ANSWER: Final[st.SearchStrategy[list[tuple[str, Any]]]] = st.lists(
    st.one_of(PROSE, st.tuples(st.just("calls"), CALLS)), max_size=5
)
STYLES: Final = ("proper", "no index", "always zero")
FIELD: Final = {"text": "content", "thinking": "reasoning_content"}


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Json], list[Json]]:
    """Chunks in some provider's style, and the content that they make up."""
    style, repeated, mixed = draw(st.sampled_from(STYLES)), draw(st.booleans()), draw(st.booleans())
    documents, content, number = [chunk(role="assistant", content="")], [], 0
    answer: list[tuple[str, Any]] = draw(ANSWER)
    for kind, said in answer:
        if kind != "calls":
            documents += [chunk(**{FIELD[kind]: piece}) for piece in pieces(draw, said)]
            content.append({"type": kind, kind: said})
            continue
        queues = []
        for name, given_input in said:
            text = msgspec.json.encode(given_input).decode()
            queues.append(fragments(style, repeated or mixed, number, name, pieces(draw, text)))
            content.append({"type": "tool_use", "name": name, "input": given_input})
            number += 1
        documents += [chunk(tool_calls=[part]) for part in order(draw, queues, mixed)]
    return [*documents, chunk("stop"), chunk_of(usage=USAGE)], merged(content)


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def fragments(style: str, repeated: bool, number: int, name: str, said: list[str]) -> list[Json]:
    """One call: its name and id come first, and with every fragment where they are repeated."""
    index = {"proper": {"index": number}, "no index": {}, "always zero": {"index": 0}}[style]
    known = {"id": f"call_{number}", "type": "function"}
    head = {**index, **known, "function": {"name": name, "arguments": ""}}
    if repeated:
        return [head, *({**head, "function": {"name": name, "arguments": piece}} for piece in said)]
    return [head, *({**index, "function": {"arguments": piece}} for piece in said)]


def order(draw: st.DrawFn, queues: list[list[Json]], mixed: bool) -> Iterator[Json]:
    """One call after the other, or their heads and then the rest in any order."""
    if mixed:
        yield from (queue.pop(0) for queue in queues)
    while queues := [queue for queue in queues if queue]:
        yield queues[draw(st.integers(0, len(queues) - 1)) if mixed else 0].pop(0)


def merged(content: list[Json]) -> list[Json]:
    """Neighbours of the same kind are one block."""
    found: list[Json] = []
    for part in content:
        kind = part["type"]
        if found and kind != "tool_use" and found[-1]["type"] == kind:
            found[-1] = {**part, kind: found[-1][kind] + part[kind]}
        else:
            found.append(part)
    return found


def told(events: list[Json]) -> list[Json]:
    """The content, without what the conversion adds."""
    return [
        {name: value for name, value in part.items() if name not in ("id", "signature")}
        for part in fold(events)["content"]
    ]


@given(streams())
@thorough
def test_s_any_answer_is_a_stream_by_the_rules_and_the_same_answer(case: tuple[list[Json], list[Json]]) -> None:
    documents, content = case
    events = as_messages(sent(*documents), "whole")
    check(events)
    assert told(events) == content
    called = any(part["type"] == "tool_use" for part in content)
    assert events[-2]["delta"]["stop_reason"] == ("tool_use" if called else "end_turn")


@given(streams(), st.data())
@thorough
def test_s_any_cuts_of_the_bytes_give_the_same_events(case: tuple[list[Json], list[Json]], data: st.DataObject) -> None:
    raw = sent(*case[0])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    cut = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert messages_of(cut) == as_messages(raw, "whole")


WORDS: Final = st.sampled_from(["", "a", "call_1", "look", '{"x":1}', "{", "}", "stop", "<think>", "</think>"])
ANYTHING: Final = st.one_of(json_values(leaves=4), WORDS)
FRAGMENT: Final = st.one_of(
    ANYTHING,
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.one_of(st.integers(-1, 2), ANYTHING),
            "id": ANYTHING,
            "function": st.one_of(
                ANYTHING, st.dictionaries(st.sampled_from(["name", "arguments"]), st.one_of(WORDS, ANYTHING))
            ),
        },
    ),
)
NAMES: Final = ["content", "refusal", "reasoning_content", "reasoning", "reasoning_details", "function_call"]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(NAMES), ANYTHING),
            st.lists(FRAGMENT, max_size=3) | ANYTHING,
            st.none() | WORDS,
            ANYTHING,
        ),
        max_size=5,
    ),
    ANYTHING,
    st.booleans(),
)
@thorough
def test_s_no_chunks_at_all_make_it_raise_or_break_the_rules(
    said: list[tuple[Json, Any, str | None, Any]], upstream_id: Any, tags: bool
) -> None:
    machine = ChatAsMessages(answering(think_tags=tags, stops=("stop", "a")))
    events: list[Json] = []
    for delta, calls, finish, stop_reason in said:
        part = {"delta": {**delta, "tool_calls": calls}, "finish_reason": finish, "stop_reason": stop_reason}
        events += machine.take(msgspec.convert({"id": upstream_id, "choices": [part]}, chat_wire.Chunk))
    events = plain([*events, *machine.close(Usage(), None)])
    check(events)
    assert fold(events)["stop_reason"] == events[-2]["delta"]["stop_reason"]


@pytest.mark.parametrize("whole", [{"path": "é\n😀", "n": 1}, {}])
def test_s_the_sdk_of_anthropic_reads_the_stream(whole: Json) -> None:
    text = json.dumps(whole)
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    documents = [
        chunk(reasoning_content="why"),
        chunk(content="Hi "),
        chunk(content="漢"),
        chunk(tool_calls=[head]),
        *(chunk(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in text),
        chunk("tool_calls"),
        chunk_of(usage=USAGE),
    ]
    events = as_messages(sent(*documents), "whole", cost="0.1")
    raw = b"".join(sse.encode(msgspec.json.encode(event), event["type"]) for event in events)
    message = read_by_the_sdk(raw)
    assert [part.type for part in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[2].model_dump()["input"] == whole
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == ("tool_use", 10, 5)
    expected = fold(events)
    dumped = message.model_dump(mode="json", exclude_none=True)
    assert dumped["id"] == expected["id"]
    assert [part.get("text") for part in dumped["content"]] == [part.get("text") for part in expected["content"]]


def read_by_the_sdk(raw: bytes) -> anthropic.types.Message:
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _request: httpx2.Response(200, headers=headers, content=raw))
    with (
        httpx2.Client(transport=transport) as http,
        anthropic.Anthropic(api_key="k", base_url="http://127.0.0.1:1", http_client=http) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream,
    ):
        return stream.get_final_message()
