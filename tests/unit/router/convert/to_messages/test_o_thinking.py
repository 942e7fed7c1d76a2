"""How much an OpenAI caller wants thought, and thinking that goes back to its provider."""

from typing import Any

import msgspec
import pytest

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.replay import Signed, Thought, keys_of, signed
from services.router.convert.to_messages.thinking import Settled, Wish, settle
from tests.fixtures.chat_requests import (
    HELLO,
    PLAIN,
    SIGNED,
    assistant,
    call,
    converted,
    forgotten,
    function,
    result,
    sent,
    text,
    user,
)
from tests.fixtures.profiles import ANTHROPIC, DEEPSEEK_MESSAGES, GLM_MESSAGES, QWEN_MESSAGES

FORCED: Any = {"tools": [function()], "tool_choice": "required"}
THOUGHTS = [Thought("First this. ", "sig-1"), Thought("", "", "hidden"), Thought("Then that.", "sig-2")]
THOUGHT = "First this. Then that."
BLOCKS = [
    {"type": "thinking", "thinking": "First this. ", "signature": "sig-1"},
    {"type": "redacted_thinking", "data": "hidden"},
    {"type": "thinking", "thinking": "Then that.", "signature": "sig-2"},
]


class Memory(dict[str, tuple[Signed, ...]]):
    def __call__(self, key: str) -> tuple[Signed, ...] | None:
        return self.get(key)


def memory_of(thoughts: list[Thought], *call_ids: str) -> Memory:
    return Memory(dict.fromkeys(keys_of(thoughts, call_ids), signed(thoughts)))


def tool_turn(**fields: Any) -> list[Any]:
    return [HELLO, assistant("I look.", call("a"), **fields), result("a")]


@pytest.mark.parametrize("effort", ["low", "medium", "high", "xhigh", "max"])
def test_o_reasoning_effort_is_the_same_word_where_it_is_known(effort: str) -> None:
    body = sent(reasoning_effort=effort, profile=ANTHROPIC)
    assert body["thinking"] == {"type": "adaptive"}
    assert body["output_config"] == {"effort": effort}


@pytest.mark.parametrize(
    ("effort", "expected"),
    [("minimal", "low"), ("low", "low"), ("medium", "high"), ("high", "high"), ("xhigh", "high"), ("ultra", "max")],
)
def test_o_reasoning_effort_is_the_nearest_word_elsewhere(effort: str, expected: str) -> None:
    body = sent(reasoning_effort=effort, profile=DEEPSEEK_MESSAGES)
    assert body["thinking"]["type"] == "enabled"
    assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]
    assert body["output_config"] == {"effort": expected}


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 24576), ("max", 32000)],
)
def test_o_reasoning_effort_is_a_budget_where_there_are_no_words(effort: str, budget: int) -> None:
    body = sent(reasoning_effort=effort, profile=SIGNED, cap=64_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert body["max_tokens"] == 64_000


@pytest.mark.parametrize(("cap", "budget"), [(32_000, 24_000), (4096, 3072), (1366, 1025)])
def test_o_reasoning_effort_is_shrunk_into_the_cap_and_never_raises_it(cap: int, budget: int) -> None:
    """The cap that is held is the cap that is sent: more could not be paid. A quarter is left for the answer."""
    body = sent(reasoning_effort="max", profile=SIGNED, cap=cap)
    assert body["thinking"]["budget_tokens"] == budget
    assert body["max_tokens"] == cap


@pytest.mark.parametrize("cap", [1, 2, 1024, 1364])
def test_o_reasoning_effort_is_given_up_where_the_cap_has_no_room_for_it(cap: int) -> None:
    """The cap that is held is the cap that is sent, and Anthropic takes no budget below 1024."""
    made = converted(reasoning_effort="low", profile=SIGNED, cap=cap)
    assert "thinking" not in made.body
    assert made.dropped == ("reasoning_effort",)
    assert converted(reasoning_effort="low", profile=GLM_MESSAGES, cap=cap).body["thinking"] == {"type": "disabled"}


def test_o_reasoning_effort_stays_below_the_largest_budget() -> None:
    capped = msgspec.structs.replace(SIGNED, budget_cap=5000)
    assert sent(reasoning_effort="max", profile=capped, cap=64_000)["thinking"]["budget_tokens"] == 5000


@pytest.mark.parametrize("profile", [ANTHROPIC, DEEPSEEK_MESSAGES, QWEN_MESSAGES, GLM_MESSAGES])
def test_o_reasoning_effort_none_switches_thinking_off(profile: Profile) -> None:
    made = converted(reasoning_effort="none", profile=profile)
    assert made.body["thinking"] == {"type": "disabled"}
    assert "output_config" not in made.body
    assert made.thinking_hidden
    assert made.dropped == ()


@pytest.mark.parametrize("profile", [ANTHROPIC, DEEPSEEK_MESSAGES, QWEN_MESSAGES, GLM_MESSAGES])
def test_o_reasoning_effort_absent_says_nothing(profile: Profile) -> None:
    made = converted(profile=profile)
    assert not made.body.keys() & {"thinking", "output_config"}
    assert not made.thinking_hidden


def test_o_reasoning_effort_absent_is_off_where_the_profile_says_so() -> None:
    profile = msgspec.structs.replace(DEEPSEEK_MESSAGES, thinking_when_absent="off")
    made = converted(profile=profile)
    assert made.body["thinking"] == {"type": "disabled"}
    assert not made.thinking_hidden


def test_o_reasoning_effort_is_listed_where_the_model_does_not_think() -> None:
    made = converted(reasoning_effort="high")
    assert "thinking" not in made.body
    assert made.dropped == ("reasoning_effort",)


def test_o_reasoning_effort_of_an_unknown_word_is_listed() -> None:
    assert converted(reasoning_effort="gigantic", profile=ANTHROPIC).dropped == ("reasoning_effort",)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"thinking": {"type": "enabled"}}, {"type": "enabled", "budget_tokens": 8192}),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, {"type": "enabled", "budget_tokens": 5000}),
        ({"thinking": {"type": "adaptive"}}, {"type": "enabled", "budget_tokens": 8192}),
        ({"thinking": {"type": "disabled"}}, {"type": "disabled"}),
        ({"enable_thinking": True}, {"type": "enabled", "budget_tokens": 8192}),
        ({"enable_thinking": True, "thinking_budget": 3000}, {"type": "enabled", "budget_tokens": 3000}),
        ({"enable_thinking": False, "thinking_budget": 3000}, {"type": "disabled"}),
        ({"thinking_budget": 100}, {"type": "enabled", "budget_tokens": 1024}),
        ({"thinking_budget": 0}, {"type": "disabled"}),
        ({"reasoning": {"effort": "low"}}, {"type": "enabled", "budget_tokens": 2048}),
        ({"reasoning": {"max_tokens": 3000}}, {"type": "enabled", "budget_tokens": 3000}),
        ({"reasoning": {"enabled": False}}, {"type": "disabled"}),
        ({"reasoning": {}}, None),
    ],
)
def test_o_reasoning_effort_has_other_spellings(fields: Any, expected: Any) -> None:
    assert sent(profile=SIGNED, cap=32_000, **fields).get("thinking") == expected


