"""Tool calls in Anthropic's streams for OpenAI's callers."""

from typing import Any

import pytest

from services.router.convert.names import Names, short
from tests.fixtures.chat_chunks import arguments, finish, fragments, of_blocks
from tests.fixtures.conversions import CHUNKINGS, as_chat
from tests.fixtures.message_events import TWO_TOOLS, added, closed, stream, tool
from tests.fixtures.strict_chat_stream import checked

in_every_chunking = pytest.mark.parametrize("how", CHUNKINGS)


@in_every_chunking
def test_t_tool_index_counts_tools_only(how: str) -> None:
    chunks = checked(as_chat(TWO_TOOLS, how))
    assert [(call["index"], call["id"]) for call in fragments(chunks) if "id" in call] == [
        (0, "toolu_A"),
        (1, "toolu_B"),
    ]
    assert {call["index"] for call in fragments(chunks)} == {0, 1}


@in_every_chunking
@pytest.mark.parametrize(
    ("pieces", "given", "said"),
    [
        ([], {}, "{}"),
        ([], None, "{}"),
        ([""], {}, "{}"),
        ([None], {}, "{}"),
        ([], {"command": "ls"}, '{"command":"ls"}'),
        (["", '{"a"', ":1}"], {}, '{"a":1}'),
        (['{"a":1}'], {"command": "not this"}, '{"a":1}'),
        ([{"a": 1}], {}, '{"a":1}'),
        ([], '{"a": 1}', '{"a": 1}'),
        ([], "", "{}"),
        ([], {"big": 2**70, "deep": [[None]], "字": "🙂"}, '{"big":1180591620717411303424,"deep":[[null]],"字":"🙂"}'),
    ],
)
def test_t_tool_input_in_start_or_in_deltas(how: str, pieces: list[Any], given: Any, said: str) -> None:
    assert arguments(of_blocks(*tool(0, "toolu_A", "Bash", *pieces, given=given), how=how)) == {0: said}


def test_t_tool_input_in_start_of_a_block_that_never_stops() -> None:
    block, _ = tool(0, "toolu_A", "Bash", given={"a": 1})
    assert arguments(of_blocks(block)) == {0: '{"a":1}'}


def test_t_tool_input_of_no_known_call_is_not_shown() -> None:
    late = added(0, "input_json_delta", partial_json="{}")
    assert arguments(of_blocks(*tool(0, "toolu_A", "Bash", '{"a":1}'), late)) == {0: '{"a":1}'}


def test_tool_names_are_mapped_back() -> None:
    long = "mcp__a_server_with_a_long_name__" + "x" * 60
    blocks = (*tool(0, "toolu_A", short(long), "{}"), *tool(1, "toolu_B", "bash", "{}"), *tool(2, "toolu_C", "New"))
    chunks = of_blocks(*blocks, names=Names([long, "Bash"]))
    assert [call["function"]["name"] for call in fragments(chunks) if "id" in call] == [long, "Bash", "New"]


@pytest.mark.parametrize("name", [None, "", 5, {}, []])
def test_a_call_without_a_name_is_left_out(name: Any) -> None:
    chunks = of_blocks(*tool(0, "toolu_A", name, "{}"), *tool(1, "toolu_B", "Bash", "{}"), stop="tool_use")
    assert [(call["index"], call["id"]) for call in fragments(chunks) if "id" in call] == [(0, "toolu_B")]
    assert finish(of_blocks(*tool(0, "toolu_A", name), stop="tool_use")) == "stop"


@pytest.mark.parametrize("given", ["toolu_A", None, "", 5, []])
def test_a_call_id_that_is_missing_or_taken_is_made(given: Any) -> None:
    chunks = of_blocks(*tool(0, "toolu_A", "Bash", "{}"), *tool(1, given, "Bash", "{}"), *tool(2, given, "Bash", "{}"))
    ids = [call["id"] for call in fragments(chunks) if "id" in call]
    assert (len(ids), ids[0]) == (3, "toolu_A")
    other = of_blocks(*tool(0, None, "Bash"), nonce="nonce-2")
    assert fragments(other)[0]["id"] not in ids


def test_a_block_that_is_opened_twice_is_one_call() -> None:
    begun, *rest = tool(0, "toolu_A", "Bash", '{"a":1}')
    assert arguments(of_blocks(begun, begun, *rest, closed(0))) == {0: '{"a":1}'}


def test_blocks_without_an_index_follow_each_other() -> None:
    first = [{**event, "index": None} for event in tool(0, "toolu_A", "Bash", '{"a":1}')[:-1]]
    second = [{**event, "index": None} for event in tool(0, "toolu_B", "Bash", '{"b":2}')]
    assert arguments(of_blocks(*first, *second)) == {0: '{"a":1}', 1: '{"b":2}'}


def test_calls_whose_deltas_are_mixed_stay_apart() -> None:
    a, a_end = tool(0, "toolu_A", "Bash")
    b, b_end = tool(1, "toolu_B", "Bash")
    pieces = [
        added(i, "input_json_delta", partial_json=p) for i, p in ((0, '{"a"'), (1, '{"b"'), (0, ":1}"), (1, ":2}"))
    ]
    assert arguments(of_blocks(a, b, *pieces, b_end, a_end)) == {0: '{"a":1}', 1: '{"b":2}'}


def test_a_tool_name_with_half_an_emoji_can_be_sent() -> None:
    raw = stream(*tool(0, "toolu_HIGH", "Bash_HIGH", given={"a": "HIGH"})).replace(b"HIGH", rb"\ud83d")
    (begun, argued) = fragments(checked(as_chat(raw, "event")))
    assert (begun["id"], begun["function"]["name"]) == ("toolu_�", "Bash_�")
    assert argued["function"]["arguments"] == '{"a":"\\ud83d"}'
