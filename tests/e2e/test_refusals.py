"""Every refusal has the right status and the caller's own body shape, for streams and plain requests alike."""

import json
from typing import Any

import pytest

from services.edge import commands
from tests.fixtures.gateway import Customer, Gateway, until

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
PATHS = (CHAT, MESSAGES)
HELLO = [{"role": "user", "content": "hello"}]


def body_for(path: str, content: str = "hello", *, stream: bool = False, **fields: Any) -> dict[str, Any]:
    model = "deepseek-chat" if path == CHAT else "claude-sonnet-4-20250514"
    messages = [{"role": "user", "content": content}]
    return {"model": model, "max_tokens": 100, "messages": messages, "stream": stream, **fields}


def assert_shape(path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
    """The error object, after checking the whole body against its protocol."""
    request_id = headers["x-request-id"]
    assert request_id == headers["request-id"]
    assert request_id.startswith("req_")
    if path == MESSAGES:
        assert body.keys() == {"type", "error", "request_id"}
        assert (body["type"], body["request_id"]) == ("error", request_id)
        assert {"type", "message"} <= body["error"].keys()
    else:
        assert body.keys() == {"error"}
        assert {"message", "type", "param", "code"} <= body["error"].keys()
    error: dict[str, Any] = body["error"]
    assert error["message"]
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer nonsense"},
        {"x-api-key": "sk-to-" + "a" * 49},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer ☃' OR 1=1 --"},
    ],
)
async def test_a_missing_or_wrong_key_is_a_401(
    gateway: Gateway, path: str, stream: bool, headers: dict[str, str]
) -> None:
    status, body, answered = await gateway.post(path, body_for(path, stream=stream), headers)
    error = assert_shape(path, body, answered)
    assert status == 401
    assert answered["x-should-retry"] == "false"
    assert error["type"] == ("authentication_error" if path == MESSAGES else "invalid_request_error")
    if path == CHAT:
        assert error["code"] == "invalid_api_key"


async def test_a_revoked_key_is_refused_within_two_seconds(gateway: Gateway, customer: Customer) -> None:
    status, _, _ = await gateway.post(CHAT, body_for(CHAT), customer.bearer)
    assert status == 200
    assert await commands.revoke_key(gateway.settings("edge"), customer.key_id)

    async def refused() -> bool:
        status, _, _ = await gateway.post(CHAT, body_for(CHAT), customer.bearer)
        return status == 401

    assert await until(refused, 5)


