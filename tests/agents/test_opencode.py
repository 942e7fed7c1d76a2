"""opencode, headless and unmodified, in both protocols and on models of both: its tools run, and the bill is right."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.agents import Command, Place, bash, lines, thoughts_of

MODELS: Final = ("deepseek-chat", "claude-sonnet-4-20250514")
PACKAGES: Final = {"openai_chat": "@ai-sdk/openai-compatible", "anthropic_messages": "@ai-sdk/anthropic"}
QUIET: Final = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_SHARE": "1",
    "npm_config_registry": "http://127.0.0.1:9",  # it would fetch a package for plugins
    "npm_config_fetch_retries": "0",
}
Events = list[dict[str, Any]]
SHOW: Final = bash("echo ran >>ran.txt; cat proof.txt")
Ask = Callable[..., Awaitable[Events]]

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.parametrize("model", MODELS),
    pytest.mark.parametrize("protocol", PACKAGES),
]


def configured(place: Place, protocol: str, model: str) -> str:
    """opencode's configuration file: one provider, which is the gateway, and no questions before a tool runs."""
    options = {"baseURL": f"{place.gateway.url}/v1", "apiKey": place.customer.key}
    models = {model: {"name": model, "tool_call": True, "limit": {"context": 200_000, "output": 8000}}}
    named = f"gateway/{model}"
    return json.dumps(
        {
            "provider": {"gateway": {"npm": PACKAGES[protocol], "options": options, "models": models}},
            "model": named,
            "small_model": named,
            "permission": {"bash": "allow"},
            "autoupdate": False,
            "share": "disabled",
        }
    )


@pytest.fixture
def ask(opencode: Path, place: Place) -> Ask:
    """Runs `opencode run` and returns what it printed, event by event."""

    async def run(protocol: str, model: str, prompt: str) -> Events:
        (place.work / "opencode.json").write_text(configured(place, protocol, model))
        command: Command = [opencode, "run", "--format", "json", "--title", "a title", "-m", f"gateway/{model}"]
        ended = await place.run([*command, *prompt.split(" ")], QUIET)  # it puts quotes around words with spaces
        return lines(ended.output)

    return run


async def test_a_tool_runs_and_its_result_comes_back(ask: Ask, place: Place, protocol: str, model: str) -> None:
    events = await ask(protocol, model, f"please [sim: tools=bash,bash args='{SHOW}']")
    parts = [event["part"] for event in events if event["type"] == "tool_use"]
    assert [part["tool"] for part in parts] == ["bash", "bash"]
    assert len({part["callID"] for part in parts}) == 2
    assert [part["state"]["output"].strip() for part in parts] == [place.proof] * 2
    assert (place.work / "ran.txt").read_text().split() == ["ran", "ran"]
    place.asked_with_proof()
    assert events[-1]["part"]["reason"] == "stop"
    assert any(event["type"] == "text" and event["part"]["text"] for event in events)
    await place.assert_charged(model)


async def test_thoughts_go_back_with_the_tool_result(ask: Ask, place: Place, protocol: str, model: str) -> None:
    events = await ask(protocol, model, f"please [sim: thinking=7 tools=bash args='{SHOW}']")
    assert events[-1]["part"]["reason"] == "stop"
    thoughts = thoughts_of(place.asked_with_proof().body["messages"])
    assert [len(thought.split()) for thought in thoughts] == [7]
    await place.assert_charged(model)
