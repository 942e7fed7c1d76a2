"""The official Python SDKs on models of both protocols: all four cells, plain and through their streaming helpers."""

import json
from typing import Any, Final

import anthropic
import httpx2
import openai
import pytest

from libs import pricing
from tests.fixtures.charges import assert_charged, generation, owed
from tests.fixtures.gateway import Customer, Gateway, nano
from tests.fixtures.speakers import DOT, Anthropic, OpenAI, Said, Speaker
from tests.fixtures.tap import Asked, Tapped

CHAT_MODEL: Final = "deepseek-chat"
MESSAGES_MODEL: Final = "claude-sonnet-4-20250514"
MODELS: Final = (CHAT_MODEL, MESSAGES_MODEL)
WEATHER: Final = """[sim: tools=get_weather,get_time args='{"city":"Oslo"}']"""

# The SDK warns about the age of a model that the catalog sells under this name on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4:DeprecationWarning"),
    pytest.mark.parametrize("model", MODELS),
]
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture(scope="module")
async def gateway(tapped: Tapped) -> Gateway:
    return tapped.gateway


async def assert_paid(tapped: Tapped, customer: Customer, *answers: Said) -> None:
    """Each answer told its exact price, and the ledger has them all."""
    gateway, asked = tapped.gateway, tapped.asked[-len(answers) :]
    costs = [owed(gateway, each.request, said.model) for each, said in zip(asked, answers, strict=True)]
    assert [nano(said.cost) for said in answers] == costs
    await assert_charged(gateway, customer, sum(costs))


@both_ways
async def test_text_with_its_usage(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "hello there", stream=stream)
    assert (said.model, said.stop, said.calls) == (model, "end", [])
    assert "hello there" in said.text
    [served] = tapped.gateway.simulator.served(tapped.asked[-1].request)
    assert served.usage is not None
    used = served.usage
    assert said.prompt_tokens == used.input + used.cache_read + used.cache_write + used.cache_write_1h
    assert said.output_tokens == used.output
    await assert_paid(tapped, customer, said)


@both_ways
async def test_parallel_tools_there_and_back(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    tools = [speaker.tool("get_weather"), speaker.tool("get_time")]
    called = await speaker.ask(model, f"please {WEATHER}", stream=stream, tools=tools)
    assert called.stop == "tools"
    assert [(call.name, call.input) for call in called.calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_time", {"city": "Oslo"}),
    ]
    weather, time = called.calls
    assert weather.id != time.id
    results = speaker.results([(time, "half past nine"), (weather, "snow all day")])
    answer = await speaker.ask(model, results, called.turns, stream=stream, tools=tools)
    assert answer.stop == "end"
    assert "snow all day" in answer.text
    assert "half past nine" in answer.text
    await assert_paid(tapped, customer, called, answer)


@both_ways
async def test_thoughts_go_back_with_the_results_of_tools(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    options: dict[str, Any] = {"tools": [speaker.tool("get_weather"), speaker.tool("get_time")], **speaker.thinks}
    called = await speaker.ask(model, f"think [sim: thinking=9] {WEATHER}", stream=stream, **options)
    assert len(called.thinking.split()) == 9
    results = speaker.results([(call, "done") for call in called.calls])
    answer = await speaker.ask(model, results, called.turns, stream=stream, **options)
    assert answer.stop == "end"
    assert answer.thinking
    assert called.thinking in json.dumps(tapped.asked[-1].body, ensure_ascii=False)
    await assert_paid(tapped, customer, called, answer)


@both_ways
async def test_the_length_is_obeyed(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "tell me a long story", stream=stream, max_tokens=5)
    assert (said.stop, said.output_tokens) == ("length", 5)
    await assert_paid(tapped, customer, said)


@both_ways
async def test_a_stop_sequence_is_obeyed(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    name = "stop" if isinstance(speaker, OpenAI) else "stop_sequences"
    said = await speaker.ask(model, "one two halt three", stream=stream, **{name: ["halt"]})
    assert said.text.endswith("two ")
    assert said.stop in ("end", "stop_sequence")
    await assert_paid(tapped, customer, said)


@both_ways
async def test_a_schema_for_the_answer_reaches_the_model(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "where was she born?", stream=stream, **speaker.answers_in_json)
    assert said.stop == "end"
    assert "place_of_birth" in json.dumps(tapped.asked[-1].body)
    await assert_paid(tapped, customer, said)


@both_ways
async def test_an_image_is_shown_to_a_model_that_sees(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, speaker.image("what is this?"), stream=stream)
    assert said.stop == "end"
    assert (DOT in json.dumps(tapped.asked[-1].body)) == (model == MESSAGES_MODEL)
    await assert_paid(tapped, customer, said)
