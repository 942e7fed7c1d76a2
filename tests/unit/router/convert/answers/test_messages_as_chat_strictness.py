"""The checker that these tests rely on finds what breaks OpenAI's SDKs."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.fixtures.conversions import Json, as_chat
from tests.fixtures.message_events import ended, started, stream, text, tool
from tests.fixtures.strict_chat_stream import checked

BLOCKS = (*text(0, "Hi"), *tool(1, "toolu_A", "Bash", '{"a":1}'), *tool(2, "toolu_B", "Bash", '{"a":1}'))
GOOD = as_chat(stream(started(), *BLOCKS, *ended("tool_use")), "whole")


def in_call(position: int, **changes: Any) -> Callable[[list[Json]], object]:
    """Changes the call in the chunk at this position."""
    return lambda chunks: chunks[position]["choices"][0]["delta"]["tool_calls"][0].update(changes)


def in_choice(position: int, **changes: Any) -> Callable[[list[Json]], object]:
    return lambda chunks: chunks[position]["choices"][0].update(changes)


BREAKS: dict[str, Callable[[list[Json]], object]] = {
    "no role": lambda chunks: chunks.pop(0),
    "the role twice": lambda chunks: chunks.insert(0, chunks[0]),
    "another id": lambda chunks: chunks[2].update(id="chatcmpl-2"),
    "no model": lambda chunks: chunks[2].pop("model"),
    "no finish": lambda chunks: chunks.pop(-2),
    "two finishes": lambda chunks: chunks.insert(-1, chunks[-2]),
    "another finish": in_choice(-2, finish_reason="stop"),
    "an unknown finish": in_choice(-2, finish_reason="end_turn"),
    "no usage": lambda chunks: chunks.pop(),
    "usage too early": lambda chunks: chunks.insert(1, chunks[-1]),
    "empty text": in_choice(1, delta={"content": ""}),
    "the id again": in_call(3, id="toolu_A"),
    "the same id for two": in_call(4, id="toolu_A"),
    "an index left out": in_call(4, index=2),
    "no name": in_call(2, function={"name": "", "arguments": ""}),
    "no type": in_call(2, type=None),
    "no arguments": lambda chunks: chunks.pop(3),
}


def test_a_good_stream_passes() -> None:
    assert len(checked(GOOD)) == 8


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_stream_does_not_pass(how: str) -> None:
    broken = copy.deepcopy(GOOD)
    BREAKS[how](broken)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        checked(broken)
