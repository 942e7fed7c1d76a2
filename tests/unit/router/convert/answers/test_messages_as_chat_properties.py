"""Whatever an Anthropic provider says, however it is cut: a strict stream, and nothing of it lost."""

import itertools
import json
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st

from libs.errors import GatewayError
from libs.pricing import Usage
from services.router import messages_wire, meter
from services.router.convert import figures
from services.router.convert.answers.fold_chat import fold
from services.router.convert.answers.messages_as_chat import MessagesAsChat
from services.router.convert.answers.unfold_messages import unfold
from tests.fixtures.conversions import Json, answering, as_chat, chat_of, compact, plain
from tests.fixtures.message_events import added, closed, ended, opened, started, stream, text, thinking, tool
from tests.fixtures.strategies import json_values, quick, thorough, usages
from tests.fixtures.strict_chat_stream import checked

SAMPLE: Final = stream(
    started(),
    {"type": "ping"},
    *thinking(0, "Hm — ", "思考 🙂"),
    *text(1, "I look 🙂", "\r\n\n"),
    *tool(2, "toolu_A", "Bash", '{"a":', '"字"}'),
    *tool(3, "toolu_B", "Read"),
    *ended("tool_use"),
)
WORDS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INPUTS: Final = st.dictionaries(WORDS, json_values(4), max_size=3)
STOPS: Final = st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal", "stop_sequence", "of_tomorrow", None])


@given(st.lists(st.integers(0, len(SAMPLE)), max_size=12))
@example([])
@thorough
def test_the_bytes_may_be_cut_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SAMPLE)]
    pieces = [SAMPLE[start:end] for start, end in itertools.pairwise(edges)]
    assert chat_of(pieces) == as_chat(SAMPLE, "whole")


def test_the_bytes_may_be_cut_at_every_place_there_is() -> None:
    wanted = as_chat(SAMPLE, "whole")
    assert all(chat_of([SAMPLE[:cut], SAMPLE[cut:]]) == wanted for cut in range(len(SAMPLE)))


@st.composite
def blocks(draw: st.DrawFn) -> list[Json]:
    """The content of a Message, in any order, ids apart."""
    found: list[Json] = []
    kinds = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"])
    for number, kind in enumerate(draw(st.lists(kinds, max_size=6))):
        bodies: dict[str, Json] = {
            "text": {"text": draw(WORDS)},
            "thinking": {"thinking": draw(WORDS), "signature": draw(st.text("abc", max_size=4))},
            "redacted_thinking": {"data": "b3BhcXVl"},
            "tool_use": {"id": f"toolu_{number}", "name": draw(st.text("abc", min_size=1)), "input": draw(INPUTS)},
            "server_tool_use": {"id": f"srvtoolu_{number}", "name": "web_search", "input": draw(INPUTS)},
        }
        found.append({"type": kind, **bodies[kind]})
    return found


@st.composite
def cut(draw: st.DrawFn, said: str) -> list[str]:
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(said)), max_size=3))), len(said)]
    return [said[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def streams(draw: st.DrawFn, content: list[Json]) -> list[Json]:
    """The events of these blocks, their texts cut anywhere, with what says nothing in between."""
    events: list[Json] = []
    for index, block in enumerate(content):
        match block["type"]:
            case "text":
                events += text(index, *draw(cut(block["text"])))
            case "thinking":
                events += thinking(index, *draw(cut(block["thinking"])), signature=block["signature"])
            case "tool_use":
                written = json.dumps(block["input"], ensure_ascii=False)
                events += tool(index, block["id"], block["name"], *draw(cut(written)))
            case _:
                events += [opened(index, **{"kind": block["type"], **{k: v for k, v in block.items() if k != "type"}})]
                events += [added(index, "of_tomorrow_delta", text="secret"), closed(index)]
        events += draw(st.sampled_from([[], [{"type": "ping"}], [{"type": "of_tomorrow", "index": index}]]))
    return events


def message_of(content: list[Json], stop: str | None, used: Usage) -> Json:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**head, "content": content, "stop_reason": stop, "usage": figures.messages(used)}


def assert_nothing_is_lost(content: list[Json], completion: Json) -> None:
    (choice,) = completion["choices"]
    message = choice["message"]
    assert (message["content"] or "") == _joined(content, "text")
    assert message.get("reasoning_content", "") == _joined(content, "thinking")
    calls = [
        (made["id"], made["function"]["name"], json.loads(made["function"]["arguments"]))
        for made in message.get("tool_calls", ())
    ]
    tools = [block for block in content if block["type"] == "tool_use"]
    assert calls == [(block["id"], block["name"], _as_json(block["input"])) for block in tools]


def _joined(content: list[Json], kind: str) -> str:
    return "".join(block[kind] for block in content if block["type"] == kind)


def _as_json(value: Any) -> Any:
    return json.loads(compact(value))


@given(st.data(), STOPS)
@thorough
def test_every_stream_is_strict_and_keeps_what_was_said(data: st.DataObject, stop: str | None) -> None:
    content = data.draw(blocks())
    raw = stream(started(), *data.draw(streams(content)), *ended(stop))
    assert_nothing_is_lost(content, fold(checked(as_chat(raw, "whole"))))


@given(blocks(), STOPS, usages())
@thorough
def test_every_plain_answer_keeps_what_was_said_and_used(content: list[Json], stop: str | None, used: Usage) -> None:
    machine = MessagesAsChat(answering())
    chunks: list[Json] = []
    told = meter.of_messages({})
    for event in plain(unfold(message_of(content, stop, used))):
        seen = messages_wire.decoder.decode(compact(event))
        told = meter.of_messages(seen.usage, told) if seen.usage else told
        chunks += machine.take(seen)
    completion = fold(checked(plain(chunks + machine.close(told, None))))
    assert_nothing_is_lost(content, completion)
    usage = completion["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (used.prompt, used.output)
    assert [(thought.text, thought.signature) for thought in machine.thoughts if not thought.redacted] == [
        (block["thinking"], block["signature"])
        for block in content
        if block["type"] == "thinking" and (block["thinking"] or block["signature"])
    ]


KINDS: Final = st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop"])
PART_KINDS: Final = [
    "text",
    "thinking",
    "tool_use",
    "text_delta",
    "thinking_delta",
    "input_json_delta",
    "signature_delta",
]
PART_NAMES: Final = [*messages_wire.Part.__struct_fields__]
PARTS: Final = st.builds(
    lambda kind, stop, rest: messages_wire.Part(**{**rest, "type": kind, "stop_reason": stop}),
    st.sampled_from(PART_KINDS) | json_values(2),
    STOPS,
    st.dictionaries(st.sampled_from([name for name in PART_NAMES if name != "usage"]), json_values(4), max_size=6),
)
HAPPENINGS: Final = st.builds(
    messages_wire.Happening,
    type=KINDS | st.sampled_from(["message_delta", "ping", ""]),
    index=st.none() | st.integers(-1, 2),
    message=st.none() | PARTS,
    content_block=st.none() | PARTS,
    delta=st.none() | PARTS,
    error=json_values(2),
)


@given(st.lists(HAPPENINGS, max_size=6))
@quick
def test_no_events_at_all_make_anything_but_a_strict_stream(events: list[messages_wire.Happening]) -> None:
    machine = MessagesAsChat(answering())
    chunks: list[Json] = []
    try:
        for event in events:
            chunks += machine.take(event)
    except GatewayError:
        return
    checked(plain(chunks + machine.close(Usage(), None)))
