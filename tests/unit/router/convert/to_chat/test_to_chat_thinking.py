"""Thinking and effort, in each provider's own words."""

from typing import Any

import pytest

from libs.contracts.profile import Effort, Profile
from libs.errors import InvalidRequest
from services.router.convert.to_chat.thinking import nearest
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, GLM_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import Json, converted, sent, variant

EFFORT_CHAT = variant(
    GENERIC_CHAT, thinking="effort", thinks_by_default=True, efforts=("none", "low", "medium", "high")
)
WORDS = {"thinking", "reasoning_effort", "enable_thinking", "thinking_budget"}
ENABLED = {"type": "enabled"}
DISABLED = {"type": "disabled"}


def switched(profile: Profile, thinking: object, effort: str | None = None) -> Json:
    """What is said about thinking."""
    asked: Json = {"thinking": thinking, "output_config": {"effort": effort} if effort else None}
    return {name: value for name, value in sent(profile, **asked).items() if name in WORDS}


@pytest.mark.parametrize("kind", ["adaptive", "between_tools"])
@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (DEEPSEEK_CHAT, {"thinking": ENABLED}),
        (QWEN_CHAT, {"enable_thinking": True}),
        (GLM_CHAT, {"thinking": ENABLED}),
        (EFFORT_CHAT, {}),
        (GENERIC_CHAT, {}),
    ],
)
def test_think_adaptive_deepseek_qwen_glm_generic(profile: Profile, said: Json, kind: str) -> None:
    assert switched(profile, {"type": kind}) == said


def test_think_adaptive_is_dropped_where_there_is_no_thinking() -> None:
    assert converted(GENERIC_CHAT, thinking={"type": "adaptive"}).dropped == ("thinking",)
    assert converted(DEEPSEEK_CHAT, thinking={"type": "adaptive"}).dropped == ()


def test_think_adaptive_with_an_effort_sends_both() -> None:
    assert switched(DEEPSEEK_CHAT, {"type": "adaptive"}, "max") == {"thinking": ENABLED, "reasoning_effort": "max"}


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (QWEN_CHAT, {"enable_thinking": True, "thinking_budget": 31999}),
        (variant(QWEN_CHAT, budget_cap=8192), {"enable_thinking": True, "thinking_budget": 8192}),
        (variant(QWEN_CHAT, budget_cap=None), {"enable_thinking": True, "thinking_budget": 31999}),
        (DEEPSEEK_CHAT, {"thinking": ENABLED, "reasoning_effort": "high"}),
        (GLM_CHAT, {"thinking": ENABLED, "reasoning_effort": "xhigh"}),
        (variant(GLM_CHAT, efforts=()), {"thinking": ENABLED}),
        (EFFORT_CHAT, {"reasoning_effort": "high"}),
    ],
)
def test_think_enabled_budget(profile: Profile, said: Json) -> None:
    assert switched(profile, {"type": "enabled", "budget_tokens": 31999}) == said


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        (1024, "low"),
        (2048, "low"),
        (2049, "medium"),
        (8192, "medium"),
        (8193, "high"),
        (24576, "high"),
        (24577, "xhigh"),
    ],
)
def test_think_enabled_budget_is_an_effort(budget: int, word: str) -> None:
    assert switched(GLM_CHAT, {"type": "enabled", "budget_tokens": budget})["reasoning_effort"] == word


def test_think_enabled_budget_yields_to_an_effort_that_was_said() -> None:
    asked = {"type": "enabled", "budget_tokens": 31999}
    assert switched(DEEPSEEK_CHAT, asked, "low")["reasoning_effort"] == "low"


@pytest.mark.parametrize("budget", [0, -1, 1.5, "1024", True, 10**30])
def test_think_enabled_budget_that_is_none_is_refused(budget: object) -> None:
    with pytest.raises(InvalidRequest, match="budget_tokens") as refused:
        converted(thinking={"type": "enabled", "budget_tokens": budget})
    assert refused.value.param == "thinking"