WRONG_BODIES: dict[str, tuple[Any, str | None]] = {
    "no model": ({"messages": HELLO}, "model"),
    "no messages": ({"model": "deepseek-chat"}, "messages"),
    "empty messages": ({"model": "deepseek-chat", "messages": []}, "messages"),
    "model not a string": ({"model": 5, "messages": HELLO}, "model"),
    "messages not a list": ({"model": "deepseek-chat", "messages": "hello"}, "messages"),
    "message not an object": ({"model": "deepseek-chat", "messages": ["hello"]}, "messages[0]"),
    "message without a role": ({"model": "deepseek-chat", "messages": [{"content": "x"}]}, "messages[0].role"),
    "stream not a bool": ({"model": "deepseek-chat", "messages": HELLO, "stream": "yes"}, "stream"),
    "max_tokens zero": ({"model": "deepseek-chat", "messages": HELLO, "max_tokens": 0}, "max_tokens"),
    "max_tokens negative": ({"model": "deepseek-chat", "messages": HELLO, "max_tokens": -1}, "max_tokens"),
    "max_tokens true": ({"model": "deepseek-chat", "messages": HELLO, "max_tokens": True}, "max_tokens"),
    "max_tokens a string": ({"model": "deepseek-chat", "messages": HELLO, "max_tokens": "10"}, "max_tokens"),
    "max_tokens huge": ({"model": "deepseek-chat", "messages": HELLO, "max_tokens": 1 << 63}, "max_tokens"),
    "temperature too high": ({"model": "deepseek-chat", "messages": HELLO, "temperature": 3}, "temperature"),
    "temperature a string": ({"model": "deepseek-chat", "messages": HELLO, "temperature": "hot"}, "temperature"),
    "malformed JSON": (b'{"model": "deepseek-chat", "messages": [', None),
    "not JSON at all": (b"hello", None),
    "not an object": (b"[1, 2, 3]", None),
    "no body": (b"", None),
    "NaN": (b'{"model":"deepseek-chat","messages":[{"role":"user","content":"x"}],"temperature":NaN}', None),
    "1e400": (b'{"model":"deepseek-chat","messages":[{"role":"user","content":"x"}],"max_tokens":1e400}', "max_tokens"),
    "nested too deeply": (b'{"model":"deepseek-chat","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", WRONG_BODIES)
async def test_a_wrong_body_is_a_400_that_names_the_field(
    gateway: Gateway, customer: Customer, path: str, name: str
) -> None:
    sent, param = WRONG_BODIES[name]
    status, body, headers = await gateway.post(path, sent, customer.bearer)
    error = assert_shape(path, body, headers)
    assert status == 400
    assert error["type"] == "invalid_request_error"
    if path == CHAT:
        assert error["param"] == param
    if param is not None:
        assert param in error["message"]
    assert (await customer.account())["held"] == "0.000000000"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_model_is_a_400(gateway: Gateway, customer: Customer, path: str, stream: bool) -> None:
    status, body, headers = await gateway.post(path, body_for(path, stream=stream, model="gpt-17"), customer.bearer)
    error = assert_shape(path, body, headers)
    assert status == 400
    assert "gpt-17" in error["message"]
    if path == CHAT:
        assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
async def test_an_org_with_nothing_left_is_a_402_with_the_numbers(gateway: Gateway, path: str, stream: bool) -> None:
    poor = await gateway.customer("0")
    status, body, headers = await gateway.post(path, body_for(path, stream=stream), poor.bearer)
    error = assert_shape(path, body, headers)
    assert status == 402
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
    assert error["available"] == "0.000000000"
    assert float(error["required"]) > 0
    assert error["affordable_max_tokens"] == 0
    assert error["type"] == ("billing_error" if path == MESSAGES else "insufficient_quota")
    assert gateway.simulator.served(headers["x-request-id"]) == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_named_length_that_is_too_dear_is_a_402_that_names_one_that_is_not(gateway: Gateway, path: str) -> None:
    poor = await gateway.customer("0.01")
    status, body, headers = await gateway.post(path, body_for(path, max_tokens=100_000, n=None), poor.bearer)
    error = assert_shape(path, body, headers)
    if status == 200:
        pytest.fail("a cent should not buy a hundred thousand tokens")
    assert status == 402
    affordable = error["affordable_max_tokens"]
    assert affordable >= 64
    status, _, _ = await gateway.post(path, body_for(path, max_tokens=affordable), poor.bearer)
    assert status == 200


async def test_a_length_left_to_us_is_what_the_credit_buys(gateway: Gateway) -> None:
    poor = await gateway.customer("0.001")
    sent = {"model": "deepseek-chat", "messages": HELLO}
    status, _, headers = await gateway.post(CHAT, sent, poor.bearer)
    assert status == 200
    assert 64 <= int(headers["x-tokenoutput-max-tokens"]) < 8192


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "failure",
    [
        ("status=500", 502),
        ("status=401", 502),
        ("status=402", 502),
        ("garbage", 502),
        ("cut", 502),
        ("body=error200", 502),
        ("status=400", 400),
        ("status=429 retry_after=7", 429),
    ],
    ids=str,
)
async def test_a_providers_failure_is_the_callers_502_and_costs_nothing(
    gateway: Gateway, customer: Customer, path: str, stream: bool, failure: tuple[str, int]
) -> None:
    cue, expected = failure
    status, body, headers = await gateway.post(path, body_for(path, f"[sim: {cue}]", stream=stream), customer.bearer)
    error = assert_shape(path, body, headers)
    assert status == expected
    assert "127.0.0.1" not in json.dumps(error)
    if expected == 429:
        assert headers["retry-after"] == "7"
    account = await customer.account()
    assert (account["balance_exact"], account["held"]) == ("10.000000000", "0.000000000")


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing"])
async def test_an_unknown_address_is_a_404_in_the_shape_of_its_protocol(gateway: Gateway, path: str) -> None:
    status, body, headers = await gateway.post(path, {}, {})
    assert status == 404
    assert_shape(MESSAGES if path.startswith(MESSAGES) else CHAT, body, headers)


async def test_the_root_answers_quickly_and_without_a_key(gateway: Gateway) -> None:
    async with gateway.session.head(gateway.url) as response:
        assert response.status == 200
