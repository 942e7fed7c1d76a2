"""What a provider is asked and what becomes of its bytes, end to end with one that says exactly what a test wants."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import web

from libs import pricing
from libs.pricing import Usage
from tests.fixtures.charges import generation
from tests.fixtures.gateway import Customer, Gateway, nano
from tests.fixtures.scripted import (
    BAD,
    CHAT,
    CHAT_MODEL,
    HELLO,
    MESSAGES,
    MESSAGES_MODEL,
    Provider,
    body_for,
    error_of,
    scripted_gateway,
)
from tests.fixtures.stores import Stores

DONE: Final = b"data: [DONE]\n\n"
TOOL: Final = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def upstream() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
async def gateway(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory, upstream: Provider
) -> AsyncIterator[Gateway]:
    async with scripted_gateway(stores, tmp_path_factory.mktemp("rows"), upstream) as running:
        yield running


def streamed(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/event-stream")


async def stream_of(gateway: Gateway, customer: Customer, path: str, **fields: Any) -> tuple[bytes, str]:
    """The bytes that the caller got, and the request's id."""
    body = body_for(path, stream=True, **fields)
    async with gateway.session.post(gateway.url + path, json=body, headers=customer.bearer) as response:
        assert response.status == 200
        return await response.read(), response.headers["x-request-id"]


async def test_p_same_dialect_bytes_of_a_chat_stream(gateway: Gateway, customer: Customer, upstream: Provider) -> None:
    """Every byte but the model's name."""
    lines = (
        b'{"of_tomorrow":[1.00,-0.0,12345678901234567890123,"\\u00e9\\ud83d"],"b":{"b":1,"a":2}}',
        b'{"id":"1","model":"theirs","choices":[{"index":0,"delta":{"reasoning_content":"\\u601d"},"z":1e2}]}',
        b'{"id":"1","model":"theirs","choices":[{"delta":{"content":"hi","audio":null},"index":0}],"fp":"x"}',
        b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop","logprobs":{"content":[]}}]}',
    )
    sent = b"".join(b"data: " + line + b"\n\n" for line in lines) + DONE
    upstream.reply = streamed(sent)
    got, _ = await stream_of(gateway, customer, CHAT)
    assert got == sent.replace(b"theirs", CHAT_MODEL.encode())


async def test_p_same_dialect_bytes_of_a_messages_stream(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    """Thinking with its signature, unknown events, blocks and fields, as they came."""
    lines = (
        b'{"type":"message_start","message":{"id":"1","model":"theirs","usage":{"input_tokens":9},"x":1.0}}',
        b'{"index":0,"type":"content_block_start","content_block":{"signature":"","thinking":"","type":"thinking"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\\u601d"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB+/=\\u002b"}}',
        b'{"type":"of_tomorrow","n":1.00,"deep":[[{}]]}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"block_of_tomorrow","data":"\\ud83d"}}',
        b'{"type":"ping"}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"context_management":null}',
        b'{"type":"message_stop"}',
    )
    sent = b"".join(b"event: " + json.loads(line)["type"].encode() + b"\ndata: " + line + b"\n\n" for line in lines)
    upstream.reply = streamed(sent)
    got, _ = await stream_of(gateway, customer, MESSAGES)
    assert got == sent.replace(b"theirs", MESSAGES_MODEL.encode())
    upstream.reply = streamed(b"".join(b"data: " + line + b"\n\n" for line in lines))
    unnamed, _ = await stream_of(gateway, customer, MESSAGES)
    assert unnamed == got


FIGURES: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHUNK: Final = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":null}\n\n'
FINISH: Final = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]'
COUNTED: Final = b'"usage":' + json.dumps(FIGURES, separators=(",", ":")).encode()
ON_FINISH: Final = b"data: " + FINISH + b"," + COUNTED + b"}\n\n"
TRAILING: Final = b"data: " + FINISH + b"}\n\n" + b'data: {"choices":[],' + COUNTED + b"}\n\n"


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}, {"other": 1}])
@pytest.mark.parametrize("told", [ON_FINISH, TRAILING], ids=["on the finish", "trailing"])
async def test_p_usage_injected_and_hidden(
    gateway: Gateway, customer: Customer, upstream: Provider, told: bytes, options: Any
) -> None:
    """The provider is always asked; the caller sees what it asked for itself; the record is exact either way."""
    upstream.reply = streamed(CHUNK + told + DONE)
    got, request = await stream_of(gateway, customer, CHAT, **({} if options is None else {"stream_options": options}))
    assert upstream.bodies[-1]["stream_options"]["include_usage"] is True
    wanted = bool(options and options.get("include_usage"))
    assert (b"prompt_tokens" in got, b'"choices":[]' in got) == (wanted, wanted and told is TRAILING)
    assert b'"finish_reason":"stop"' in got
    assert got.endswith(DONE)
    found = await generation(gateway, customer, request)
    assert (found["status"], found["usage"]["input"], found["usage"]["output"]) == ("usage", 10, 5)
    rates = pricing.cost(gateway.price_of(CHAT_MODEL), Usage(input=10, output=5), found_at(found))
    assert nano(found["cost"]) == rates