@pytest.mark.parametrize(
    ("profile", "said", "dropped"),
    [
        (DEEPSEEK_CHAT, {"thinking": DISABLED}, ()),
        (QWEN_CHAT, {"enable_thinking": False}, ()),
        (GLM_CHAT, {"thinking": DISABLED}, ()),
        (EFFORT_CHAT, {"reasoning_effort": "none"}, ()),
        (variant(EFFORT_CHAT, efforts=("low", "high")), {}, ("thinking",)),
        (GENERIC_CHAT, {}, ()),
        (variant(GENERIC_CHAT, thinks_by_default=True), {}, ("thinking",)),
    ],
)
def test_think_disabled_sends_the_off_switch(profile: Profile, said: Json, dropped: tuple[str, ...]) -> None:
    found = converted(profile, thinking=DISABLED)
    assert switched(profile, DISABLED) == said
    assert found.thinking_hidden
    assert found.dropped == dropped


def test_think_disabled_is_stronger_than_an_effort() -> None:
    assert switched(DEEPSEEK_CHAT, DISABLED, "high") == {"thinking": DISABLED}
    assert converted(DEEPSEEK_CHAT, thinking=DISABLED, output_config={"effort": "high"}).dropped == (
        "output_config.effort",
    )


@pytest.mark.parametrize("profile", [DEEPSEEK_CHAT, QWEN_CHAT, GLM_CHAT, EFFORT_CHAT, GENERIC_CHAT])
def test_think_absent_sends_nothing(profile: Profile) -> None:
    assert switched(profile, None) == {}
    assert not converted(profile).thinking_hidden


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (DEEPSEEK_CHAT, {"thinking": DISABLED}),
        (QWEN_CHAT, {"enable_thinking": False}),
        (GLM_CHAT, {"thinking": DISABLED}),
        (EFFORT_CHAT, {"reasoning_effort": "none"}),
    ],
)
def test_think_absent_with_the_setting_off_sends_the_off_switch(profile: Profile, said: Json) -> None:
    off = variant(profile, thinking_when_absent="off")
    assert switched(off, None) == said
    assert switched(off, None, "high") == said
    assert not converted(off).thinking_hidden


def test_think_absent_with_an_effort_does_not_switch_it_on() -> None:
    quiet = variant(GLM_CHAT, thinks_by_default=False)
    assert switched(quiet, None, "high") == {}
    assert converted(quiet, output_config={"effort": "high"}).dropped == ("output_config.effort",)
    assert switched(GLM_CHAT, None, "high") == {"reasoning_effort": "high"}


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (DEEPSEEK_CHAT, ["low", "high", "high", "high", "max"]),
        (GLM_CHAT, ["low", "medium", "high", "xhigh", "max"]),
        (EFFORT_CHAT, ["low", "medium", "high", "high", "high"]),
        (variant(GLM_CHAT, efforts=()), [None] * 5),
    ],
)
def test_effort_map(profile: Profile, said: list[str | None]) -> None:
    asked = ("low", "medium", "high", "xhigh", "max")
    assert [switched(profile, {"type": "adaptive"}, word).get("reasoning_effort") for word in asked] == said


@pytest.mark.parametrize(
    ("word", "budget"), [("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 24576), ("max", 38912)]
)
def test_effort_map_is_a_budget_for_qwen(word: str, budget: int) -> None:
    assert switched(QWEN_CHAT, {"type": "adaptive"}, word) == {"enable_thinking": True, "thinking_budget": budget}
    assert switched(variant(QWEN_CHAT, budget_cap=None), {"type": "adaptive"}, word) == {"enable_thinking": True}


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("minimal", ("low", "high", "max"), "low"),
        ("low", ("high", "max"), "high"),
        ("high", ("low", "medium"), "medium"),
        ("xhigh", ("low", "max"), "low"),
        ("max", ("low", "medium", "high"), "high"),
        ("low", ("xhigh", "max"), "xhigh"),
        ("low", ("none", "medium"), "medium"),
        ("low", ("none",), None),
        ("low", (), None),
    ],
)
def test_effort_map_goes_to_the_nearest_word(word: Effort, known: tuple[Effort, ...], meant: Effort | None) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize("thinking", [{"type": "of 2031"}, {"type": 7}, {"budget_tokens": 1024}])
def test_thinking_of_a_kind_that_nobody_knows_is_none(thinking: Any) -> None:
    found = converted(DEEPSEEK_CHAT, thinking=thinking, output_config={"effort": "of 2031"})
    assert found.dropped == ("thinking", "output_config.effort")
    assert WORDS.isdisjoint(found.body)
