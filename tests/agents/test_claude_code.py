"""Claude Code, headless and unmodified, on models of both protocols: its tools run, and the bill is the provider's."""

import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.agents import Command, Place, bash, lines, thoughts_of

CHAT_MODEL: Final = "deepseek-chat"
MESSAGES_MODEL: Final = "claude-sonnet-4-20250514"
MODELS: Final = (CHAT_MODEL, MESSAGES_MODEL)
QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
DOT: Final = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
Events = list[dict[str, Any]]
Claude = Callable[..., Awaitable[Events]]

pytestmark = [pytest.mark.timeout(180), pytest.mark.parametrize("model", MODELS)]


@pytest.fixture
def claude_code(claude: Path, place: Place) -> Claude:
    """Runs `claude -p` and returns what it printed, event by event."""

    async def ask(model: str, prompt: str, **environment: str) -> Events:
        printed = ["--output-format", "stream-json", "--verbose"]
        command: Command = [claude, "-p", prompt, *printed, "--allowedTools", "Bash", "Read"]
        names = {"ANTHROPIC_MODEL": model, "ANTHROPIC_DEFAULT_HAIKU_MODEL": model}
        ours = {"ANTHROPIC_BASE_URL": place.gateway.url, "ANTHROPIC_AUTH_TOKEN": place.customer.key}
        ended = await place.run(command, {**names, **ours, **QUIET, **environment})
        return lines(ended.output)

    return ask


def blocks(events: Events, kind: str) -> list[dict[str, Any]]:
    """The content blocks of one type in all messages, each once."""
    messages = [event["message"]["content"] for event in events if event["type"] in ("assistant", "user")]
    return [block for content in messages if isinstance(content, list) for block in content if block["type"] == kind]


def assert_success(events: Events, said: str = "") -> None:
    [result] = [event for event in events if event["type"] == "result"]
    assert (result["subtype"], result["is_error"]) == ("success", False)
    assert result["result"] == blocks(events, "text")[-1]["text"] != ""
    assert said in result["result"]


async def test_a_tool_runs_and_its_result_comes_back(claude_code: Claude, place: Place, model: str) -> None:
    events = await claude_code(model, f"please [sim: tools=Bash args='{bash('cat proof.txt')}']")
    [call] = blocks(events, "tool_use")
    assert (call["name"], call["input"]["command"]) == ("Bash", "cat proof.txt")
    [result] = blocks(events, "tool_result")
    assert (result["tool_use_id"], result["content"]) == (call["id"], place.proof)
    place.asked_with_proof()
    assert_success(events, place.proof)
    await place.assert_charged(model)


async def test_parallel_tools_each_run_once(claude_code: Claude, place: Place, model: str) -> None:
    events = await claude_code(model, f"[sim: tools=Bash,Bash args='{bash('echo ran >>ran.txt; cat proof.txt')}']")
    calls, results = blocks(events, "tool_use"), blocks(events, "tool_result")
    assert len({call["id"] for call in calls}) == 2
    assert {result["tool_use_id"] for result in results} == {call["id"] for call in calls}
    assert [result["content"] for result in results] == [place.proof] * 2
    assert (place.work / "ran.txt").read_text().split() == ["ran", "ran"]
    assert_success(events, place.proof)
    await place.assert_charged(model)


async def test_thoughts_are_shown_and_go_back_with_the_tool_result(
    claude_code: Claude, place: Place, model: str
) -> None:
    events = await claude_code(model, f"[sim: thinking=7 tools=Bash args='{bash('cat proof.txt')}']")
    first = blocks(events, "thinking")[0]
    assert first["thinking"]
    assert first["signature"]
    assert first["thinking"] in thoughts_of(place.asked_with_proof().body["messages"])
    assert_success(events, place.proof)
    await place.assert_charged(model)


async def test_an_image_that_a_tool_reads_is_no_obstacle(claude_code: Claude, place: Place, model: str) -> None:
    (place.work / "dot.png").write_bytes(DOT)
    arguments = json.dumps({"file_path": str(place.work / "dot.png")})
    events = await claude_code(model, f"[sim: tools=Read args='{arguments}']")
    [result] = blocks(events, "tool_result")
    assert [block["type"] for block in result["content"]] == ["image"]
    assert_success(events)
    await place.assert_charged(model)


async def test_a_stream_that_breaks_in_its_text_is_asked_again_without_streaming(
    claude_code: Claude, place: Place, model: str
) -> None:
    events = await claude_code(model, "hello [sim stream: cut=5]", MAX_THINKING_TOKENS="0")
    assert [(served.stream, served.ended) for served in place.served()] == [(True, "cut"), (False, "done")]
    assert_success(events)
    await place.assert_charged(model)


async def test_a_stream_that_breaks_in_a_tool_call_runs_the_tool_once(
    claude_code: Claude, place: Place, model: str
) -> None:
    cue = f"[sim: tools=Bash args='{bash('echo ran >>ran.txt; cat proof.txt')}'] [sim stream: cut=8]"
    events = await claude_code(model, cue, CLAUDE_CODE_MAX_RETRIES="1", MAX_THINKING_TOKENS="0")
    assert (place.work / "ran.txt").read_text() == "ran\n"
    ended = [(served.stream, served.ended) for served in place.served()]
    assert ended == [(True, "cut"), (True, "cut"), (False, "done"), (True, "done")]
    assert_success(events, place.proof)
    await place.assert_charged(model)
