"""One provider's figures as the other protocol's: nothing counted twice, nothing lost on the way there and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pricing import Usage
from services.router import meter
from services.router.convert import figures
from tests.fixtures.conversions import CHUNKINGS, as_chat
from tests.fixtures.message_events import ended, started, stream, text
from tests.fixtures.strategies import thorough, usages

FOUR = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
COUNTS = st.integers(0, 1_000_000)


def test_u_cached_is_subtracted_and_added_again() -> None:
    said = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 40}}
    as_anthropic = figures.messages(meter.of_chat(said))
    assert (as_anthropic["input_tokens"], as_anthropic["cache_read_input_tokens"]) == (60, 40)
    back = figures.chat(meter.of_messages(as_anthropic))
    assert (back["prompt_tokens"], back["prompt_tokens_details"]["cached_tokens"]) == (100, 40)
    assert back["total_tokens"] == 107


def test_u_deepseek_hit_is_a_cache_read() -> None:
    said = {"prompt_tokens": 100, "prompt_cache_hit_tokens": 40, "prompt_cache_miss_tokens": 60, "completion_tokens": 7}
    assert figures.messages(meter.of_chat(said)) == {
        "input_tokens": 60,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 40,
        "output_tokens": 7,
    }


@pytest.mark.parametrize(
    "said",
    [
        {},
        dict.fromkeys(["prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"]),
        {"prompt_tokens_details": {"cached_tokens": None}, "completion_tokens_details": {"reasoning_tokens": None}},
        {"prompt_cache_hit_tokens": None},
    ],
)
def test_u_null_fields_are_zero(said: dict[str, Any]) -> None:
    assert figures.messages(meter.of_chat(said)) == dict.fromkeys(FOUR, 0)


@pytest.mark.parametrize("said", [{}, dict.fromkeys(FOUR), {"cache_creation": None, "output_tokens_details": None}])
def test_u_null_fields_of_anthropic_are_zero(said: dict[str, Any]) -> None:
    assert figures.chat(meter.of_messages(said)) == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


@pytest.mark.parametrize(
    "said",
    [
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 40}, "completion_tokens": -5},
        {"prompt_tokens": 10, "prompt_cache_hit_tokens": 40},
        {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 8}},
        {"prompt_tokens": -10, "prompt_tokens_details": {"cached_tokens": -40}},
    ],
)
def test_u_negative_never_comes_out(said: dict[str, Any]) -> None:
    found = figures.messages(meter.of_chat(said))
    assert all(found[name] >= 0 for name in FOUR)
    assert sum(found[name] for name in FOUR[:3]) == max(0, said["prompt_tokens"])


def test_u_a_cache_write_is_part_of_the_prompt() -> None:
    said = {"input_tokens": 10, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 5}
    found = figures.chat(meter.of_messages(said))
    assert (found["prompt_tokens"], found["total_tokens"]) == (60, 65)
    assert found["prompt_tokens_details"] == {"cached_tokens": 20, "cache_write_tokens": 30}
    assert figures.messages(meter.of_chat(found)) == said


def test_u_a_cache_write_of_an_hour_is_one_too() -> None:
    found = figures.chat(Usage(input=1, cache_write=2, cache_write_1h=3))
    assert (found["prompt_tokens"], found["prompt_tokens_details"]["cache_write_tokens"]) == (6, 5)
    assert figures.messages(Usage(input=1, cache_write=2, cache_write_1h=3))["cache_creation_input_tokens"] == 5


@pytest.mark.parametrize("how", CHUNKINGS)
def test_u_message_delta_cumulative_overwrites(how: str) -> None:
    first, _ = ended(None, usage={"output_tokens": 20, "input_tokens": 11})
    last = ended("end_turn", usage={"output_tokens": 50, "cache_read_input_tokens": None})
    begun = started(input_tokens=10, cache_read_input_tokens=4, output_tokens=1)
    found = as_chat(stream(begun, *text(0, "Hi"), first, *last), how)[-1]["usage"]
    assert (found["prompt_tokens"], found["completion_tokens"], found["total_tokens"]) == (15, 50, 65)
    assert found["prompt_tokens_details"]["cached_tokens"] == 4


def test_u_cost_stands_beside_the_figures() -> None:
    assert figures.chat(Usage(), "0.25")["cost"] == figures.messages(Usage(), "0.25")["cost"] == "0.25"
    assert "cost" not in figures.chat(Usage())
    assert "cost" not in figures.messages(Usage())


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
@thorough
def test_u_roundtrip_property_of_chat_figures(prompt: int, read: int, write: int, output: int, reasoning: int) -> None:
    said = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    first = meter.of_chat(said)
    back = figures.chat(meter.of_messages(figures.messages(first)))
    assert (back["prompt_tokens"], back["completion_tokens"]) == (prompt, output)
    assert back["total_tokens"] == prompt + output
    assert back["prompt_tokens_details"]["cached_tokens"] == min(read, prompt)
    assert back["completion_tokens_details"]["reasoning_tokens"] == min(reasoning, output)
    assert meter.of_chat(back) == first


@given(usages())
@thorough
def test_u_roundtrip_property_of_every_usage(used: Usage) -> None:
    through_chat, through_messages = meter.of_chat(figures.chat(used)), meter.of_messages(figures.messages(used))
    for found in (through_chat, through_messages):
        assert (found.prompt, found.output, found.reasoning) == (used.prompt, used.output, used.reasoning)
        assert (found.input, found.cache_read) == (used.input, used.cache_read)
        assert found.cache_write + found.cache_write_1h == used.cache_write + used.cache_write_1h
