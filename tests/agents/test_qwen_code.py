"""qwen-code, headless and unmodified, in both protocols and on models of both: its tools run, and the bill is right."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.agents import Command, Place, bash, thoughts_of

MODELS: Final = ("deepseek-chat", "claude-sonnet-4-20250514")
SHOW: Final = bash("echo ran >>ran.txt; cat proof.txt")
SETTINGS: Final = {
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True, "disableUpdateNag": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
}
Events = list[dict[str, Any]]
Ask = Callable[..., Awaitable[Events]]

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.parametrize("model", MODELS),
    pytest.mark.parametrize("protocol", ["openai", "anthropic"]),
]


@pytest.fixture
def ask(qwen: Path, place: Place) -> Ask:
    """Runs `qwen` and returns what it printed, event by event."""

    async def run(protocol: str, model: str, prompt: str) -> Events:
        (place.home / ".qwen").mkdir()
        (place.home / ".qwen" / "settings.json").write_text(json.dumps(SETTINGS))
        url = f"{place.gateway.url}/v1" if protocol == "openai" else place.gateway.url
        name = protocol.upper()
        ours = {f"{name}_BASE_URL": url, f"{name}_API_KEY": place.customer.key, f"{name}_MODEL": model}
        command: Command = ["node", qwen, "--auth-type", protocol, "-m", model, "--yolo", "-o", "json", prompt]
        ended = await place.run(command, {**ours, "QWEN_TELEMETRY_ENABLED": "0"})
        events: Events = json.loads(ended.output)
        return events

    return run


async def test_a_tool_runs_and_its_result_comes_back(ask: Ask, place: Place, protocol: str, model: str) -> None:
    cue = f"[sim: thinking=7 tools=run_shell_command,run_shell_command args='{SHOW}']"
    result = (await ask(protocol, model, f"please {cue}"))[-1]
    assert (result["type"], result["subtype"], result["is_error"]) == ("result", "success", False)
    assert result["result"]
    assert result["stats"]["tools"]["totalSuccess"] == 2
    assert (place.work / "ran.txt").read_text().split() == ["ran", "ran"]
    thoughts = thoughts_of(place.asked_with_proof().body["messages"])
    assert [len(thought.split()) for thought in thoughts] == [7]
    await place.assert_charged(model)
