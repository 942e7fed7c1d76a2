"""However a provider cuts its tool calls and its bytes, the official SDKs read the same calls; and their tool runner
works on a model of the other protocol."""

from typing import Any, Final

import anthropic
import pytest

from libs.protocols import OPENAI_CHAT
from tests.fixtures.charges import assert_charged, owed
from tests.fixtures.gateway import Customer, Gateway
from tests.fixtures.scripted import CHAT_MODEL, MESSAGES_MODEL
from tests.fixtures.speakers import Speaker
from tests.fixtures.tap import Tapped

WEATHER: Final = """tools=get_weather,get_time args='{"city":"Oslo","days":"three"}'"""
INPUT: Final = {"city": "Oslo", "days": "three"}
# The SDK warns about the age of a model that the catalog sells under this name on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4:DeprecationWarning")


@pytest.fixture(scope="module")
async def gateway(tapped: Tapped) -> Gateway:
    return tapped.gateway


async def calls_of(speaker: Speaker, model: str, cue: str) -> list[tuple[str, Any]]:
    """Name and input of the calls of a streamed answer, whose ids all differ."""
    tools: Any = [speaker.tool("get_weather"), speaker.tool("get_time")]
    said = await speaker.ask(model, f"please [sim: {cue}] [sim: {WEATHER}]", stream=True, tools=tools)
    assert said.stop == "tools"
    assert len({call.id for call in said.calls}) == len(said.calls)
    return [(call.name, call.input) for call in said.calls]


BOTH: Final = [("get_weather", INPUT), ("get_time", INPUT)]
SHAPES: Final = ["repeat", "noindex", "noindex,repeat", "zero,repeat", "whole", "first", "two", "interleaved"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_p_normalise_index_and_repeat_id_for_the_helpers_of_both_sdks(speaker: Speaker, shape: str) -> None:
    assert await calls_of(speaker, CHAT_MODEL, f"calls={shape}") == BOTH


@pytest.mark.parametrize("speaker", [OPENAI_CHAT], indirect=True)
@pytest.mark.parametrize("shape", ["repeat", "noindex"])
async def test_p_normalise_index_and_repeat_id_at_every_byte(speaker: Speaker, shape: str) -> None:
    assert await calls_of(speaker, CHAT_MODEL, f"calls={shape} chunking=byte") == BOTH


@pytest.mark.parametrize("model", [CHAT_MODEL, MESSAGES_MODEL])
@pytest.mark.parametrize("chunking", ["whole", "byte", "odd", "odd,crlf", "byte,cr"])
async def test_s_two_calls_sequential_in_every_chunking(speaker: Speaker, model: str, chunking: str) -> None:
    assert await calls_of(speaker, model, f"thinking=5 comments=2 chunking={chunking}") == BOTH


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", [CHAT_MODEL, MESSAGES_MODEL])
async def test_end_to_end_the_tool_runner_of_the_sdk_runs_a_tool(
    tapped: Tapped, customer: Customer, model: str, stream: bool
) -> None:
    places: list[str] = []

    @anthropic.beta_async_tool
    async def get_weather(city: str) -> str:
        """Of a city.

        Args:
            city: its name
        """
        places.append(city)
        return "snow all day"

    before = len(tapped.asked)
    question = """what is it like? [sim: tools=get_weather args='{"city":"Oslo"}']"""
    client = anthropic.AsyncAnthropic(base_url=tapped.gateway.url, auth_token=customer.key, api_key=None, max_retries=0)
    async with client:
        runner = client.beta.messages.tool_runner(
            model=model,
            max_tokens=500,
            messages=[{"role": "user", "content": question}],
            tools=[get_weather],
            stream=stream,
        )
        last: Any = await runner.until_done()
    assert places == ["Oslo"]
    assert "snow all day" in "".join(block.text for block in last.content if block.type == "text")
    asked = tapped.asked[before:]
    assert len(asked) == 2
    await assert_charged(tapped.gateway, customer, sum(owed(tapped.gateway, each.request, model) for each in asked))


async def test_no_call_here_was_a_fault_of_ours(gateway: Gateway) -> None:
    assert gateway.faults() == []
