"""Results of tools: right behind the calls, in their order, every call answered once."""

from typing import Any

import pytest

from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import (
    HELLO,
    Json,
    assistant,
    image,
    messages,
    pdf,
    result,
    text,
    tool_message,
    use,
    user,
    variant,
)

ATTACHED = "[image attached in the next user message]"


def behind(*content: Json | str, calls: str = "a", profile: Any = GENERIC_CHAT) -> list[Json]:
    """What follows the turn that made these calls."""
    return messages(HELLO, assistant(*(use(call) for call in calls)), user(*content), profile=profile)[2:]


def picture(data: str) -> Json:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Sunny", "Sunny"),
        ([text("One"), text("Two")], "One\nTwo"),
        ("", "(no output)"),
        ([], "(no output)"),
        ([text("")], "(no output)"),
        (None, "(no output)"),
    ],
)
def test_tool_result_string_array_text_empty_null(content: object, said: str) -> None:
    assert behind(result("a", content)) == [tool_message("a", said)]


def test_tool_result_null_is_like_none() -> None:
    assert behind({"type": "tool_result", "tool_use_id": "a", "content": None}) == behind(result("a"))


def test_tool_result_reorder_follows_the_calls() -> None:
    found = behind(result("b", "B"), result("c", "C"), result("a", "A"), calls="abc")
    assert found == [tool_message("a", "A"), tool_message("b", "B"), tool_message("c", "C")]


def test_tool_result_reorder_across_several_messages_of_the_user() -> None:
    found = messages(
        HELLO, assistant(use("a"), use("b")), user("First", result("b", "B")), user(result("a", "A"), "Second")
    )
    assert found[2:] == [tool_message("a", "A"), tool_message("b", "B"), user("First", "Second")]


@pytest.mark.parametrize(
    ("flag", "content", "said"),
    [
        (True, "no such file", "Error: no such file"),
        (True, "Error: no such file", "Error: no such file"),
        (True, "", "Error: (no output)"),
        (False, "fine", "fine"),
        (None, "fine", "fine"),
    ],
)
def test_tool_result_is_error_says_so_once(flag: bool | None, content: str, said: str) -> None:
    assert behind(result("a", content, is_error=flag)) == [tool_message("a", said)]


def test_tool_result_image_follows_in_the_users_message() -> None:
    found = behind(
        result("b", [image("Qg==")]), result("a", [text("Here"), image("QQ==")]), "?", calls="ab", profile=QWEN_CHAT
    )
    assert found == [
        tool_message("a", f"Here\n{ATTACHED}"),
        tool_message("b", ATTACHED),
        user(
            "Attached image(s) from tool result a:",
            picture("QQ=="),
            "Attached image(s) from tool result b:",
            picture("Qg=="),
            "?",
        ),
    ]


def test_tool_result_image_is_named_where_none_are_understood() -> None:
    assert behind(result("a", [image()])) == [tool_message("a", "[image omitted: this model does not accept images]")]


def test_tool_result_then_text_comes_behind_all_results() -> None:
    found = behind("One", result("b", "B"), "Two", result("a", "A"), "Three", calls="ab")
    assert found[2:] == [user("One", "Two", "Three")]


def test_tool_result_tool_reference_says_what_was_loaded() -> None:
    found = [{"type": "tool_reference", "tool_name": "TaskCreate"}, {"type": "tool_reference", "tool_name": "WebFetch"}]
    assert behind(result("a", found)) == [tool_message("a", "Tool loaded: TaskCreate\nTool loaded: WebFetch")]


def test_tool_result_then_document_comes_behind_it() -> None:
    found = behind(result("a", "PDF read."), pdf(title="T"))
    assert found == [tool_message("a", "PDF read."), user("[document omitted: application/pdf, T]")]


def test_tool_result_with_a_document_inside_is_attached() -> None:
    found = behind(result("a", [pdf(title="T.pdf")]), profile=variant(GENERIC_CHAT, file_parts=True))
    assert found[0] == tool_message("a", "[document attached in the next user message]")
    assert [part["type"] for part in found[1]["content"]] == ["text", "file"]


def test_tool_result_duplicate_the_last_one_counts() -> None:
    assert behind(result("a", "One"), result("a", "Two")) == [tool_message("a", "Two")]


def test_tool_use_unanswered_gets_a_result() -> None:
    found = behind(result("b", "B"), calls="ab")
    assert found == [tool_message("a", "(no result: the call was interrupted)"), tool_message("b", "B")]


@pytest.mark.parametrize("rest", [[], [user("Never mind")], [user("")], [assistant("Oh"), user("?")]])
def test_tool_use_unanswered_gets_a_result_wherever_it_stands(rest: list[Json]) -> None:
    found = messages(HELLO, assistant(use("a")), *rest)
    roles = [message["role"] for message in found]
    assert roles[roles.index("assistant") + 1] == "tool"


def test_tool_result_orphan_is_said_by_the_user() -> None:
    assert messages(user(result("gone", [text("Sunny")]), "So?")) == [user("Tool result (gone): Sunny", "So?")]


def test_tool_result_orphan_when_it_comes_too_late() -> None:
    found = messages(HELLO, assistant(use("a")), user("Wait"), assistant("Yes?"), user(result("a", "Sunny")))
    assert found[2] == tool_message("a", "(no result: the call was interrupted)")
    assert found[-1] == user("Tool result (a): Sunny")


def test_tool_result_orphan_keeps_its_images() -> None:
    (message,) = messages(user(result("gone", [image("QQ==")])), profile=QWEN_CHAT)
    assert message["content"] == [text(f"Tool result (gone): {ATTACHED}"), picture("QQ==")]


def test_tool_result_cache_mark_stands_on_the_last_result() -> None:
    mark = {"type": "ephemeral"}
    found = behind(result("b", "B"), result("a", "A", cache_control=mark), calls="ab", profile=QWEN_CHAT)
    assert found == [tool_message("a", "A"), tool_message("b", [text("B", cache_control=mark)])]


def test_tool_result_cache_mark_inside_is_not_sent() -> None:
    marked = text("A", cache_control={"type": "ephemeral"})
    assert behind(result("a", [marked]), profile=QWEN_CHAT) == [tool_message("a", "A")]


def test_tool_result_is_one_string_for_a_provider_of_strings() -> None:
    found = behind(result("a", [text("One"), text("Two")]), "?", "!", profile=DEEPSEEK_CHAT)
    assert found == [tool_message("a", "One\nTwo"), user("?\n\n!")]