def found_at(found: dict[str, Any]) -> int:
    """When it began, in milliseconds: prices differ by the hour."""
    return int(found["started_at"])


async def asked_with(gateway: Gateway, customer: Customer, upstream: Provider, **fields: Any) -> Any:
    """What an Anthropic provider is asked for an OpenAI caller."""
    body = {"model": MESSAGES_MODEL, "messages": HELLO, **fields}
    status, answer, _ = await gateway.post(CHAT, body, customer.bearer)
    assert status == 200, answer
    return upstream.bodies[-1]


@pytest.mark.parametrize(
    ("fields", "cap"),
    [
        pytest.param(
            {"max_tokens": 10, "max_completion_tokens": 20},
            20,
        ),
        ({"max_tokens": 20, "max_completion_tokens": 10}, 10),
        ({"max_completion_tokens": 20}, 20),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10_000_000}, 64_000),
    ],
)
async def test_o_max_tokens_precedence_and_bounds(
    gateway: Gateway, customer: Customer, upstream: Provider, fields: Any, cap: int
) -> None:
    assert (await asked_with(gateway, customer, upstream, **fields))["max_tokens"] == cap


async def test_o_max_tokens_that_nobody_named_are_some(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    assert 1024 <= (await asked_with(gateway, customer, upstream))["max_tokens"] <= 64_000


async def test_o_n_2_is_a_400_that_names_it(gateway: Gateway, customer: Customer, upstream: Provider) -> None:
    asked = len(upstream.bodies)
    status, body, headers = await gateway.post(CHAT, body_for(CHAT, n=2, model=MESSAGES_MODEL), customer.bearer)
    error = error_of(CHAT, body, headers)
    assert (status, error["type"], error["code"], error["param"]) == (400, BAD, "unsupported_parameter", "n")
    assert len(upstream.bodies) == asked


THOUGHT: Final = {"type": "thinking", "thinking": "Let me see. 思", "signature": "EqQB-signed"}
REDACTED: Final = {"type": "redacted_thinking", "data": "b3BhcXVl"}
USE: Final = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}}


def signed_answer() -> web.Response:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "theirs"}
    figures = {"input_tokens": 9, "output_tokens": 5}
    said = {**head, "content": [THOUGHT, REDACTED, USE], "stop_reason": "tool_use", "usage": figures}
    return web.json_response({**said, "stop_sequence": None})


@pytest.mark.parametrize("returned", [True, False])
async def test_o_reasoning_restore_puts_the_very_block_back(
    gateway: Gateway, customer: Customer, upstream: Provider, returned: bool
) -> None:
    """Nobody else's key finds it, and a caller who returns no thinking gets none sent."""
    options = {"model": MESSAGES_MODEL, "max_tokens": 4000, "tools": [TOOL], "reasoning_effort": "low"}
    upstream.reply = signed_answer()
    _, answer, _ = await gateway.post(CHAT, {**options, "messages": HELLO}, customer.bearer)
    said = answer["choices"][0]["message"]
    assert said["reasoning_content"] == THOUGHT["thinking"]
    assert "EqQB" not in json.dumps(answer)
    if not returned:
        del said["reasoning_content"]
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "found"}
    body = {**options, "messages": [*HELLO, said, result]}
    for owner in (customer, await gateway.customer()):
        status, _, _ = await gateway.post(CHAT, body, owner.bearer)
        assert status == 200
        blocks = upstream.bodies[-1]["messages"][1]["content"]
        assert blocks == ([THOUGHT, REDACTED, USE] if returned and owner is customer else [USE])


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "nonsense"}])
async def test_head_without_a_good_key_is_answered(gateway: Gateway, headers: dict[str, str]) -> None:
    async with gateway.session.head(f"{gateway.url}/", headers=headers) as response:
        assert (response.status, await response.read()) == (200, b"")
        assert response.headers["request-id"] == response.headers["x-request-id"]


async def test_nothing_that_passed_through_was_a_fault_of_ours(gateway: Gateway) -> None:
    assert gateway.faults() == []
    assert await gateway.verify() is None
