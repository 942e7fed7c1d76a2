"""An OpenAI provider's tool calls for an OpenAI caller: as the SDKs' own helpers need them."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from openai.lib.streaming._deltas import accumulate_delta

from libs.errors import UpstreamFailed
from services.router.convert.answers.tidy import CallTidy
from tests.fixtures.conversions import Json
from tests.fixtures.strategies import json_values, thorough


def fragment(index: Any = None, call_id: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> Json:
    """A fragment without what is None."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {"index": index, "id": call_id, "function": function or None, **more}
    return {key: value for key, value in outer.items() if value is not None}


def first(index: Any, call_id: Any, name: Any, arguments: Any = "") -> Json:
    return fragment(index, call_id, name, arguments, type="function")


def tidied(*deltas: list[Json]) -> list[list[Json]]:
    """What the caller gets of each delta."""
    tidy = CallTidy()
    return [delta if (new := tidy.tidy(delta)) is None else new for delta in deltas]


def joined(deltas: list[list[Json]]) -> list[tuple[str, str, str]]:
    """What OpenAI's own helper makes of them: id, name and arguments of every call."""
    whole: dict[object, object] = {}
    for delta in deltas:
        whole = accumulate_delta(whole, {"tool_calls": deepcopy(delta)})
    calls: Any = whole["tool_calls"]
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls]


WELL = [
    [first(0, "a", "look")],
    [fragment(0, arguments='{"x"')],
    [fragment(0, arguments=":1}")],
    [first(1, "b", "find", "{"), fragment(1, arguments="}")],
    [first(7, "c", "go", "{}")],
]


def test_p_normalise_index_leaves_what_is_well_as_it_is() -> None:
    tidy = CallTidy()
    assert [tidy.tidy(delta) for delta in WELL] == [None] * len(WELL)
    assert CallTidy().tidy([]) is None


def test_p_normalise_index_that_is_missing() -> None:
    said = (
        [first(None, "a", "look")],
        [fragment(arguments='{"x"')],
        [fragment(None, "a", None, ":1}")],
        [first(None, "b", "find", "{}")],
    )
    assert tidied(*said) == [
        [first(0, "a", "look")],
        [fragment(0, arguments='{"x"')],
        [fragment(0, arguments=":1}")],
        [first(1, "b", "find", "{}")],
    ]
    assert joined(tidied(*said)) == [("a", "look", '{"x":1}'), ("b", "find", "{}")]


def test_p_normalise_index_that_is_zero_for_every_call() -> None:
    said = [first(0, "a", "look", "{}")], [first(0, "b", "find", "{")], [fragment(0, arguments="}")]
    assert joined(tidied(*said)) == [("a", "look", "{}"), ("b", "find", "{}")]


@pytest.mark.parametrize("index", ["0", True, 0.0, None, [], {}])
def test_p_normalise_index_that_is_no_number(index: Any) -> None:
    told = tidied([{**first(0, "a", "look"), "index": index}])[0][0]["index"]
    assert (told, type(told)) == (0, int)


def test_p_normalise_index_that_was_given_away_already() -> None:
    said = [first(None, "a", "look", "{}")], [first(0, "b", "find", "{}")], [first(1, "c", "go", "{}")]
    assert [delta[0]["index"] for delta in tidied(*said)] == [0, 1, 2]


def test_p_normalise_repeat_id_type_and_name() -> None:
    said = [[first(0, "call_a", "bash", piece)] for piece in ("", '{"x"', ":1}")]
    assert tidied(*said) == [
        [first(0, "call_a", "bash")],
        [fragment(0, arguments='{"x"')],
        [fragment(0, arguments=":1}")],
    ]
    assert joined(said) == [("call_acall_acall_a", "bashbashbash", '{"x":1}')]
    assert joined(tidied(*said)) == [("call_a", "bash", '{"x":1}')]


def test_p_normalise_repeat_of_a_name_that_comes_in_pieces_drops_no_piece() -> None:
    said = [first(0, "a", "get_")], [fragment(0, name="weather")], [fragment(0, "a", "get_weather", "{}")]
    assert joined(tidied(*said)) == [("a", "get_weather", "{}")]


def test_p_normalise_repeat_of_all_arguments() -> None:
    said = [first(0, "a", "look", '{"x":')], [fragment(0, arguments="11}")], [fragment(0, arguments='{"x":11}')]
    assert joined(tidied(*said)) == [("a", "look", '{"x":11}')]


def test_p_normalise_type_that_is_missing_and_arguments_that_are_an_object() -> None:
    assert tidied([fragment(0, "a", "look", {"x": [1]})]) == [[first(0, "a", "look", '{"x":[1]}')]]


def test_p_normalise_keeps_what_is_not_known() -> None:
    odd = {**first(0, "a", "look"), "extra_content": {"google": {"thought_signature": "x"}}}
    again = {**odd, "more": 1}
    assert tidied([odd], [again])[1] == [
        {"index": 0, "function": {"arguments": ""}, "extra_content": odd["extra_content"], "more": 1}
    ]
    custom = {"index": 1, "id": "b", "type": "custom", "custom": {"name": "run", "input": "x"}}
    assert tidied([custom]) == [[custom]]


def test_p_normalise_leaves_what_is_no_fragment() -> None:
    odd: list[Any] = [None, 5, "x", [], {"index": 0, "type": "function", "function": 5}]
    assert CallTidy().tidy(odd) is None


@given(json_values())
@thorough
def test_p_normalise_never_raises_and_gives_one_entry_for_each(value: Any) -> None:
    tidy = CallTidy()
    for calls in ([value], [{"function": value}], [{"index": value, "id": value}], [{"function": {"name": value}}]):
        told = tidy.tidy(calls)
        assert told is None or len(told) == 1
        given_arguments: list[Any] = [{"id": "a", "function": {"name": "f", "arguments": value}}]
        assert len(tidied(given_arguments)[0]) == 1


def test_p_normalise_arguments_that_are_too_deep_are_the_providers_failure() -> None:
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(UpstreamFailed, match="nested too deeply"):
        CallTidy().tidy([fragment(0, "a", "look", deep)])
