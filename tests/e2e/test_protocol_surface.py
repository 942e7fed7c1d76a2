"""What both protocols promise beside the answers themselves: keys, versions, lists, counts, and a clear word about a
body that cannot be served."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from services.edge import keys
from tests.fixtures.gateway import Customer, Gateway
from tests.fixtures.scripted import (
    BAD,
    CHAT,
    CHAT_MODEL,
    HELLO,
    MAX_BODY,
    MESSAGES,
    MESSAGES_MODEL,
    NO_RETRY,
    PATHS,
    Provider,
    body_for,
    error_of,
    hints,
    scripted_gateway,
)
from tests.fixtures.stores import Stores

COUNT = "/v1/messages/count_tokens"
CLIENTS = Path(__file__).parents[1] / "data" / "clients"


@pytest.fixture(scope="module")
def upstream() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
async def gateway(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory, upstream: Provider
) -> AsyncIterator[Gateway]:
    async with scripted_gateway(stores, tmp_path_factory.mktemp("surface"), upstream) as running:
        yield running


# ----- Keys and versions


@pytest.mark.parametrize("path", [*PATHS, COUNT])
@pytest.mark.parametrize("form", ["x-api-key", "bearer", "both", "both the same", "lower bearer", "basic beside it"])
async def test_auth_takes_the_key_in_either_header(gateway: Gateway, customer: Customer, path: str, form: str) -> None:
    headers = {
        "x-api-key": {"x-api-key": customer.key},
        "bearer": {"authorization": f"Bearer {customer.key}"},
        "both": {"x-api-key": customer.key, "authorization": "Bearer sk-ant-of-somebody-else"},
        "both the same": {"x-api-key": customer.key, "authorization": f"Bearer {customer.key}"},
        "lower bearer": {"authorization": f"bearer {customer.key}"},
        "basic beside it": {"x-api-key": customer.key, "authorization": "Basic dXNlcg=="},
    }[form]
    status, body, answered = await gateway.post(path, body_for(path), headers)
    assert status == 200, body
    assert answered["x-request-id"] == answered["request-id"]


UNKNOWN = keys.mint(bytes(32))
WRONG_KEYS: dict[str, dict[str, str]] = {
    "none": {},
    "wrong bearer": {"authorization": "Bearer nonsense"},
    "wrong x-api-key": {"x-api-key": "sk-ant-api03-nonsense"},
    "unknown": {"x-api-key": UNKNOWN},
    "empty": {"authorization": "Bearer ", "x-api-key": ""},
    "basic": {"authorization": "Basic dXNlcg=="},
}


@pytest.mark.parametrize("path", [*PATHS, COUNT])
@pytest.mark.parametrize("name", WRONG_KEYS)
async def test_auth_without_a_good_key_is_a_401_in_the_dialect(gateway: Gateway, path: str, name: str) -> None:
    status, body, headers = await gateway.post(path, body_for(path), WRONG_KEYS[name])
    error = error_of(path, body, headers)
    assert (status, hints(headers)) == (401, NO_RETRY)
    if path == CHAT:
        assert (error["type"], error["code"]) == (BAD, "invalid_api_key")
    else:
        assert error["type"] == "authentication_error"


@pytest.mark.parametrize("path", PATHS)
async def test_auth_goes_by_x_api_key_when_both_are_there_and_differ(
    gateway: Gateway, customer: Customer, path: str
) -> None:
    status, _, _ = await gateway.post(path, body_for(path), {"x-api-key": UNKNOWN, **customer.bearer})
    assert status == 401


@pytest.mark.parametrize("path", [*PATHS, COUNT])
@pytest.mark.parametrize("version", ["2026-10-21", "2023-06-01", None, "garbage", "", "9999-99-99"])
async def test_version_of_every_kind_are_accepted(
    gateway: Gateway, customer: Customer, path: str, version: str | None
) -> None:
    headers = {} if version is None else {"anthropic-version": version}
    status, body, _ = await gateway.post(f"{path}?beta=true", body_for(path), {**customer.bearer, **headers})
    assert status == 200, body


# ----- The root and the lists


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}])
async def test_root_answers_without_a_key(gateway: Gateway, method: str, headers: dict[str, str]) -> None:
    async with gateway.session.request(method, f"{gateway.url}/", headers=headers) as response:
        assert response.status == 200
        assert response.headers["request-id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{"anthropic-version": "2023-06-01"}, {"x-api-key": "anything"}])
async def test_models_in_anthropic_s_shape(gateway: Gateway, headers: dict[str, str]) -> None:
    async with gateway.session.get(f"{gateway.url}/v1/models", params={"limit": 1000}, headers=headers) as response:
        body = await response.json()
    assert response.status == 200
    assert {"data", "has_more", "first_id", "last_id"} <= body.keys()
    assert body["has_more"] is False
    assert [model["id"] for model in body["data"]] == [model.id for model in gateway.shelf.models]
    assert (body["first_id"], body["last_id"]) == (body["data"][0]["id"], body["data"][-1]["id"])
    for model in body["data"]:
        assert model["type"] == "model"
        assert {"id", "display_name", "created_at"} <= model.keys()


@pytest.mark.parametrize("query", ["", "?limit=1000"])
async def test_models_in_openai_s_shape(gateway: Gateway, customer: Customer, query: str) -> None:
    async with gateway.session.get(f"{gateway.url}/v1/models{query}", headers=customer.bearer) as response:
        body = await response.json()
    assert (response.status, body["object"]) == (200, "list")
    assert [model["id"] for model in body["data"]] == [model.id for model in gateway.shelf.models]
    assert {model["object"] for model in body["data"]} == {"model"}


async def test_models_that_are_not_there_are_a_404_in_the_caller_s_shape(gateway: Gateway) -> None:
    for headers, path in (({}, CHAT), ({"anthropic-version": "2023-06-01"}, MESSAGES)):
        async with gateway.session.get(f"{gateway.url}/v1/models/nothing", headers=headers) as response:
            assert response.status == 404
            error_of(path, await response.json(), {k.lower(): v for k, v in response.headers.items()})


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/messages/nothing", "/v1/messages/count_tokens/x"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_path_is_a_404_in_the_dialect_of_its_prefix(gateway: Gateway, path: str, method: str) -> None:
    async with gateway.session.request(method, f"{gateway.url}{path}") as response:
        body, headers = await response.json(), {name.lower(): value for name, value in response.headers.items()}
    error = error_of(path, body, headers)
    assert response.status == 404
    assert error["type"] == ("not_found_error" if path.startswith(MESSAGES) else BAD)


# ----- count_tokens


async def test_count_tokens_fourteen_at_once(gateway: Gateway, upstream: Provider) -> None:
    """As Claude Code does for its `/context`; with an org that has no credit, because counting is free."""
    poor = await gateway.customer("0")
    sent = json.loads((CLIENTS / "cc_count_tokens.json").read_text("utf-8"))["body"] | {"model": CHAT_MODEL}
    asked = len(upstream.bodies)
    answers = await asyncio.gather(*(gateway.post(f"{COUNT}?beta=true", sent, poor.bearer) for _ in range(14)))
    assert {status for status, _, _ in answers} == {200}
    counted = {answer["input_tokens"] for _, answer, _ in answers}
    assert len(counted) == 1
    assert 5_000 < counted.pop() < 25_000
    assert [answer.keys() for _, answer, _ in answers] == [{"input_tokens"}] * 14
    assert len(upstream.bodies) == asked
    account = await poor.account()
    assert (account["balance_exact"], account["held"]) == ("0.000000000", "0.000000000")


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": HELLO},
        {"messages": HELLO, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
    ],
)
@pytest.mark.parametrize("model", [CHAT_MODEL, MESSAGES_MODEL])
async def test_count_tokens_needs_no_max_tokens_and_takes_tools_only(
    gateway: Gateway, customer: Customer, upstream: Provider, fields: dict[str, Any], model: str
) -> None:
    asked = len(upstream.bodies)
    status, body, _ = await gateway.post(COUNT, {"model": model, **fields}, customer.bearer)
    assert status == 200
    assert type(body["input_tokens"]) is int
    assert body["input_tokens"] > 0
    assert len(upstream.bodies) == asked


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", {"model": MESSAGES_MODEL}, {"messages": HELLO}, {"model": "gpt-17", "messages": HELLO}],
)
async def test_count_tokens_of_a_wrong_body_is_a_400(gateway: Gateway, customer: Customer, body: Any) -> None:
    status, answer, headers = await gateway.post(COUNT, body, customer.bearer)
    assert (status, error_of(COUNT, answer, headers)["type"]) == (400, BAD)


async def test_count_tokens_of_a_body_over_the_limit_is_a_413(gateway: Gateway, customer: Customer) -> None:
    status, body, headers = await gateway.post(COUNT, b"a" * (MAX_BODY + 1), customer.bearer)
    assert (status, error_of(COUNT, body, headers)["type"]) == (413, "request_too_large")


# ----- The look at a body


async def test_server_tool_alone_is_a_400_that_names_it(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    recorded = json.loads((CLIENTS / "cc_websearch_server_tool.json").read_text("utf-8"))["body"]
    asked = len(upstream.bodies)
    for model in (CHAT_MODEL, MESSAGES_MODEL):
        status, body, headers = await gateway.post(MESSAGES, recorded | {"model": model}, customer.bearer)
        error = error_of(MESSAGES, body, headers)
        assert (status, error["type"]) == (400, BAD)
        assert error["message"] == "server tool web_search is not supported by this model"
    assert len(upstream.bodies) == asked


@pytest.mark.parametrize("path", PATHS)
async def test_server_tool_beside_others_never_reaches_a_provider(
    gateway: Gateway, customer: Customer, upstream: Provider, path: str
) -> None:
    own = {"type": "function", "function": {"name": "f"}} if path == CHAT else {"name": "f", "input_schema": {}}
    status, body, _ = await gateway.post(
        path, body_for(path, tools=[{"type": "web_search_20250305", "name": "web_search"}, own]), customer.bearer
    )
    assert status == 200, body
    assert "web_search" not in json.dumps(upstream.bodies[-1])
    assert len(upstream.bodies[-1]["tools"]) == 1


async def test_max_tokens_is_required_of_messages_callers(gateway: Gateway, customer: Customer) -> None:
    status, body, headers = await gateway.post(MESSAGES, {"model": MESSAGES_MODEL, "messages": HELLO}, customer.bearer)
    error = error_of(MESSAGES, body, headers)
    assert (status, error["type"], error["message"]) == (400, BAD, "max_tokens: Field required")


async def test_thread_is_refused_with_the_word_at_which_the_sdk_falls_back(
    gateway: Gateway, customer: Customer
) -> None:
    status, body, headers = await gateway.post(MESSAGES, body_for(MESSAGES, thread={"type": "create"}), customer.bearer)
    error = error_of(MESSAGES, body, headers)
    assert (status, error["details"]) == (400, {"error_code": "thread_unsupported_request"})


@pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4:DeprecationWarning")  # sold under this name on purpose
async def test_thread_of_the_sdk_s_tool_runner_falls_back_to_whole_conversations(
    gateway: Gateway, customer: Customer, upstream: Provider
) -> None:
    @anthropic.beta_async_tool
    async def look_around() -> str:
        """Looks around."""
        return "Nothing."

    client = anthropic.AsyncAnthropic(base_url=gateway.url, auth_token=customer.key, api_key=None, max_retries=0)
    async with client:
        runner = client.beta.messages.tool_runner(
            model=MESSAGES_MODEL,
            max_tokens=50,
            messages=[{"role": "user", "content": "hello"}],
            tools=[look_around],
        )
        last = await runner.until_done()
    assert [block.type for block in last.content] == ["text"]
    assert "thread" not in upstream.bodies[-1]


def packed(path: str) -> bytes:
    return json.dumps(body_for(path)).encode()


@pytest.mark.parametrize("path", [*PATHS, COUNT])
@pytest.mark.parametrize("encoding", ["gzip", "identity", "GZIP"])
async def test_body_packed_with_gzip_is_unpacked(
    gateway: Gateway, customer: Customer, path: str, encoding: str
) -> None:
    data = packed(path) if encoding == "identity" else gzip.compress(packed(path))
    status, body, _ = await gateway.post(path, data, {**customer.bearer, "content-encoding": encoding})
    assert status == 200, body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "zip", "gzip, gzip", "x-gzip"])
async def test_body_packed_in_another_way_is_a_400_that_says_so(
    gateway: Gateway, customer: Customer, path: str, encoding: str
) -> None:
    data = zlib.compress(packed(path))
    status, body, headers = await gateway.post(path, data, {**customer.bearer, "content-encoding": encoding})
    error = error_of(path, body, headers)
    assert (status, error["type"]) == (400, BAD)
    assert "encoding" in error["message"]


@pytest.mark.parametrize("path", [*PATHS, COUNT])
async def test_body_that_unpacks_to_more_than_the_limit_is_a_413(
    gateway: Gateway, customer: Customer, path: str
) -> None:
    bomb = gzip.compress(b'{"model":"' + b"a" * (256 << 20))
    assert len(bomb) < MAX_BODY
    status, body, headers = await gateway.post(path, bomb, {**customer.bearer, "content-encoding": "gzip"})
    assert status == 413
    error_of(path, body, headers)


async def test_body_that_is_no_gzip_is_a_400(gateway: Gateway, customer: Customer) -> None:
    for sent in (b"abcd" * 9, gzip.compress(packed(CHAT))[:-9]):
        status, body, headers = await gateway.post(CHAT, sent, {**customer.bearer, "content-encoding": "gzip"})
        assert status == 400
        assert "gzip" in error_of(CHAT, body, headers)["message"]


async def test_nothing_here_was_a_fault_of_ours(gateway: Gateway) -> None:
    assert gateway.faults() == []
