"""The simulator's quieter sides over real connections: silence, counting, shapes of calls, the outline of a request."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionToolParam

from tests.fixtures.provider import Simulator

CHAT = "/somebody/chat/completions"
JSON = {"content-type": "application/json"}
HEADERS = {"x-api-key": "provider-key", "anthropic-version": "2023-06-01"}
SCHEMA: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("get_weather", "get_time")
]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{simulator.url}/somebody", api_key="sk-1", max_retries=0) as client:
        yield client


async def test_the_journal_outlines_a_request(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    turns = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}, {"role": "spy", "content": "c"}]
    sent = {"model": "m", "messages": turns, "a secret": 1, "top_p": 1}
    async with http.post(simulator.url + CHAT, json=sent) as response:
        assert response.status == 400
    async with http.post(simulator.url + CHAT, data=b"{", headers=JSON) as response:
        assert response.status == 400
    outlined, broken = simulator.served()
    assert outlined.fields == ("?", "messages", "model", "top_p")
    assert outlined.roles == ("system", "user", "?")
    assert (broken.fields, broken.roles) == ((), ())


async def test_a_stream_may_be_silent_after_its_headers(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    for said in ("[sim: start=60]", "[sim: start=60 chunking=byte]", "[sim: hang=0]"):
        streamed: Any = {"model": "m", "stream": True, "messages": [{"role": "user", "content": said}]}
        async with http.post(simulator.url + CHAT, json=streamed) as response:
            assert response.status == 200
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(response.content.readany(), 0.2)


async def test_tokens_are_counted_where_the_provider_counts_them(
    simulator: Simulator, http: aiohttp.ClientSession
) -> None:
    sent = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}
    for provider in ("anthropic", "somebody"):
        async with http.post(f"{simulator.url}/{provider}/v1/messages/count_tokens?beta=true", json=sent) as response:
            assert (response.status, await response.json()) == (200, {"input_tokens": 103})
    async with http.post(f"{simulator.url}/deepseek/v1/messages/count_tokens", json=sent) as response:
        assert (response.status, (await response.json())["error"]["type"]) == (404, "not_found_error")
    asked = {"messages": [{"role": "user", "content": "[sim: status=529]"}], "model": "m"}
    async with http.post(f"{simulator.url}/anthropic/v1/messages/count_tokens", json=asked) as response:
        assert response.status == 529
    assert [(record.ended, record.usage) for record in simulator.served()][:2] == [("done", None)] * 2


async def test_the_openai_sdk_reads_the_usual_shapes_of_calls(client: openai.AsyncOpenAI) -> None:
    for shape in ("whole", "first", "interleaved", "two"):
        async with client.chat.completions.stream(
            model="m",
            messages=[{"role": "user", "content": f"[sim: tools=get_weather,get_time calls={shape}]"}],
            tools=TOOLS,
        ) as stream:
            final = await stream.get_final_completion()
        calls = final.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["get_weather", "get_time"]
        for call in calls:
            assert msgspec.json.decode(call.function.arguments).keys() == {"city"}
