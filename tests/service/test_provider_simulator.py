"""The provider simulator as real clients and raw sockets see it."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import msgspec
import openai
import pytest
from anthropic.types import TextBlock, ThinkingBlock, ToolParam, ToolUseBlock
from openai.types.chat import ChatCompletionMessageFunctionToolCall, ChatCompletionToolParam
from openai.types.chat.chat_completion_message_function_tool_call_param import Function

from libs.pricing import Usage
from libs.sse import Event, Reader
from tests.fixtures.provider import Simulator

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
CHAT_TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("get_weather", "get_time")
]
TOOLS: list[ToolParam] = [{"name": name, "input_schema": SCHEMA} for name in ("get_weather", "get_time")]
HEADERS = {"x-api-key": "provider-key", "anthropic-version": "2023-06-01", "x-client-request-id": "req_1"}
ENDPOINTS = ("/deepseek/chat/completions", "/anthropic/v1/messages")


@pytest.fixture
async def openai_client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{simulator.url}/deepseek/v1", api_key="sk-1", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(simulator: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = f"{simulator.url}/anthropic"
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-2", max_retries=0) as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        yield session


def body(said: str, *, stream: bool = False) -> dict[str, Any]:
    """A request that both protocols accept."""
    return {"model": "m", "max_tokens": 300, "stream": stream, "messages": [{"role": "user", "content": said}]}


async def test_the_openai_sdk_gets_a_completion(simulator: Simulator, openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.create(
        model="deepseek-chat",
        messages=[{"role": "user", "content": "Good morning"}],
        extra_headers={"x-client-request-id": "req_7"},
    )
    [record] = simulator.served("req_7")
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.startswith("You said: Good morning —")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert record.usage == Usage(input=answer.usage.prompt_tokens, output=answer.usage.completion_tokens)
    assert (record.provider, record.model, record.ended, record.reported) == ("deepseek", "deepseek-chat", "done", True)
    assert record.path == "/deepseek/v1/chat/completions"


async def test_the_openai_sdk_gets_a_stream_with_thinking_tools_and_usage(openai_client: openai.AsyncOpenAI) -> None:
    async with openai_client.chat.completions.stream(
        model="deepseek-chat",
        messages=[{"role": "user", "content": "Go [sim: thinking=5 words=3 tools=get_weather,get_time]"}],
        tools=CHAT_TOOLS,
        stream_options={"include_usage": True},
    ) as stream:
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.content == "You said: Go"
    assert len(str(getattr(message, "reasoning_content", "")).split()) == 5
    calls = message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    for call in calls:
        assert msgspec.json.decode(call.function.arguments).keys() == {"city"}
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage is not None
    assert final.usage.completion_tokens_details is not None
    assert final.usage.completion_tokens_details.reasoning_tokens == 5


async def test_the_openai_sdk_can_answer_a_tool_call(simulator: Simulator) -> None:
    url = f"{simulator.url}/somebody/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-1", max_retries=0) as client:
        await _answers_a_tool_call(client)


async def _answers_a_tool_call(openai_client: openai.AsyncOpenAI) -> None:
    asked = "Weather? [sim: tools=get_weather]"
    first = await openai_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": asked}], tools=CHAT_TOOLS
    )
    [call] = first.choices[0].message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    called: Function = {"name": call.function.name, "arguments": call.function.arguments}
    second = await openai_client.chat.completions.create(
        model="m",
        messages=[
            {"role": "user", "content": asked},
            {
                "role": "assistant",
                "tool_calls": [{"id": call.id, "type": "function", "function": called}],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "Rain"},
        ],
        tools=CHAT_TOOLS,
    )
    assert second.choices[0].finish_reason == "stop"
    assert str(second.choices[0].message.content).startswith("The tool said: Rain —")


async def test_the_openai_sdk_raises_what_the_status_means(openai_client: openai.AsyncOpenAI) -> None:
    async def ask(said: str, key: str = "sk-1") -> object:
        client = openai_client.with_options(api_key=key)
        return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": said}])

    with pytest.raises(openai.AuthenticationError):
        await ask("Hello", key="bad-key")
    with pytest.raises(openai.RateLimitError) as limited:
        await ask("[sim: status=429 retry_after=2]")
    assert limited.value.response.headers["retry-after"] == "2"
    with pytest.raises(openai.BadRequestError, match="unknown cue 'oops'"):
        await ask("[sim: oops=1]")


async def test_the_openai_sdk_sees_an_error_event(simulator: Simulator, openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "[sim: error_after=3]"}], stream=True
    )
    with pytest.raises(openai.APIError, match="overloaded"):
        async for _ in stream:
            pass
    [record] = simulator.served()
    assert (record.ended, record.status, record.tokens, record.reported) == ("error", 200, 2, False)


async def test_the_anthropic_sdk_gets_a_message(
    simulator: Simulator, anthropic_client: anthropic.AsyncAnthropic
) -> None:
    cue = "[sim: usage=in:10,out:20,cache_read:4,cache_write:2,reasoning:3]"
    answer = await anthropic_client.messages.create(
        model="claude-x",
        max_tokens=50,
        messages=[{"role": "user", "content": f"Good evening {cue}"}],
    )
    [block] = answer.content
    assert isinstance(block, TextBlock)
    assert block.text.startswith("You said: Good evening —")
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 10, 20)
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (4, 2)
    [record] = simulator.served()
    assert record.usage == Usage(input=10, output=20, cache_read=4, cache_write=2, reasoning=3)
    assert (record.provider, record.protocol) == ("anthropic", "anthropic_messages")


async def test_the_anthropic_sdk_gets_a_stream_with_thinking_and_tools(
    simulator: Simulator, anthropic_client: anthropic.AsyncAnthropic
) -> None:
    async with anthropic_client.messages.stream(
        model="claude-x",
        max_tokens=400,
        messages=[{"role": "user", "content": "Go [sim: thinking=5 words=3 tools=get_weather,get_time]"}],
        tools=TOOLS,
    ) as stream:
        final = await stream.get_final_message()
    thinking, text, weather, clock = final.content
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.signature
    assert len(thinking.thinking.split()) == 5
    assert isinstance(text, TextBlock)
    assert text.text == "You said: Go"
    assert isinstance(weather, ToolUseBlock)
    assert isinstance(clock, ToolUseBlock)
    assert (weather.name, clock.name, weather.id == clock.id) == ("get_weather", "get_time", False)
    assert isinstance(weather.input, dict)
    assert weather.input.keys() == {"city"}
    assert final.stop_reason == "tool_use"
    [record] = simulator.served()
    assert record.usage == Usage(input=final.usage.input_tokens, output=final.usage.output_tokens, reasoning=5)


async def test_the_anthropic_sdk_raises_what_the_status_means(anthropic_client: anthropic.AsyncAnthropic) -> None:
    async def ask(said: str, key: str = "sk-2") -> object:
        client = anthropic_client.with_options(api_key=key)
        return await client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": said}])

    with pytest.raises(anthropic.AuthenticationError):
        await ask("Hello", key="bad-key")
    with pytest.raises(anthropic.RateLimitError):
        await ask("[sim: status=429]")
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        await ask("[sim: status=529]")
    assert overloaded.value.status_code == 529


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_cut_stream_breaks_off_after_its_event(
    simulator: Simulator, http: aiohttp.ClientSession, path: str
) -> None:
    seen: list[Event] = []
    async with http.post(simulator.url + path, json=body("[sim: cut=5]", stream=True)) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await _collect(response, seen)
    [record] = simulator.served()
    assert (len(seen), record.ended, record.reported) == (5, "cut", False)
    assert record.usage is not None
    assert record.usage.output == record.tokens > 0


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_an_early_end_looks_like_a_whole_answer(
    simulator: Simulator, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.post(simulator.url + path, json=body("[sim: end=5]", stream=True)) as response:
        streamed = await response.read()
    async with http.post(simulator.url + path, json=body("[sim: end=5]")) as response:
        assert len(await response.read()) == 5
    assert (len(list(Reader().feed(streamed))), b"[DONE]" in streamed) == (5, False)
    assert [record.ended for record in simulator.served()] == ["end", "end"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_before_the_headers_is_no_answer(
    simulator: Simulator, http: aiohttp.ClientSession, path: str, stream: bool
) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(simulator.url + path, json=body("[sim: cut]", stream=stream))
    ended = await simulator.until(bool)
    assert {(record.ended, record.status, record.usage) for record in ended} == {("cut", 0, None)}


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_cut_plain_answer_is_shorter_than_promised(
    simulator: Simulator, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.post(simulator.url + path, json=body("[sim: cut=9]")) as response:
        assert int(response.headers["content-length"]) > 9
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("chunking", ["byte", "odd", "whole", "odd,crlf", "byte,cr"])
async def test_any_chunking_arrives_as_the_same_events(
    simulator: Simulator, http: aiohttp.ClientSession, path: str, chunking: str
) -> None:
    async def events(said: str) -> list[bytes]:
        got: list[Event] = []
        async with http.post(simulator.url + path, json=body(f"Say [sim: usage=in:5] {said}", stream=True)) as response:
            await _collect(response, got)
        return [_without_id(event.data) for event in got]

    usual, other = await events(""), await events(f"[sim: chunking={chunking}]")
    assert other == usual
    assert len(usual) > 5


async def _collect(response: aiohttp.ClientResponse, into: list[Event]) -> None:
    """Adds the events as they arrive, so that they are there also when the stream breaks."""
    reader = Reader()
    async for chunk in response.content.iter_any():
        into += reader.feed(chunk)
    into += reader.finish()


def _without_id(data: bytes) -> bytes:
    """The event without what makes each answer its own."""
    if data == b"[DONE]":
        return data
    document = msgspec.json.decode(data)
    for holder in (document, document.get("message", {})):
        holder.pop("id", None)
        holder.pop("created", None)
    return msgspec.json.encode(document)


async def test_a_silent_provider_notices_that_its_caller_has_left(
    simulator: Simulator, http: aiohttp.ClientSession
) -> None:
    url = simulator.url + ENDPOINTS[0]
    for said in ("[sim: hang]", "[sim: delay=60]"):
        with pytest.raises(TimeoutError):
            await http.post(url, json=body(said, stream=True), timeout=aiohttp.ClientTimeout(total=0.2))
    async with http.post(url, json=body("[sim: hang=3]", stream=True)) as response:
        await response.content.readuntil(b"\n\n")
    ended = await simulator.until(lambda records: len(records) == 3)
    assert [record.ended for record in ended] == ["client_gone"] * 3
    assert [record.usage and record.usage.output for record in ended] == [None, None, 2]


@pytest.mark.parametrize(("provider", "runs_on"), [("deepseek", False), ("qwen", True)])
async def test_a_hang_up_costs_what_the_provider_makes_of_it(
    simulator: Simulator, http: aiohttp.ClientSession, provider: str, runs_on: bool
) -> None:
    said = body("[sim: gap=5 words=40]", stream=True)
    async with http.post(f"{simulator.url}/{provider}/chat/completions", json=said) as response:
        await response.content.readuntil(b"You")
    [record] = await simulator.until(bool)
    assert record.usage is not None
    assert (record.ended, record.usage.output) == ("client_gone", 40 if runs_on else 1)


async def test_the_journal_tells_who_called_and_never_what_was_said(
    simulator: Simulator, http: aiohttp.ClientSession
) -> None:
    async with http.post(simulator.url + ENDPOINTS[1], json=body("A secret plan")) as response:
        assert response.headers["request-id"] == response.headers["x-request-id"]
    arrived, ended = simulator.records("req_1")
    assert (arrived.event, ended.event, ended.ended) == ("arrived", "ended", "done")
    assert arrived.answer == ended.answer
    assert {"x-api-key", "x-client-request-id"} <= set(arrived.headers)
    raw = simulator.log_path.read_text()
    assert "secret" not in raw
    assert "provider-key" not in raw
    async with http.get(f"{simulator.url}/log", params={"request": "req_1"}) as response:
        assert [record["event"] for record in await response.json()] == ["arrived", "ended"]
    async with http.get(f"{simulator.url}/log", params={"request": "req_2"}) as response:
        assert await response.json() == []


async def test_a_request_that_is_too_large_or_misdirected_is_refused_in_its_protocol(
    simulator: Simulator, http: aiohttp.ClientSession
) -> None:
    async with http.post(simulator.url + ENDPOINTS[1], data=io.BytesIO(b" " * (65 << 20))) as response:
        assert (response.status, (await response.json())["error"]["type"]) == (413, "request_too_large")
    async with http.post(f"{simulator.url}/deepseek/embeddings", json={}) as response:
        assert (response.status, (await response.json())["error"]["type"]) == (404, "invalid_request_error")
    assert [record.ended for record in simulator.served()] == ["refused", "refused"]


async def test_ten_megabytes_are_answered(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    large = io.BytesIO(msgspec.json.encode(body("word " * 2_000_000)))
    headers = {"content-type": "application/json"}
    async with http.post(f"{simulator.url}/somebody/chat/completions", data=large, headers=headers) as response:
        assert (response.status, (await response.json())["usage"]["prompt_tokens"]) == (200, 2_500_003)


async def test_it_runs_as_a_program_until_it_is_stopped(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    log = simulator.log_path.with_name("program.jsonl")
    program = (sys.executable, "-m", "deploy.demo.provider", "--log", str(log))
    process = await asyncio.create_subprocess_exec(*program, "--port", "0", stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = next(word for word in (await process.stdout.readline()).decode().split() if word.startswith("http"))
        async with http.get(f"{url}/healthz") as response:
            assert response.status == 200
        async with http.post(url + ENDPOINTS[0], json=body("Hello")) as response:
            assert response.status == 200
        assert len(log.read_bytes().splitlines()) == 2
        taken = await asyncio.create_subprocess_exec(
            *program, "--port", url.rpartition(":")[2], stderr=asyncio.subprocess.PIPE
        )
        _, complaint = await taken.communicate()
        assert (taken.returncode, complaint.decode().count("\n")) == (1, 1)
        assert "cannot start" in complaint.decode()
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
