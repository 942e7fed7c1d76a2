"""Providers' figures into disjoint buckets: nothing negative, nothing counted twice, nothing lost."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pricing import MAX_TOKENS, Usage
from services.router import meter
from tests.fixtures.strategies import json_values, thorough

COUNT = st.integers(0, 1_000_000)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "ephemeral_1h_input_tokens"]), st.integers()),
)
CHAT_NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
]
MESSAGES_NAMES = [
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "output_tokens_details",
]


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ({}, Usage()),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, Usage(input=10, output=5)),
        (  # OpenAI
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(input=20, cache_read=80, output=50, reasoning=30),
        ),
        (  # DeepSeek
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
                "prompt_tokens_details": {"cached_tokens": 64},
            },
            Usage(input=36, cache_read=64, output=5),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64},
            Usage(input=36, cache_read=64, output=5),
        ),
        (  # Qwen
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_creation_input_tokens": 50},
            },
            Usage(input=20, cache_read=30, cache_write=50, output=5),
        ),
        ({"prompt_tokens": 100, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(input=100)),
        ({"prompt_tokens": None, "completion_tokens": None}, Usage()),
        ({"prompt_tokens": 10.0, "completion_tokens": 5.9}, Usage(input=10, output=5)),
        ({"prompt_tokens": "10", "completion_tokens": True}, Usage()),
        ({"prompt_tokens": -5, "completion_tokens": -1}, Usage()),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": -5}}, Usage(input=10)),
        ({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 9}}, Usage(output=5, reasoning=5)),
        ({"prompt_tokens": 2**70, "completion_tokens": 1e300}, Usage(input=MAX_TOKENS, output=MAX_TOKENS)),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, Usage(output=MAX_TOKENS)),
    ],
)
def test_chat_figures_in_examples(said: dict[str, Any], means: Usage) -> None:
    assert meter.of_chat(said) == means


@pytest.mark.parametrize(
    "details",
    [
        {"cached_tokens": 500},
        {"cache_write_tokens": 500},
        {"cached_tokens": 60, "cache_write_tokens": 60},
        {"cached_tokens": 500, "cache_write_tokens": 500},
    ],
)
def test_more_cached_tokens_than_tokens_are_no_more_tokens(details: dict[str, int]) -> None:
    found = meter.of_chat({"prompt_tokens": 100, "prompt_tokens_details": details})
    assert found.prompt == 100
    assert found.input == 0


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
@thorough
def test_chat_buckets_are_disjoint_and_add_up_to_the_prompt(
    prompt: int, output: int, read: int, write: int, reasoning: int
) -> None:
    details = {"cached_tokens": read, "cache_write_tokens": write}
    found = meter.of_chat(
        {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "prompt_tokens_details": details,
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    assert (found.prompt, found.output) == (prompt, output)
    assert found.cache_read == min(read, prompt)
    assert found.reasoning == min(reasoning, output)


@given(st.dictionaries(st.sampled_from(CHAT_NAMES), ODD))
@thorough
def test_no_chat_figures_however_strange_make_it_raise(said: dict[str, Any]) -> None:
    assert meter.of_chat(said).prompt <= MAX_TOKENS


@given(st.dictionaries(st.sampled_from([*CHAT_NAMES, *MESSAGES_NAMES]), json_values()))
@thorough
def test_no_json_at_all_makes_it_raise(said: dict[str, Any]) -> None:
    assert meter.of_chat(said) == meter.of_chat(dict(said))
    assert meter.of_messages(said) == meter.of_messages(said, Usage())


START = {"input_tokens": 100, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 30, "output_tokens": 1}
SPLIT = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10}


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ({}, Usage()),
        (START, Usage(input=100, cache_read=40, cache_write=30, output=1)),
        (
            {**START, "cache_creation": SPLIT},
            Usage(input=100, cache_read=40, cache_write=20, cache_write_1h=10, output=1),
        ),
        ({"cache_creation": SPLIT}, Usage(cache_write=20, cache_write_1h=10)),
        ({"cache_creation_input_tokens": 5, "cache_creation": SPLIT}, Usage(cache_write_1h=5)),
        ({"cache_creation_input_tokens": 30, "cache_creation": None}, Usage(cache_write=30)),
        ({"cache_creation_input_tokens": 30, "cache_creation": {}}, Usage(cache_write=30)),
        ({"input_tokens": None, "output_tokens": None, "cache_read_input_tokens": None}, Usage()),
        ({"input_tokens": -1, "output_tokens": "5", "cache_read_input_tokens": True}, Usage()),
        ({"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 4}}, Usage(output=5, reasoning=4)),
        ({"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}}, Usage(output=5, reasoning=5)),
    ],
)
def test_messages_figures_in_examples(said: dict[str, Any], means: Usage) -> None:
    assert meter.of_messages(said) == means


def test_input_is_not_reduced_by_what_was_cached() -> None:
    assert meter.of_messages(START).prompt == 170


@pytest.mark.parametrize(
    ("later", "means"),
    [
        ({"output_tokens": 50}, Usage(100, 40, 20, 10, 50)),
        ({"output_tokens": 0}, Usage(100, 40, 20, 10, 0)),
        ({}, Usage(100, 40, 20, 10, 1)),
        ({"input_tokens": 7, "output_tokens": 50}, Usage(7, 40, 20, 10, 50)),
        ({"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 50}, Usage(100, 40, 20, 10, 50)),
        ({"cache_read_input_tokens": 0, "output_tokens": 50}, Usage(100, 0, 20, 10, 50)),
        # The closing event names the total of cache writes again, without its split: the split still stands.
        ({"cache_creation_input_tokens": 30, "output_tokens": 50}, Usage(100, 40, 20, 10, 50)),
        ({"cache_creation_input_tokens": 40, "output_tokens": 50}, Usage(100, 40, 30, 10, 50)),
        ({"cache_creation_input_tokens": 4, "output_tokens": 50}, Usage(100, 40, 0, 4, 50)),
        ({"cache_creation_input_tokens": 0, "output_tokens": 50}, Usage(100, 40, 0, 0, 50)),
        (
            {"cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_1h_input_tokens": 30}},
            Usage(100, 40, 0, 30, 1),
        ),
    ],
)
def test_later_figures_overwrite_what_they_name_and_nothing_else(later: dict[str, Any], means: Usage) -> None:
    first = meter.of_messages({**START, "cache_creation": SPLIT})
    assert meter.of_messages(later, first) == means


def test_thinking_once_told_is_kept_within_the_output() -> None:
    first = meter.of_messages({"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 30}})
    assert meter.of_messages({"output_tokens": 60}, first).reasoning == 30
    assert meter.of_messages({"output_tokens": 20}, first).reasoning == 20


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
@thorough
def test_messages_buckets_keep_every_token(fresh: int, read: int, write: int, hour: int, output: int) -> None:
    found = meter.of_messages(
        {
            "input_tokens": fresh,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": write,
            "cache_creation": {"ephemeral_1h_input_tokens": hour},
            "output_tokens": output,
        }
    )
    assert (found.input, found.cache_read, found.output) == (fresh, read, output)
    assert found.cache_write + found.cache_write_1h == write
    assert found.cache_write_1h == min(hour, write)


@given(st.dictionaries(st.sampled_from(MESSAGES_NAMES), ODD), st.dictionaries(st.sampled_from(MESSAGES_NAMES), ODD))
@thorough
def test_no_messages_figures_however_strange_make_it_raise(said: dict[str, Any], then: dict[str, Any]) -> None:
    found = meter.of_messages(then, meter.of_messages(said))
    assert found.reasoning <= found.output <= MAX_TOKENS


def test_an_estimate_takes_a_quarter_of_the_bytes() -> None:
    assert meter.estimate(None, 403, 41) == Usage(input=100, output=10)
    assert meter.estimate(None, 0, 0) == Usage()
    assert meter.estimate(Usage(output=99), 400, 40) == Usage(input=100, output=10)


def test_an_estimate_keeps_what_the_provider_said_of_the_input() -> None:
    known = Usage(input=7, cache_read=1, cache_write=2, cache_write_1h=3, output=1, reasoning=1)
    assert meter.estimate(known, 4000, 40) == Usage(7, 1, 2, 3, output=10)
