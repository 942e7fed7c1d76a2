"""An OpenAI provider's tool calls for an Anthropic caller, however the fragments are cut, mixed and numbered."""

from typing import Any

import msgspec
import pytest

from libs.errors import UpstreamFailed
from libs.pricing import Usage
from services.router import chat_wire
from services.router.convert.answers.chat_as_messages import ChatAsMessages
from services.router.convert.answers.fold_messages import fold
from services.router.convert.names import Names, short
from tests.fixtures.conversions import Json, answering, as_messages, chunk, every_chunking, sent
from tests.fixtures.strict_messages_stream import check

LONG = "mcp__a_server_with_a_very_long_name__and_a_tool_whose_name_is_long_as_well"


def fragment(index: Any = None, call_id: Any = None, name: Any = None, arguments: Any = None) -> Json:
    """A fragment without what is None."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {"index": index, "id": call_id, "type": "function" if call_id else None, "function": function or None}
    return {key: value for key, value in outer.items() if value is not None}


def streamed(how: str, *deltas: list[Json] | Json, **changes: Any) -> list[Json]:
    """The events of a stream of these fragments, a list to a chunk; or of other deltas."""
    documents = [chunk(tool_calls=delta) if isinstance(delta, list) else chunk(**delta) for delta in deltas]
    events = as_messages(sent(*documents, chunk("tool_calls")), how, **changes)
    check(events)
    return events


def calls(how: str, *deltas: list[Json] | Json, **changes: Any) -> list[tuple[str, str, Any]]:
    """Id, name and input of every call that the caller gets."""
    content = fold(streamed(how, *deltas, **changes))["content"]
    return [(part["id"], part["name"], part["input"]) for part in content if part["type"] == "tool_use"]


def kinds(events: list[Json]) -> list[str]:
    return [event.get("delta", {}).get("partial_json") or event["type"].removeprefix("content_") for event in events]


@every_chunking
def test_s_args_with_first_chunk_are_not_lost(how: str) -> None:
    assert calls(how, [fragment(0, "a", "look", '{"x"')], [fragment(0, arguments=":1}")]) == [("a", "look", {"x": 1})]


@every_chunking
def test_s_whole_call_one_chunk_is_one_block(how: str) -> None:
    events = streamed(how, [fragment(0, "a", "look", '{"x":1}')])
    assert kinds(events)[2:-2] == ["block_start", '{"x":1}', "block_stop"]


@every_chunking
def test_s_whole_call_one_chunk_may_hold_several_calls(how: str) -> None:
    both = [fragment(0, "a", "look", '{"x":1}'), fragment(1, "b", "find", '{"y":2}'), fragment(2, "c", "go", "{}")]
    assert calls(how, both) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2}), ("c", "go", {})]


@every_chunking
@pytest.mark.parametrize("arguments", [None, "", [None, ""]])
def test_s_empty_arguments_are_an_empty_input_without_deltas(how: str, arguments: Any) -> None:
    said = [[fragment(0, "a", "look", piece)] for piece in (arguments if isinstance(arguments, list) else [arguments])]
    events = streamed(how, *said)
    assert kinds(events)[2:-2] == ["block_start", "block_stop"]
    assert fold(events)["content"][0]["input"] == {}


@every_chunking
def test_s_empty_arguments_beside_a_call_that_has_some(how: str) -> None:
    said = [fragment(0, "a", "look", "")], [fragment(1, "b", "find", "")], [fragment(1, arguments='{"y":2}')]
    assert calls(how, *said) == [("a", "look", {}), ("b", "find", {"y": 2})]


@every_chunking
def test_s_arguments_object_becomes_its_json(how: str) -> None:
    assert calls(how, [fragment(0, "a", "look", {"x": [1, "é"]})]) == [("a", "look", {"x": [1, "é"]})]


@every_chunking
def test_s_repeat_id_name_in_every_fragment_is_one_call(how: str) -> None:
    said = [[fragment(0, "a", "look", piece)] for piece in ("", '{"x"', ":", "1}", "")]
    assert calls(how, *said) == [("a", "look", {"x": 1})]


@every_chunking
def test_s_repeat_id_name_and_all_arguments_once_more(how: str) -> None:
    said = [[fragment(0, "a", "look", piece)] for piece in ('{"x":', "11}", '{"x":11}')]
    assert calls(how, *said) == [("a", "look", {"x": 11})]


@every_chunking
def test_s_repeat_id_name_where_a_piece_only_looks_repeated(how: str) -> None:
    said = [[fragment(0, "a", "look", '{"x":[')], *([[fragment(0, arguments=piece)] for piece in ("[", "[", "]]]}")])]
    assert calls(how, *said) == [("a", "look", {"x": [[[]]]})]
    twice = [[fragment(0, "a", "look", "[")], [fragment(0, arguments="[")], [fragment(0, arguments="]]")]]
    assert calls(how, *twice) == [("a", "look", {"value": [[]]})]


@every_chunking
def test_s_name_split_over_fragments_is_joined(how: str) -> None:
    said = [fragment(0, "a", "get_")], [fragment(0, name="wea")], [fragment(0, "a", "ther", '{"x":1}')]
    assert calls(how, *said) == [("a", "get_weather", {"x": 1})]


@every_chunking
@pytest.mark.parametrize("later", ["", "look", "other", None])
def test_s_name_empty_later_changes_nothing(how: str, later: str | None) -> None:
    said = [fragment(0, "a", "look", '{"x":')], [fragment(0, "a", later, "1}")]
    assert calls(how, *said) == [("a", "look", {"x": 1})]


@every_chunking
def test_s_name_empty_first_and_given_later(how: str) -> None:
    said = [fragment(0, "a", "", '{"x"')], [fragment(0, arguments=":1")], [fragment(0, "a", "look", "}")]
    assert calls(how, *said) == [("a", "look", {"x": 1})]


@every_chunking
def test_s_name_missing_is_dropped(how: str) -> None:
    said = [fragment(0, "a", None, '{"x":1}')], [fragment(1, "b", "find", '{"y":2}')]
    assert calls(how, *said) == [("b", "find", {"y": 2})]
    alone = streamed(how, [fragment(0, "a", "", '{"x":1}')])
    assert [event["type"] for event in alone] == ["message_start", "ping", "message_delta", "message_stop"]
    assert alone[-2]["delta"]["stop_reason"] == "end_turn"


def test_s_name_missing_is_counted_and_opens_nothing() -> None:
    machine = ChatAsMessages(answering())
    machine.take(msgspec.convert(chunk(tool_calls=[fragment(0, "a", None, "{}")]), chat_wire.Chunk))
    machine.close(Usage(), None)
    assert (machine.nameless, machine.tool_opened) == (1, False)


@every_chunking
def test_s_two_calls_sequential_stream_as_they_come(how: str) -> None:
    said = (
        [fragment(0, "a", "look", "")],
        [fragment(0, arguments='{"x"')],
        [fragment(0, arguments=":1}")],
        [fragment(1, "b", "find", "")],
        [fragment(1, arguments='{"y"')],
        [fragment(1, arguments=":2}")],
    )
    block = ["block_start", '{"x"', ":1}", "block_stop", "block_start", '{"y"', ":2}", "block_stop"]
    assert kinds(streamed(how, *said))[2:-2] == block
    assert calls(how, *said) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2})]


@every_chunking
def test_s_two_calls_interleaved_become_sequential_blocks(how: str) -> None:
    said = (
        [fragment(0, "a", "look"), fragment(1, "b", "find")],
        [fragment(1, arguments='{"y"')],
        [fragment(0, arguments='{"x"')],
        [fragment(1, arguments=":2"), fragment(0, arguments=":1")],
        [fragment(0, arguments="}")],
        [fragment(1, arguments="}")],
    )
    assert calls(how, *said) == [("a", "look", {"x": 1}), ("b", "find", {"y": 2})]
    assert kinds(streamed(how, *said))[2:-2] == [
        *("block_start", '{"x"', ":1", "}", "block_stop"),
        *("block_start", '{"y":2}', "block_stop"),
    ]


@every_chunking
def test_s_two_calls_interleaved_of_which_the_first_is_never_whole(how: str) -> None:
    said = [fragment(0, "a", "look", '{"x"')], [fragment(2, "c", "go", "{}")], [fragment(1, "b", "find", "{}")]
    assert calls(how, *said) == [("a", "look", {"_raw_arguments": '{"x"'}), ("b", "find", {}), ("c", "go", {})]


@every_chunking
def test_s_two_calls_interleaved_with_text_lose_neither(how: str) -> None:
    """Text in the middle of a call waits: closing the block would cut the call."""
    said: list[list[Json] | Json] = [
        [fragment(0, "a", "look", '{"x"')],
        {"content": "one "},
        {"reasoning_content": "two"},
        [fragment(0, arguments=":1}")],
        {"content": "three"},
        [fragment(1, "b", "find", "{}")],
    ]
    content = fold(streamed(how, *said))["content"]
    assert [part.get("text") or part.get("thinking") or part["input"] for part in content] == [
        {"x": 1},
        "one ",
        "two",
        "three",
        {},
    ]


@every_chunking
def test_s_two_calls_interleaved_are_shown_before_the_text_after_them(how: str) -> None:
    said: list[list[Json] | Json] = [
        [fragment(0, "a", "look", '{"x"'), fragment(1, "b", "find", "{}")],
        [fragment(0, arguments=":1}")],
        {"content": "then"},
    ]
    assert [part["type"] for part in fold(streamed(how, *said))["content"]] == ["tool_use", "tool_use", "text"]


@every_chunking
def test_s_text_between_calls_is_in_its_place(how: str) -> None:
    said: list[list[Json] | Json] = [
        [fragment(0, "a", "look", '{"x":1}')],
        {"content": "then"},
        [fragment(1, "b", "find", "{}")],
    ]
    assert [part["type"] for part in fold(streamed(how, *said))["content"]] == ["tool_use", "text", "tool_use"]


@every_chunking
def test_s_legacy_function_call_is_the_call_at_zero(how: str) -> None:
    said = [{"function_call": {"name": "look", "arguments": '{"x"'}}, {"function_call": {"arguments": ":1}"}}]
    assert [call[1:] for call in calls(how, *said)] == [("look", {"x": 1})]


@every_chunking
def test_s_names_come_back_as_the_caller_declared_them(how: str) -> None:
    names = Names([LONG, "Read"])
    said = [fragment(0, "a", short(LONG), "{}")], [fragment(1, "b", "read", "{}")], [fragment(2, "c", "New", "{}")]
    assert [call[1] for call in calls(how, *said, names=names)] == [LONG, "Read", "New"]


@every_chunking
def test_s_text_open_is_closed_before_a_call(how: str) -> None:
    events = streamed(how, {"content": "Hi"}, [fragment(0, "a", "look", "{}")])
    assert kinds(events)[2:7] == ["block_start", "block_delta", "block_stop", "block_start", "{}"]


def test_s_break_in_tool_is_known_once_a_block_is_open_and_not_before() -> None:
    machine = ChatAsMessages(answering())
    opened = []
    for piece in [fragment(0, "a", "look"), fragment(0, arguments="{")]:
        machine.take(msgspec.convert(chunk(content="x", tool_calls=[piece]), chat_wire.Chunk))
        opened.append(machine.tool_opened)
    assert opened == [False, True]


@every_chunking
def test_s_emoji_cut_in_two_inside_arguments_is_whole(how: str) -> None:
    pieces = [('{"x":"@', "\\ud83d"), ('@"}', "\\ude00")]
    raw = b"".join(
        sent(chunk(tool_calls=[fragment(0, "a", "look", piece)]), done=b"").replace(b"@", half.encode())
        for piece, half in pieces
    )
    events = as_messages(raw + sent(chunk(tool_calls=[fragment(1, "b", "\ue000", "{}")])), how)
    assert [part["input"] for part in fold(events)["content"]] == [{"x": "😀"}, {}]


@pytest.mark.parametrize(
    "said",
    ["x", 5, {"index": 0}, [None, 5, "x", [], {}], [{"function": 5}], [{"function": {"name": 5, "arguments": True}}]],
)
def test_s_calls_of_no_shape_are_none(said: Any) -> None:
    events = as_messages(sent(chunk(tool_calls=said, function_call="x"), chunk("stop")), "whole")
    assert [event["type"] for event in events] == ["message_start", "ping", "message_delta", "message_stop"]


def test_s_arguments_object_that_is_too_deep_is_the_providers_failure() -> None:
    deep: list[Any] = []
    for _ in range(3000):
        deep = [deep]
    with pytest.raises(UpstreamFailed, match="nested too deeply"):
        ChatAsMessages(answering()).take(
            chat_wire.Chunk(choices=[chat_wire.Choice(delta=chat_wire.Delta(tool_calls=[fragment(0, "a", "f", deep)]))])
        )