def test_a_budget_is_an_effort_where_there_are_words() -> None:
    words = {1024: "low", 8000: "medium", 20_000: "high", 30_000: "xhigh"}
    for budget, word in words.items():
        assert sent(thinking_budget=budget, profile=ANTHROPIC)["output_config"] == {"effort": word}


@pytest.mark.parametrize("fields", [{"thinking_budget": -5}, {"thinking_budget": "x"}, {"enable_thinking": "yes"}])
def test_a_wish_that_is_none_is_refused_by_name(fields: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        converted(profile=SIGNED, **fields)
    assert raised.value.param in fields


@pytest.mark.parametrize("profile", [SIGNED, ANTHROPIC])
def test_a_forced_tool_counts_more_than_thinking(profile: Profile) -> None:
    made = converted(reasoning_effort="high", profile=profile, **FORCED)
    assert "thinking" not in made.body
    assert made.body["tool_choice"] == {"type": "any"}
    assert made.dropped == ("reasoning_effort",)


def test_a_forced_tool_switches_off_a_model_that_thinks_unasked() -> None:
    chosen: Any = {"tools": [function()], "tool_choice": {"type": "function", "function": {"name": "look"}}}
    made = converted(profile=DEEPSEEK_MESSAGES, **chosen)
    assert made.body["thinking"] == {"type": "disabled"}
    assert made.dropped == ()


def test_o_reasoning_restore_gives_back_the_exact_blocks() -> None:
    """The caller returns text and the ids of the calls; the signatures are remembered."""
    turn = tool_turn(reasoning_content=THOUGHT)
    body = sent(*turn, profile=SIGNED, recall=memory_of(THOUGHTS, "a"), reasoning_effort="low")
    assert body["messages"][1]["content"][:3] == BLOCKS
    assert body["thinking"]["type"] == "enabled"


def test_o_reasoning_restore_finds_a_turn_without_calls_by_its_text() -> None:
    turn = [HELLO, assistant("hi", reasoning=THOUGHT), HELLO]
    body = sent(*turn, profile=ANTHROPIC, recall=memory_of(THOUGHTS))
    assert body["messages"][1]["content"] == [*BLOCKS, text("hi")]


def test_o_reasoning_restore_leads_each_merged_turn() -> None:
    turn = [HELLO, assistant("one", reasoning_content=THOUGHT), assistant("two", reasoning_content=THOUGHT), HELLO]
    body = sent(*turn, profile=ANTHROPIC, recall=memory_of(THOUGHTS))
    assert body["messages"][1]["content"] == [*BLOCKS, *BLOCKS, text("one"), text("two")]


def test_o_reasoning_restore_leaves_out_a_turn_of_nothing_but_thinking() -> None:
    body = sent(HELLO, assistant("", reasoning_content=THOUGHT), HELLO, profile=ANTHROPIC, recall=memory_of(THOUGHTS))
    assert [message["role"] for message in body["messages"]] == ["user"]


@pytest.mark.parametrize("profile", [DEEPSEEK_MESSAGES, QWEN_MESSAGES, GLM_MESSAGES])
def test_o_reasoning_unknown_goes_unsigned_to_a_provider_that_takes_it(profile: Profile) -> None:
    body = sent(*tool_turn(reasoning_content="Let me think."), profile=profile, reasoning_effort="high")
    unsigned = {"type": "thinking", "thinking": "Let me think.", "signature": ""}
    assert body["messages"][1]["content"][0] == unsigned
    assert body["thinking"]["type"] == "enabled"


@pytest.mark.parametrize("profile", [SIGNED, ANTHROPIC])
def test_o_reasoning_unknown_is_dropped_and_the_tool_turn_goes_on_without_thinking(profile: Profile) -> None:
    made = converted(*tool_turn(reasoning_content="Let me think."), profile=profile, reasoning_effort="high")
    assert made.body["messages"][1]["content"][0] == text("I look.")
    assert "thinking" not in made.body
    assert made.dropped == ("reasoning_effort",)


def test_o_reasoning_unknown_switches_off_a_provider_that_thinks_unasked() -> None:
    profile = msgspec.structs.replace(SIGNED, thinks_by_default=True)
    assert converted(*tool_turn(reasoning_content="x"), profile=profile).body["thinking"] == {"type": "disabled"}


def test_o_reasoning_unknown_in_a_turn_that_is_over_hinders_nothing() -> None:
    turn = [*tool_turn(reasoning_content="Let me think."), assistant("done"), user("more")]
    assert sent(*turn, profile=SIGNED, reasoning_effort="high")["thinking"]["type"] == "enabled"


def test_o_reasoning_unknown_to_the_caller_alone_is_lost_too() -> None:
    """The calls are remembered with thinking, and the caller returned none of it."""
    made = converted(*tool_turn(), profile=ANTHROPIC, recall=memory_of(THOUGHTS, "a"), reasoning_effort="high")
    assert [block["type"] for block in made.body["messages"][1]["content"]] == ["text", "tool_use"]
    assert "thinking" not in made.body


def test_a_tool_turn_that_never_had_thinking_hinders_only_where_thinking_must_begin_it() -> None:
    assert "thinking" not in sent(*tool_turn(), profile=SIGNED, reasoning_effort="high")
    assert sent(*tool_turn(), profile=ANTHROPIC, reasoning_effort="high")["thinking"] == {"type": "adaptive"}


def test_a_later_call_of_a_turn_that_began_with_thinking_needs_none() -> None:
    turn = [*tool_turn(reasoning_content=THOUGHT), assistant(None, call("b")), result("b")]
    body = sent(*turn, profile=SIGNED, recall=memory_of(THOUGHTS, "a"), reasoning_effort="high")
    assert body["thinking"]["type"] == "enabled"


def test_thinking_blocks_of_the_other_protocol_keep_their_signature_unless_it_is_ours() -> None:
    theirs = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
    redacted = {"type": "redacted_thinking", "data": "x"}
    ours = {"type": "thinking", "thinking": "Hm.", "signature": "tog1.abc"}
    kept = sent(HELLO, assistant([theirs, redacted, text("hi")]), HELLO, profile=ANTHROPIC)
    assert kept["messages"][1]["content"] == [theirs, redacted, text("hi")]
    dropped = sent(HELLO, assistant([ours, text("hi")]), HELLO, profile=ANTHROPIC)
    assert dropped["messages"][1]["content"] == [text("hi")]
    unsigned = sent(HELLO, assistant([ours, text("hi")]), HELLO, profile=DEEPSEEK_MESSAGES)
    assert unsigned["messages"][1]["content"][0] == {**ours, "signature": ""}


def test_a_generic_provider_takes_no_switch() -> None:
    assert settle(Wish(on=False), PLAIN, 9000, hindered=False) == Settled()
    assert settle(Wish(on=True), PLAIN, 9000, hindered=False) == Settled(given_up=True)
    assert forgotten("anything") is None
