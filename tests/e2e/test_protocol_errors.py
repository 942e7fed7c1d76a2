"""Every error, ours and the providers', in both dialects with its retry headers."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from libs.runtime import postgres
from tests.fixtures.gateway import Customer, Gateway
from tests.fixtures.scripted import (
    BAD,
    CHAT,
    MAX_BODY,
    MESSAGES,
    NO_RETRY,
    PATHS,
    Provider,
    body_for,
    error_of,
    hints,
    said,
    scripted_gateway,
)
from tests.fixtures.stores import Stores


@pytest.fixture(scope="module")
def upstream() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
async def gateway(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory, upstream: Provider
) -> AsyncIterator[Gateway]:
    async with scripted_gateway(stores, tmp_path_factory.mktemp("surface"), upstream) as running:
        yield running


# ----- The error table


class Row(NamedTuple):
    status: int
    body: bytes
    openai: tuple[int, str, str | None]
    anthropic: tuple[int, str]
    hints: Mapping[str, str] = MappingProxyType({})


OURS = (502, "server_error", "upstream_unavailable"), (502, "api_error"), NO_RETRY
UPSTREAM: dict[str, Row] = {
    "400": Row(400, said("Bad n"), (400, BAD, None), (400, BAD)),
    "400 with a code": Row(400, said("Bad n", code="E", param="n"), (400, BAD, "E"), (400, BAD)),
    "422": Row(422, b'{"detail":"Bad n"}', (400, BAD, None), (400, BAD)),
    "401": Row(401, said("Incorrect API key provided: sk-12345678"), *OURS),
    "403": Row(403, said("No"), *OURS),
    "402": Row(402, said("Insufficient Balance"), *OURS),
    "quota": Row(429, said("You exceeded your quota", code="insufficient_quota"), *OURS),
    "404": Row(404, said("No such model"), *OURS),
    "408": Row(408, b"", (504, "server_error", "upstream_timeout"), (504, "timeout_error")),
    "413": Row(413, b"", (413, BAD, "request_too_large"), (413, "request_too_large")),
    "429": Row(
        429, b"", (429, "rate_limit_error", "rate_limit_exceeded"), (429, "rate_limit_error"), {"retry-after": "7"}
    ),
    "500": Row(500, b"oh", (502, "server_error", "upstream_error"), (502, "api_error")),
    "HTML": Row(502, b"<html>", (502, "server_error", "upstream_error"), (502, "api_error")),
    "504": Row(504, b"", (504, "server_error", "upstream_timeout"), (504, "timeout_error")),
    "503": Row(503, b"", (503, "server_error", "overloaded"), (529, "overloaded_error"), {"retry-after": "7"}),
    "529": Row(529, b"", (503, "server_error", "overloaded"), (529, "overloaded_error"), {"retry-after": "7"}),
}


@pytest.mark.parametrize("how", [(path, stream) for path in PATHS for stream in (False, True)], ids=str)
@pytest.mark.parametrize("name", UPSTREAM)
async def test_error_table_of_upstream_refusals(
    gateway: Gateway, customer: Customer, upstream: Provider, name: str, how: tuple[str, bool]
) -> None:
    row, (path, stream) = UPSTREAM[name], how
    upstream.reply = web.Response(status=row.status, body=row.body, headers={"retry-after": "7"})
    status, body, headers = await gateway.post(path, body_for(path, stream=stream), customer.bearer)
    error = error_of(path, body, headers)
    if path == CHAT:
        assert (status, error["type"], error["code"]) == row.openai
    else:
        assert (status, error["type"]) == row.anthropic
    assert hints(headers) == row.hints
    assert "sk-12345678" not in error["message"]
    assert (await customer.account())["held"] == "0.000000000"


ONLY_SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]
OWN: dict[str, tuple[Any, tuple[int, str, str | None], tuple[int, str]]] = {
    "malformed JSON": (b"{", (400, BAD, None), (400, BAD)),
    "bad field": ({"max_tokens": 0}, (400, BAD, None), (400, BAD)),
    "unsupported": ({"tools": ONLY_SEARCH}, (400, BAD, "unsupported_parameter"), (400, BAD)),
    "unknown model": ({"model": "gpt-17"}, (400, BAD, "model_not_found"), (400, BAD)),
    "body over the cap": (b"a" * (MAX_BODY + 1), (413, BAD, "request_too_large"), (413, "request_too_large")),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", OWN)
async def test_error_table_of_our_own(gateway: Gateway, customer: Customer, name: str, path: str) -> None:
    sent, openai, anthropic = OWN[name]
    status, body, headers = await gateway.post(
        path, sent if isinstance(sent, bytes) else body_for(path, **sent), customer.bearer
    )
    error = error_of(path, body, headers)
    if path == CHAT:
        assert (status, error["type"], error["code"]) == openai
    else:
        assert (status, error["type"]) == anthropic
    assert hints(headers) == {}


@pytest.mark.parametrize("path", PATHS)
async def test_error_table_of_money_and_of_a_suspended_account(gateway: Gateway, path: str) -> None:
    poor = await gateway.customer("0")
    status, body, headers = await gateway.post(path, body_for(path), poor.bearer)
    error = error_of(path, body, headers)
    assert (status, hints(headers)) == (402, NO_RETRY)
    assert error["type"] == ("insufficient_quota" if path == CHAT else "billing_error")
    frozen = await gateway.customer("1")
    await _suspend(gateway, frozen)
    status, body, headers = await gateway.post(path, body_for(path), frozen.bearer)
    assert (status, hints(headers)) == (403, NO_RETRY)
    assert error_of(path, body, headers)["type"] == "permission_error"


async def _suspend(gateway: Gateway, customer: Customer) -> None:
    async with postgres.connected(gateway.stores.edge_url, "edge") as connection:
        await connection.execute("UPDATE org SET state = 'suspended' WHERE org_id = $1", customer.org)


@pytest.mark.parametrize("path", PATHS)
async def test_quota_is_never_retried(gateway: Gateway, customer: Customer, upstream: Provider, path: str) -> None:
    for code in ("insufficient_quota", "billing_error"):
        upstream.reply = web.Response(status=429, body=said("x", code=code), headers={"retry-after": "9"})
        _, _, headers = await gateway.post(path, body_for(path), customer.bearer)
        assert hints(headers) == NO_RETRY


# ----- Context overflow, roles, details

LIMIT = "This model's maximum context length is 65536 tokens. However, "
TOO_LONG = {
    LIMIT + "your messages resulted in 70001 tokens.": (70001, 65536),
    LIMIT + "you requested 92000 tokens (84000 in the messages, 8000 in the completion).": (84000, 65536),
    "Range of input length should be [1, 98304]": (98305, 98304),
    "prompt is too long: 210000 tokens > 200000 maximum": (210000, 200000),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("text", TOO_LONG)
async def test_context_overflow_is_told_in_one_wording(
    gateway: Gateway, customer: Customer, upstream: Provider, path: str, text: str
) -> None:
    upstream.reply = web.Response(status=400, body=said(text))
    status, body, headers = await gateway.post(path, body_for(path), customer.bearer)
    error = error_of(path, body, headers)
    tokens, maximum = TOO_LONG[text]
    assert (status, error["type"]) == (400, BAD)
    assert error["message"] == f"prompt is too long: {tokens} tokens > {maximum} maximum"
    if path == CHAT:
        assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "text",
    [
        LIMIT + "you requested 68000 tokens (60000 in the messages, 8000 in the completion).",
        "input length and `max_tokens` exceed context limit: 60000 + 8000 > 65536",
    ],
)
async def test_context_overflow_of_the_answer_is_told_in_the_max_tokens_form(
    gateway: Gateway, customer: Customer, upstream: Provider, text: str
) -> None:
    upstream.reply = web.Response(status=400, body=said(text))
    _, body, headers = await gateway.post(MESSAGES, body_for(MESSAGES), customer.bearer)
    found = error_of(MESSAGES, body, headers)["message"]
    assert found == "input length and `max_tokens` exceed context limit: 60000 + 8000 > 65536"


async def test_mid_system_refused_by_an_a_upstream_is_told_so_that_the_client_takes_it_back(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    text = "messages.1.role: Input should be 'user' or 'assistant'"
    upstream.reply = web.Response(status=400, body=said(text, type=BAD))
    status, body, headers = await gateway.post(MESSAGES, body_for(MESSAGES), customer.bearer)
    error = error_of(MESSAGES, body, headers)
    assert status == 400
    assert error["message"] == f"{text} (role 'system' in messages is not supported)"


async def test_details_of_an_upstream_error_reach_the_caller(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    details = {"error_code": "tool_reference_unresolved"}
    upstream.reply = web.Response(status=400, body=said("No such tool", details=details))
    _, body, headers = await gateway.post(MESSAGES, body_for(MESSAGES), customer.bearer)
    assert error_of(MESSAGES, body, headers)["details"] == details


async def test_no_error_here_was_a_fault_of_ours(gateway: Gateway) -> None:
    assert gateway.faults() == []
