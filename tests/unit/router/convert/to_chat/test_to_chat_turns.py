"""Who said what: turns of one side become one, and the assistant's earlier turns keep what the provider needs."""

import pytest

from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import (
    HELLO,
    assistant,
    image,
    messages,
    result,
    sent,
    terms,
    text,
    thinking,
    tool_message,
    use,
    user,
    variant,
)


def test_user_string_and_blocks_equal() -> None:
    assert sent(messages=[user("Hello")]) == sent(messages=[user(text("Hello"))])


def test_two_user_turns_merged_in_order() -> None:
    assert messages(user("One"), user("Two", "Three")) == [user("One", "Two", "Three")]


def test_two_user_turns_merged_into_one_string_where_that_is_wanted() -> None:
    assert messages(user("One"), user("Two"), profile=DEEPSEEK_CHAT) == [user("One\n\nTwo")]


@pytest.mark.parametrize("empty", [user(""), user(text("")), assistant(""), assistant({"type": "redacted_thinking"})])
def test_two_user_turns_merged_where_nothing_is_left_between_them(empty: dict[str, object]) -> None:
    assert messages(user("One"), empty, user("Two")) == [user("One", "Two")]


def test_two_user_turns_merged_and_the_assistants_alike() -> None:
    found = messages(HELLO, assistant("Hi"), assistant(" there"), user(""), assistant("!", use("a")))
    assert found[1]["content"] == "Hi there!"
    assert [call["id"] for call in found[1]["tool_calls"]] == ["a"]


def test_tool_use_history_becomes_calls_with_compact_arguments() -> None:
    found = messages(HELLO, assistant(use("toolu_1", city="Paris", days=[1, 2])), user(result("toolu_1", "Sunny")))
    call = {"name": "weather", "arguments": '{"city":"Paris","days":[1,2]}'}
    assert found[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "toolu_1", "type": "function", "function": call}],
    }


def test_tool_use_history_keeps_the_text_beside_the_calls() -> None:
    found = messages(HELLO, assistant("Let me", " look.", use("a"), "There."), user(result("a", "Sunny")))
    assert found[1]["content"] == "Let me look.There."


def test_tool_use_history_keeps_the_digits_of_numbers() -> None:
    given = b'{ "n" : 1.00, "big":123456789012345678901234567890, "s": "a b\\u00e9" , "e" : [ ] }'
    said = b'[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"n","input":' + given + b"}]}]"
    found = convert(b'{"max_tokens":1,"messages":' + said + b"}", terms()).body["messages"][0]
    arguments = '{"n":1.00,"big":123456789012345678901234567890,"s":"a b\\u00e9","e":[]}'
    assert found["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize(
    ("given", "arguments"),
    [(None, "{}"), ({}, "{}"), ([1], '{"value":[1]}'), ("x", '{"value":"x"}'), (3, '{"value":3}')],
)
def test_tool_use_history_gives_every_call_an_object(given: object, arguments: str) -> None:
    called = {"type": "tool_use", "id": "a", "name": "weather", "input": given}
    found = messages(HELLO, assistant(called), user(result("a", "Sunny")))
    assert found[1]["tool_calls"][0]["function"]["arguments"] == arguments


def test_tool_use_history_stores_a_call_twice_and_sends_it_once() -> None:
    found = messages(HELLO, assistant(use("a", city="Paris"), use("a", city="Paris")), user(result("a", "Sunny")))
    assert [message.get("role") for message in found] == ["user", "assistant", "tool"]
    assert len(found[1]["tool_calls"]) == 1


def test_tool_use_history_keeps_ids_unless_they_are_too_long() -> None:
    long = "toolu_" + "x" * 60
    said = (HELLO, assistant(use(long), use("short")), user(result("short", "S"), result(long, "L")))
    kept = messages(*said, profile=variant(GENERIC_CHAT, tool_id_chars=66))
    cut = messages(*said, profile=variant(GENERIC_CHAT, tool_id_chars=40))
    assert [message["tool_call_id"] for message in kept[2:]] == [long, "short"]
    assert len(cut[2]["tool_call_id"]) == 40
    assert cut[2:] == [tool_message(cut[1]["tool_calls"][0]["id"], "L"), tool_message("short", "S")]


def test_redacted_thinking_in_history_is_ignored() -> None:
    redacted = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    found = messages(HELLO, assistant(redacted, use("a")), user(result("a", "Sunny")), profile=DEEPSEEK_CHAT)
    assert found[1]["reasoning_content"] == ""
    assert found[2] == tool_message("a", "Sunny")


def test_thinking_replay_tool_turn_sends_the_thoughts_back() -> None:
    said = assistant(thinking("First, "), thinking("the city."), "Let me look.", use("a"))
    found = messages(HELLO, said, user(result("a", "Sunny")), profile=DEEPSEEK_CHAT)
    assert found[1]["reasoning_content"] == "First, the city."
    assert found[1]["content"] == "Let me look."


def test_thinking_replay_missing_sends_an_empty_field() -> None:
    found = messages(HELLO, assistant(use("a")), user(result("a", "Sunny")), profile=DEEPSEEK_CHAT)
    assert found[1]["reasoning_content"] == ""


def test_thinking_replay_off_sends_none() -> None:
    found = messages(HELLO, assistant(thinking("Hm."), use("a")), user(result("a", "Sunny")), profile=GENERIC_CHAT)
    assert "reasoning_content" not in found[1]


@pytest.mark.parametrize(("replay", "present"), [("tool_turns", False), ("all", True), ("none", False)])
def test_thinking_text_only_turn_is_replayed_by_profile(replay: str, present: bool) -> None:
    profile = variant(QWEN_CHAT, reasoning_replay=replay)
    found = messages(HELLO, assistant(thinking("Hm."), "Hi"), user("Go on"), profile=profile)
    assert found[1].get("reasoning_content") == ("Hm." if present else None)


def test_thinking_alone_is_no_turn() -> None:
    profile = variant(QWEN_CHAT, reasoning_replay="all")
    assert messages(HELLO, assistant(thinking("Hm.")), user("Go on"), profile=profile) == [user("Hello", "Go on")]


@pytest.mark.parametrize(("taken", "ending"), [(True, "assistant"), (False, "user")])
def test_a_prefill_is_continued_or_asked_to_be(taken: bool, ending: str) -> None:
    found = messages(HELLO, assistant("The answer is "), profile=variant(GENERIC_CHAT, prefill=taken))
    assert found[1] == {"role": "assistant", "content": "The answer is "}
    assert found[-1]["role"] == ending


def test_a_servers_own_search_in_history_is_what_could_be_seen_of_it() -> None:
    searched = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}}
    page = {"type": "web_search_result", "title": "T", "url": "https://t.example", "encrypted_content": "sealed"}
    found = messages(
        HELLO,
        assistant(searched, {"type": "web_search_tool_result", "tool_use_id": "srv", "content": [page]}, "So."),
        user("And?"),
    )
    assert found[1]["content"] == "T\nhttps://t.exampleSo."


def test_an_image_of_the_assistants_is_text() -> None:
    found = messages(HELLO, assistant(image()), user("And?"), profile=QWEN_CHAT)
    assert found[1]["content"].startswith("[image omitted")
