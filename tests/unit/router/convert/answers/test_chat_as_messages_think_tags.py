"""Thinking that comes as `<think>…</think>` at the head of the text, for an Anthropic caller."""

from typing import Any

import pytest

from services.router.convert.answers.fold_messages import fold
from tests.fixtures.conversions import Json, as_messages, chunk, every_chunking, sent
from tests.fixtures.strict_messages_stream import check

CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}


def answer(how: str, *documents: Json, **changes: Any) -> Json:
    events = as_messages(sent(*documents, chunk("stop")), how, **changes)
    check(events)
    return fold(events)


@every_chunking
@pytest.mark.parametrize("cuts", [1, 2, 3, 7, 100])
def test_s_think_tags_are_told_apart_however_they_are_cut(how: str, cuts: int) -> None:
    whole = " \n<think>\nwhy < </thin k>?</think>\n\nBecause </think> <think>."
    documents = [chunk(content=whole[at : at + cuts]) for at in range(0, len(whole), cuts)]
    message = answer(how, *documents, think_tags=True)
    assert [part.get("thinking") or part.get("text") for part in message["content"]] == [
        "why < </thin k>?",
        "Because </think> <think>.",
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("<think>only", [("thinking", "only")]),
        ("<think>cut </thi", [("thinking", "cut </thi")]),
        ("<think>\n\n</think>\n\nHi", [("text", "Hi")]),
        ("<think></think>", []),
        ("<thi", [("text", "<thi")]),
        (" <b>", [("text", " <b>")]),
        ("Hi <think>no</think>", [("text", "Hi <think>no</think>")]),
        ("  ", [("text", "  ")]),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_s_think_tags_that_are_none_or_never_end(said: str, told: list[tuple[str, str]], size: int) -> None:
    documents = [chunk(content=said[at : at + size]) for at in range(0, len(said), size)]
    message = answer("whole", *documents, think_tags=True)
    assert [(part["type"], part.get("thinking") or part.get("text")) for part in message["content"]] == told


def test_s_think_tags_before_a_call_are_flushed_and_hidden_ones_stay_hidden() -> None:
    documents = [chunk(content="<think>a </th"), chunk(tool_calls=[CALL]), chunk(content="ink>b")]
    shown = answer("whole", *documents, think_tags=True)["content"]
    hidden = answer("whole", *documents, think_tags=True, thinking_hidden=True)["content"]
    assert [part["type"] for part in shown] == ["thinking", "tool_use", "thinking"]
    assert [part["type"] for part in hidden] == ["tool_use"]


def test_s_think_tags_are_text_where_the_provider_has_none() -> None:
    assert answer("whole", chunk(content="<think>x</think>"))["content"] == [
        {"type": "text", "text": "<think>x</think>"}
    ]
