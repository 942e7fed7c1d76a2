"""Requests that real clients sent, for four kinds of provider. cc_count_tokens.json is not among them: it is a request
to the endpoint that counts, and has no `max_tokens`."""

import json
from pathlib import Path

import msgspec
import pytest

from libs.contracts.profile import Profile
from libs.errors import UnsupportedParameter
from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, GLM_CHAT, QWEN_CHAT
from tests.fixtures.strict_chat_request import faults
from tests.unit.router.convert.to_chat.asks import Json, terms

CLIENTS = Path(__file__).parents[4] / "data" / "clients"
PROFILES = {"generic": GENERIC_CHAT, "deepseek": DEEPSEEK_CHAT, "qwen": QWEN_CHAT, "glm": GLM_CHAT}
REQUESTS = [
    "cc_bad_json_input",
    "cc_fallback_nonstream",
    "cc_first_turn",
    "cc_image_result",
    "cc_maxtokens_resume",
    "cc_mcp_long_names",
    "cc_opus48",
    "cc_pdf",
    "cc_sonnet45_budget",
    "cc_subagent_system_after_result",
    "cc_title_json_schema",
    "cc_tool_reference",
    "cc_two_tools_thinking_error",
    "opencode_anthropic_tool",
]


def body_of(name: str) -> bytes:
    return json.dumps(json.loads((CLIENTS / f"{name}.json").read_bytes())["body"]).encode()


def sent(name: str, profile: Profile) -> Json:
    body: Json = json.loads(msgspec.json.encode(convert(body_of(name), terms(profile)).body))
    return body


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("name", REQUESTS)
def test_real_claude_code_body_is_accepted_everywhere(name: str, profile: Profile) -> None:
    assert faults(sent(name, profile), profile) == []


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_real_claude_code_body_that_wants_a_servers_search_is_refused(profile: Profile) -> None:
    with pytest.raises(UnsupportedParameter, match="server tool web_search is not supported by this model"):
        convert(body_of("cc_websearch_server_tool"), terms(profile))


def test_real_claude_code_body_every_one_is_looked_at() -> None:
    elsewhere = {"cc_count_tokens", "cc_websearch_server_tool"}
    recorded = {path.stem for path in CLIENTS.glob("cc_*.json")} | {"opencode_anthropic_tool"}
    assert recorded == {*REQUESTS, *elsewhere}


def test_real_claude_code_body_keeps_the_order_of_its_calls() -> None:
    found = sent("cc_two_tools_thinking_error", DEEPSEEK_CHAT)["messages"]
    assert [message["role"] for message in found] == ["system", "user", "assistant", "tool", "tool", "tool"]
    assert [message["tool_call_id"] for message in found[3:]] == ["toolu_01AAA", "toolu_01BBB", "toolu_01CCC"]
    assert found[2]["reasoning_content"] == "Let me think."
    assert [message["content"].startswith("Error: ") for message in found[3:]] == [False, False, True]


def test_real_claude_code_body_puts_a_late_system_message_behind_the_result() -> None:
    found = sent("cc_subagent_system_after_result", GENERIC_CHAT)["messages"]
    roles = [message["role"] for message in found]
    assert roles.count("system") == 1
    assert "<system-reminder>" in json.dumps(found[roles.index("tool") + 1])


def test_real_claude_code_body_of_another_conversation_shares_its_prefix() -> None:
    first, second = (sent(name, GENERIC_CHAT)["messages"][0] for name in ("cc_first_turn", "cc_bad_json_input"))
    assert first == second


def test_real_claude_code_body_names_what_it_left_out() -> None:
    found = convert(body_of("cc_first_turn"), terms(DEEPSEEK_CHAT))
    assert found.dropped == ("metadata.user_id", "context_management")
