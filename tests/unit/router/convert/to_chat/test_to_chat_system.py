"""What the system says: at the head, and in the middle of a conversation."""

import pytest

from libs.contracts.profile import MidSystem
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import (
    HELLO,
    assistant,
    converted,
    image,
    messages,
    result,
    sent,
    system,
    text,
    tool_message,
    use,
    user,
    variant,
)

MARK = {"type": "ephemeral"}
BILLING = text("x-anthropic-billing-header: cc_version=2.1.197.fa0; cc_entrypoint=sdk-cli;")


def reminder(said: str) -> str:
    return f"<system-reminder>\n{said}\n</system-reminder>"


def test_sys_string_becomes_the_first_system_message() -> None:
    assert messages(HELLO, system="S") == [{"role": "system", "content": "S"}, HELLO]


@pytest.mark.parametrize("nothing", [None, "", [], [text("")]])
def test_sys_string_that_says_nothing_is_no_message(nothing: object) -> None:
    assert messages(HELLO, system=nothing) == [HELLO]


def test_sys_blocks_are_joined_with_a_blank_line() -> None:
    assert messages(HELLO, system=[text("One"), text(""), text("Two")])[0] == {
        "role": "system",
        "content": "One\n\nTwo",
    }


def test_sys_billing_dropped() -> None:
    assert messages(HELLO, system=[BILLING, text("S")])[0]["content"] == "S"


def test_sys_billing_dropped_in_the_middle_too() -> None:
    assert messages(HELLO, system(BILLING)) == [HELLO]


def test_sys_billing_is_kept_where_it_is_wanted() -> None:
    kept = messages(HELLO, system=[BILLING, text("S")], profile=variant(GENERIC_CHAT, billing_header=True))[0]
    assert kept["content"] == f"{BILLING['text']}\n\nS"


def test_sys_billing_does_not_take_a_whole_prompt_with_it() -> None:
    assert messages(HELLO, system=f"{BILLING['text']}\nBe good.")[0]["content"].endswith("Be good.")


def test_sys_cache_control_stripped() -> None:
    assert "cache_control" not in str(sent(system=[text("S", cache_control=MARK)], messages=[HELLO]))


@pytest.mark.parametrize("profile", [QWEN_CHAT, variant(DEEPSEEK_CHAT, cache_control=True)])
def test_sys_cache_control_dashscope_keeps_it_on_parts_where_parts_are_taken(profile: object) -> None:
    marked = {"type": "ephemeral", "ttl": "1h"}
    prompt = messages(HELLO, system=[text("One"), text("Two", cache_control=marked)], profile=profile)[0]["content"]  # type: ignore[arg-type] # one of two
    assert prompt == ("One\n\nTwo" if profile is not QWEN_CHAT else [text("One"), text("Two", cache_control=MARK)])


def test_sys_cache_control_dashscope_wants_a_string_where_nothing_is_marked() -> None:
    assert messages(HELLO, system=[text("One"), text("Two")], profile=QWEN_CHAT)[0]["content"] == "One\n\nTwo"


def test_mid_system_after_user_is_a_reminder_behind_the_text() -> None:
    found = messages(HELLO, system("Be brief."), system="S")
    assert found[1:] == [{"role": "user", "content": [text("Hello"), text(reminder("Be brief."))]}]


def test_mid_system_after_user_joins_the_next_turn_of_the_user() -> None:
    found = messages(HELLO, assistant("Hi"), system(text("A"), text("B")), user("Go on"))
    assert found[2:] == [{"role": "user", "content": [text(reminder("A\n\nB")), text("Go on")]}]


def test_mid_system_after_user_may_carry_fields_of_its_own() -> None:
    later = {**system("Be brief."), "clear_at": "turn", "output_config": {"effort": "low"}}
    assert messages(HELLO, later, profile=DEEPSEEK_CHAT) == [user(f"Hello\n\n{reminder('Be brief.')}")]


def test_mid_system_after_tool_result_comes_behind_the_results() -> None:
    found = messages(HELLO, assistant(use("a")), user(result("a", "Sunny")), system("Be brief."))
    assert found[2:] == [tool_message("a", "Sunny"), user(reminder("Be brief."))]


@pytest.mark.parametrize("kind", ["reminder", "keep", "hoist"])
def test_mid_system_after_tool_result_never_stands_between_a_call_and_its_result(kind: MidSystem) -> None:
    said = (HELLO, assistant(use("a")), system("Be brief."), user(result("a", "Sunny")))
    found = messages(*said, profile=variant(GENERIC_CHAT, mid_system=kind))
    called = next(at for at, message in enumerate(found) if "tool_calls" in message)
    assert found[called + 1] == tool_message("a", "Sunny")


def test_mid_system_hoist_adds_it_to_the_first() -> None:
    profile = variant(GENERIC_CHAT, mid_system="hoist")
    found = messages(HELLO, system("Be brief."), user("Now"), system="S", profile=profile)
    assert found == [{"role": "system", "content": "S\n\nBe brief."}, user("Hello", "Now")]


def test_mid_system_keep_leaves_it_where_it_is() -> None:
    profile = variant(GENERIC_CHAT, mid_system="keep")
    found = messages(HELLO, system("Be brief."), user("Now"), system="S", profile=profile)
    assert found == [{"role": "system", "content": "S"}, HELLO, system("Be brief."), user("Now")]


def test_mid_system_before_the_first_turn_belongs_to_the_prompt() -> None:
    assert messages(system("Be brief."), HELLO, system="S") == [{"role": "system", "content": "S\n\nBe brief."}, HELLO]


def test_mid_system_that_says_nothing_is_nothing() -> None:
    assert messages(HELLO, system(""), assistant("Hi"), user("Now"))[0] == HELLO


def test_an_image_in_the_system_prompt_is_left_out() -> None:
    assert converted(QWEN_CHAT, system=[text("S"), image()]).body["messages"][0] == {"role": "system", "content": "S"}
