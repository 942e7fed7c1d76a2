"""Which call a fragment belongs to where an OpenAI provider numbers its calls badly or not at all."""

from typing import Any

import pytest

from services.router.convert.answers.fold_messages import fold
from tests.fixtures.conversions import Json, as_messages, chunk, every_chunking, sent
from tests.fixtures.strict_messages_stream import check


def fragment(index: Any = None, call_id: Any = None, name: Any = None, arguments: Any = None) -> Json:
    """A fragment without what is None."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {"index": index, "id": call_id, "type": "function" if call_id else None, "function": function or None}
    return {key: value for key, value in outer.items() if value is not None}


def calls(how: str, *deltas: list[Json], **changes: Any) -> list[tuple[str, str, Any]]:
    """Id, name and input of every call that the caller gets."""
    events = as_messages(sent(*(chunk(tool_calls=delta) for delta in deltas), chunk("tool_calls")), how, **changes)
    check(events)
    content = fold(events)["content"]
    return [(part["id"], part["name"], part["input"]) for part in content if part["type"] == "tool_use"]


@every_chunking
def test_s_index_gap_has_no_gap_in_the_blocks(how: str) -> None:
    said = [fragment(0, "a", "look", "{}")], [fragment(2, "b", "find", '{"y":')], [fragment(2, arguments="2}")]
    assert calls(how, *said) == [("a", "look", {}), ("b", "find", {"y": 2})]


@every_chunking
@pytest.mark.parametrize("repeated", [True, False])
def test_s_index_missing_goes_by_id_and_then_to_the_last(how: str, repeated: bool) -> None:
    said = (
        [fragment(None, "a", "look", '{"x"')],
        [fragment(None, "a" if repeated else None, None, ":1}")],
        [fragment(None, "b", "find", '{"y"')],
        [fragment(None, "b" if repeated else None, "find" if repeated else None, ":2}")],
    )
    assert calls(how, *said) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2})]


@every_chunking
def test_s_index_missing_and_no_id_goes_by_name(how: str) -> None:
    said = [fragment(None, None, "look", '{"x"')], [fragment(arguments=":1}")], [fragment(None, None, "find", "{}")]
    found = calls(how, *said)
    assert [call[1:] for call in found] == [("look", {"x": 1}), ("find", {})]
    assert len({call[0] for call in found}) == 2


@every_chunking
@pytest.mark.parametrize("index", [None, "0", True, 0.0, []])
def test_s_index_missing_or_no_number_at_all(how: str, index: Any) -> None:
    assert calls(how, [fragment(index, "a", "look", "{")], [fragment(index, arguments="}")]) == [("a", "look", {})]


@every_chunking
def test_s_index_missing_after_it_was_there(how: str) -> None:
    said = [fragment(0, "a", "look", '{"x"')], [fragment(None, "a", None, ":1}")]
    assert calls(how, *said) == [("a", "look", {"x": 1})]


@every_chunking
def test_s_all_index_zero_different_ids_are_different_calls(how: str) -> None:
    said = (
        [fragment(0, "a", "look", '{"x"')],
        [fragment(0, arguments=":1}")],
        [fragment(0, "b", "find", '{"y"')],
        [fragment(0, "b", "find", ":2")],
        [fragment(0, arguments="}")],
    )
    assert calls(how, *said) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2})]


@every_chunking
def test_s_all_index_zero_different_ids_and_interleaved(how: str) -> None:
    said = (
        [fragment(0, "a", "look", '{"x"'), fragment(0, "b", "find", '{"y"')],
        [fragment(0, "a", "look", ":1}"), fragment(0, "b", "find", ":2}")],
    )
    assert calls(how, *said) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2})]


@every_chunking
def test_s_all_index_zero_without_ids_goes_by_name(how: str) -> None:
    said = [fragment(0, None, "look", '{"x":1}')], [fragment(0, None, "find", "{}")]
    assert [call[1:] for call in calls(how, *said)] == [("look", {"x": 1}), ("find", {})]


@every_chunking
def test_s_another_id_without_a_name_is_the_same_call(how: str) -> None:
    assert calls(how, [fragment(0, "a", "look", "{")], [fragment(0, "b", None, "}")]) == [("a", "look", {})]


@every_chunking
def test_s_dup_tool_id_becomes_two_ids(how: str) -> None:
    first, second = calls(how, [fragment(0, "a", "look", "{}")], [fragment(1, "a", "find", "{}")])
    assert first[0] == "a"
    assert second[0].startswith("toolu_")
    assert len(second[0]) == len("toolu_") + 24
    assert (first[1], second[1]) == ("look", "find")


@every_chunking
@pytest.mark.parametrize("given", [None, "", 5, ["x"]])
def test_s_dup_tool_id_or_none_is_made_from_the_requests_own_number(how: str, given: Any) -> None:
    said = [fragment(0, given, "look", "{}")], [fragment(1, given, "find", "{}")]
    mine, again, other = ([call[0] for call in calls(how, *said, nonce=nonce)] for nonce in "aab")
    assert mine == again
    assert len({*mine, *other}) == 4
