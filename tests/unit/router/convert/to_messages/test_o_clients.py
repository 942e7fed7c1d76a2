"""What real clients sent, replayed to every Messages provider."""

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from libs.contracts.profile import Profile
from services.router.convert.terms import Terms
from services.router.convert.to_messages.request import convert
from tests.fixtures.chat_requests import SIGNED, forgotten
from tests.fixtures.profiles import ANTHROPIC, DEEPSEEK_MESSAGES, GLM_MESSAGES, QWEN_MESSAGES
from tests.fixtures.strict_messages_request import accepted

CLIENTS: Final = Path(__file__).parents[4] / "data" / "clients"
RECORDED: Final = ("opencode_openai_tool", "opencode_title", "qwen_first", "qwen_two_tools_thinking")
PROFILES: Final = {
    "anthropic": ANTHROPIC,
    "deepseek": DEEPSEEK_MESSAGES,
    "qwen": QWEN_MESSAGES,
    "glm": GLM_MESSAGES,
    "budget": SIGNED,
}


def replayed(recorded: str, profile: Profile) -> tuple[Any, Any]:
    """What the client sent and what the provider gets."""
    body = msgspec.json.decode((CLIENTS / f"{recorded}.json").read_bytes())["body"]
    terms = Terms(upstream_model="m", output_cap=8000, upstream_stream=True, profile=profile)
    made = convert(msgspec.json.encode(body), terms, forgotten)
    assert made.dropped == ()
    return body, accepted(made)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("recorded", RECORDED)
def test_real_opencode_and_qwen_bodies_are_accepted_and_lose_nothing(recorded: str, profile: Profile) -> None:
    asked, body = replayed(recorded, profile)
    assert body["system"][0]["text"] == asked["messages"][0]["content"]
    told = [tool["function"] for tool in asked.get("tools", ())]
    assert [tool["input_schema"] for tool in body.get("tools", ())] == [tool["parameters"] for tool in told]
    assert [tool["name"] for tool in body.get("tools", ())] == [tool["name"] for tool in told]


def test_real_opencode_and_qwen_bodies_keep_their_tool_run() -> None:
    _, body = replayed("qwen_two_tools_thinking", DEEPSEEK_MESSAGES)
    called, answered = (message["content"] for message in body["messages"][-2:])
    assert [block["type"] for block in called] == ["thinking", "text", "tool_use", "tool_use"]
    assert called[2]["input"] == {"command": "echo hi", "description": "say hi", "is_background": False}
    assert [block["tool_use_id"] for block in answered] == ["call_aaa", "call_bbb"]
    assert answered[1]["content"] == [{"type": "text", "text": "hello file 你好\n"}]


def test_real_opencode_and_qwen_bodies_two_users_are_one() -> None:
    _, body = replayed("opencode_title", ANTHROPIC)
    assert [len(message["content"]) for message in body["messages"]] == [2]
    assert body["output_config"] == {"effort": "low"}
