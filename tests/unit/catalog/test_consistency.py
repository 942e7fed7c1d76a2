"""What an endpoint's rules may not say together."""

from typing import Any

import pytest

from libs.contracts.profile import EFFORTS, THINKING_STYLES, Profile
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.catalog.consistency import CHAT_ONLY, MESSAGES_ONLY, faults

WRONG: list[tuple[str, Protocol, dict[str, Any], str]] = [
    ("tool_choices", OPENAI_CHAT, {"tool_choices": ("none",), "thinking_tool_choices": ("none",)}, "must hold 'auto'"),
    ("thinking_tool_choices", OPENAI_CHAT, {"thinking_tool_choices": ()}, "must hold 'auto'"),
    ("thinking_tool_choices", OPENAI_CHAT, {"tool_choices": ("auto",)}, "which tool_choices does not"),
    ("formats", OPENAI_CHAT, {"formats": ("json_object",)}, "must hold 'text'"),
    ("drop_fields", OPENAI_CHAT, {"drop_fields": ("seed", "model")}, "holds model"),
    ("max_temperature", OPENAI_CHAT, {"open_interval_sampling": True}, "above 1"),
    ("thinking", OPENAI_CHAT, {"thinking": "adaptive"}, "does not exist in openai_chat"),
    ("thinking", OPENAI_CHAT, {"thinking": "budget"}, "does not exist in openai_chat"),
    ("thinking", ANTHROPIC_MESSAGES, {"thinking": "qwen"}, "does not exist in anthropic_messages"),
    ("budget_cap", OPENAI_CHAT, {"budget_cap": 5000}, "with budgets"),
    ("budget_cap", ANTHROPIC_MESSAGES, {"thinking": "deepseek", "budget_cap": 5000}, "with budgets"),
    ("efforts", OPENAI_CHAT, {"thinking": "qwen", "efforts": ("low",)}, "with efforts"),
    ("efforts", ANTHROPIC_MESSAGES, {"thinking": "budget", "efforts": ("low",)}, "with efforts"),
    ("efforts", OPENAI_CHAT, {"thinking": "effort"}, "is missing"),
    ("efforts", OPENAI_CHAT, {"thinking": "effort", "efforts": ("high", "low")}, "from the weakest"),
    ("thinking_when_absent", OPENAI_CHAT, {"thinking_when_absent": "off"}, "can switch it off"),
    ("stream_only", OPENAI_CHAT, {"stream_only": "thinking"}, "never thinks"),
]
RIGHT: list[tuple[Protocol, dict[str, Any]]] = [
    (OPENAI_CHAT, {}),
    (ANTHROPIC_MESSAGES, {}),
    (OPENAI_CHAT, {"thinking": "qwen", "budget_cap": 5000, "stream_only": "thinking"}),
    (OPENAI_CHAT, {"thinking": "effort", "efforts": EFFORTS}),
    (OPENAI_CHAT, {"thinks_by_default": True, "stream_only": "thinking"}),
    (OPENAI_CHAT, {"open_interval_sampling": True, "max_temperature": 1.0}),
    (OPENAI_CHAT, {"tool_choices": ("auto",), "thinking_tool_choices": ("auto",)}),
    (ANTHROPIC_MESSAGES, {"thinking": "budget", "budget_cap": 5000, "thinking_when_absent": "off"}),
    (ANTHROPIC_MESSAGES, {"thinking": "adaptive", "efforts": ("low", "max")}),
]


@pytest.mark.parametrize(("key", "protocol", "said", "reason"), WRONG)
def test_a_contradiction_is_told_at_its_key(key: str, protocol: Protocol, said: dict[str, Any], reason: str) -> None:
    found = [why for place, why in faults(protocol, Profile(**said)) if place == key]
    assert [reason in why for why in found] == [True]


@pytest.mark.parametrize(("protocol", "said"), RIGHT)
def test_what_fits_together_is_not_told(protocol: Protocol, said: dict[str, Any]) -> None:
    assert list(faults(protocol, Profile(**said))) == []


def test_keys_of_one_protocol_are_keys_of_a_profile_and_not_of_the_other() -> None:
    assert set(Profile.__struct_fields__) >= CHAT_ONLY | MESSAGES_ONLY
    assert not CHAT_ONLY & MESSAGES_ONLY


def test_every_way_to_think_belongs_to_a_protocol() -> None:
    assert THINKING_STYLES.keys() == set(PROTOCOLS)
    assert all("none" in styles for styles in THINKING_STYLES.values())
