"""The official Node SDKs on models of both protocols: all four cells, plain and through their streaming helpers."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fixtures.agents import Place
from tests.fixtures.gateway import Gateway
from tests.fixtures.tap import Tapped

MODELS: Final = ("deepseek-chat", "claude-sonnet-4-20250514")
SCRIPTS: Final = {"chat.mjs": "tool_calls", "messages.mjs": "tool_use"}
OSLO: Final = [("get_weather", {"city": "Oslo"}), ("get_time", {"city": "Oslo"})]


@pytest.fixture(scope="module")
async def gateway(tapped: Tapped) -> Gateway:
    return tapped.gateway


async def report(sdks: Path, place: Place, script: str, **task: Any) -> dict[str, Any]:
    """What a script prints at its end."""
    task = {"url": place.gateway.url, "key": place.customer.key, "failing": False, **task}
    ended = await place.run(["node", sdks / script, json.dumps(task)], {})
    said: dict[str, Any] = json.loads(ended.output)
    return said


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("script", "tools"), SCRIPTS.items())
async def test_a_whole_conversation(
    sdks: Path, place: Place, script: str, tools: str, *, model: str, stream: bool
) -> None:
    said = await report(sdks, place, script, model=model, stream=stream)
    assert (said["text"]["model"], said["text"]["calls"]) == (model, [])
    assert "hello there" in said["text"]["text"]
    assert said["called"]["stop"] == tools
    assert len(said["called"]["thinking"].split()) == 9
    assert [(call["name"], call["input"]) for call in said["called"]["calls"]] == OSLO
    for answer in (said["answer"], said["loop"]):
        assert "snow all day" in answer["text"]
        assert "half past nine" in answer["text"]
    assert said["loop"]["ran"] == ["get_weather Oslo", "get_time Oslo"]
    await place.assert_charged(model)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("script", SCRIPTS)
async def test_what_goes_wrong_is_an_exception_of_the_package(
    sdks: Path, place: Place, script: str, model: str, stream: bool
) -> None:
    said = await report(sdks, place, script, model=model, stream=stream, failing=True)
    assert said["refused"] == {"error": "InternalServerError", "status": 502, "known": True}
    assert said["unknown"] == {"error": "BadRequestError", "status": 400, "known": True}
    assert said["broken"]["known"] is True
    assert said["broken"].get("status") == (None if stream else 502)
    assert said.get("counted", {"input_tokens": 10}) == {"input_tokens": 10}
    await place.assert_charged(model)
