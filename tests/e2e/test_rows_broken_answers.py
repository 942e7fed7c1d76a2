"""Answers that are none, or that break off: what a caller of either protocol is told, on models of both."""

import json
from typing import Any, Final, NamedTuple

import aiohttp
import pytest

from libs import pricing
from tests.fixtures.charges import generation, owed
from tests.fixtures.gateway import Customer, Gateway, nano
from tests.fixtures.scripted import CHAT, CHAT_MODEL, MESSAGES, MESSAGES_MODEL, error_of, hints

TOOL_SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
CALLING: Final = """tools=get_weather args='{"city":"Oslo","days":"three"}'"""
END: Final = {CHAT: "data: [DONE]", MESSAGES: "message_stop"}
cells: Final = pytest.mark.parametrize(
    ("path", "model"), [(path, model) for path in (CHAT, MESSAGES) for model in (CHAT_MODEL, MESSAGES_MODEL)]
)
paths: Final = pytest.mark.parametrize("path", [CHAT, MESSAGES])
both_ways: Final = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


class Told(NamedTuple):
    """What came back: ``cut`` when the connection was dropped in the middle of it."""

    status: int
    headers: dict[str, str]
    text: str
    cut: bool

    @property
    def request(self) -> str:
        return self.headers["x-request-id"]

    @property
    def frames(self) -> list[str]:
        return self.text.removesuffix("\n\n").split("\n\n")

    def error(self, path: str) -> Any:
        """The error of an answer that is one."""
        return error_of(path, json.loads(self.text), self.headers)


async def ask(
    gateway: Gateway, customer: Customer, path: str, model: str, cue: str, *, stream: bool, **fields: Any
) -> Told:
    messages = [{"role": "user", "content": f"[sim: {cue}] hello"}]
    body = {"model": model, "max_tokens": 400, "messages": messages, "stream": stream, **fields}
    async with gateway.session.post(gateway.url + path, json=body, headers=customer.bearer) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        data, cut = b"", False
        try:
            async for piece in response.content.iter_any():
                data += piece
        except aiohttp.ClientPayloadError:
            cut = True
        return Told(response.status, headers, data.decode(), cut)


def tools_of(path: str) -> list[dict[str, Any]]:
    if path == MESSAGES:
        return [{"name": "get_weather", "input_schema": TOOL_SCHEMA}]
    return [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL_SCHEMA}}]


async def assert_failed(told: Told, path: str, customer: Customer) -> None:
    """A 502 of the caller's protocol, and nothing to pay."""
    assert told.status == 502, told.text
    assert told.headers["content-type"].startswith("application/json")
    assert told.error(path)["type"] == ("server_error" if path == CHAT else "api_error")
    assert await customer.balance() == 10 * pricing.NANO
    assert (await customer.account())["held"] == "0.000000000"


@cells
@both_ways
@pytest.mark.parametrize("cue", ["garbage", "garbage=json"])
async def test_r_html_or_half_json_with_a_good_status(
    gateway: Gateway, customer: Customer, path: str, model: str, *, cue: str, stream: bool
) -> None:
    await assert_failed(await ask(gateway, customer, path, model, cue, stream=stream), path, customer)


@cells
@both_ways
async def test_r_200_error_body_is_the_error_that_it_names(
    gateway: Gateway, customer: Customer, path: str, model: str, stream: bool
) -> None:
    told = await ask(gateway, customer, path, model, "body=error200", stream=stream)
    assert told.status >= 400, told.text
    assert told.error(path)["message"]
    assert "choices" not in told.text
    assert await customer.balance() == 10 * pricing.NANO


@cells
@both_ways
async def test_r_200_without_choices_or_anything_else(
    gateway: Gateway, customer: Customer, path: str, model: str, stream: bool
) -> None:
    await assert_failed(await ask(gateway, customer, path, model, "body=empty", stream=stream), path, customer)


REFUSED: Final = {400: (400, 400), 404: (502, 502), 429: (429, 429), 503: (503, 529)}


@cells
@pytest.mark.parametrize("status", REFUSED)
async def test_s_upstream_4xx_is_an_http_error_and_no_stream(
    gateway: Gateway, customer: Customer, path: str, model: str, status: int
) -> None:
    told = await ask(gateway, customer, path, model, f"status={status} retry_after=3", stream=True)
    assert told.status == REFUSED[status][path == MESSAGES]
    assert told.headers["content-type"].startswith("application/json")
    assert told.error(path)["message"]
    assert hints(told.headers).get("retry-after") == ("3" if status in (429, 503) else None)
    assert await customer.balance() == 10 * pricing.NANO


@cells
async def test_s_nonstream_json_on_stream_request_is_a_whole_stream(
    gateway: Gateway, customer: Customer, path: str, model: str
) -> None:
    told = await ask(gateway, customer, path, model, "body=whole", stream=True)
    assert (told.status, told.cut) == (200, False)
    assert told.headers["content-type"].startswith("text/event-stream")
    assert END[path] in told.frames[-1]
    assert "hello" in told.text
    cost = nano((await generation(gateway, customer, told.request))["cost"])
    assert cost == owed(gateway, told.request, model)


def assert_error_ends(told: Told, path: str) -> None:
    """The last thing said is an error: nothing that a client could take for a whole answer."""
    last = told.frames[-1]
    assert json.loads(last.split("data: ", 1)[1])["error"]["message"]
    assert last.startswith("event: error\n") == (path == MESSAGES)
    assert not told.cut
    for end in (*END.values(), '"finish_reason":"stop"', '"stop_reason":"end_turn"'):
        assert end not in told.text


@cells
@pytest.mark.parametrize("cue", ["words=30 cut=9", "words=30 end=9"])
async def test_s_break_text_only_ends_with_an_error(
    gateway: Gateway, customer: Customer, path: str, model: str, cue: str
) -> None:
    told = await ask(gateway, customer, path, model, cue, stream=True)
    assert told.status == 200
    assert_error_ends(told, path)
    assert (await generation(gateway, customer, told.request))["status"] == "estimated"


@cells
async def test_s_break_in_tool_cuts_an_anthropic_caller_off(
    gateway: Gateway, customer: Customer, path: str, model: str
) -> None:
    cue = f"words=2 {CALLING} cut=9"
    told = await ask(gateway, customer, path, model, cue, stream=True, tools=tools_of(path))
    assert told.status == 200
    assert "get_weather" in told.text
    if path == CHAT:
        assert_error_ends(told, path)
    else:
        assert told.cut
        assert "event: error" not in told.text
        assert "message_delta" not in told.text
    assert (await generation(gateway, customer, told.request))["status"] == "estimated"


@cells
async def test_s_error_chunk_ends_with_an_error(gateway: Gateway, customer: Customer, path: str, model: str) -> None:
    told = await ask(gateway, customer, path, model, "words=30 error_after=6", stream=True)
    assert_error_ends(told, path)


@paths
@pytest.mark.parametrize(("finish", "busy"), [("network_error", False), ("insufficient_system_resource", True)])
async def test_s_network_error_finish_ends_with_an_error(
    gateway: Gateway, customer: Customer, path: str, finish: str, busy: bool
) -> None:
    told = await ask(gateway, customer, path, CHAT_MODEL, f"finish={finish}", stream=True)
    assert_error_ends(told, path)
    kind = json.loads(told.frames[-1].split("data: ", 1)[1])["error"]["type"]
    assert (kind == "overloaded_error") == (busy and path == MESSAGES)


@pytest.mark.parametrize(("finish", "status"), [("network_error", 502), ("insufficient_system_resource", 529)])
async def test_r_finish_map_of_a_break_is_an_http_error_for_an_anthropic_caller(
    gateway: Gateway, customer: Customer, finish: str, status: int
) -> None:
    told = await ask(gateway, customer, MESSAGES, CHAT_MODEL, f"finish={finish}", stream=False)
    assert told.status == status
    assert told.error(MESSAGES)["type"] == ("api_error" if status == 502 else "overloaded_error")
    assert await customer.balance() == 10 * pricing.NANO


@cells
@pytest.mark.parametrize("cue", ["done=off", "done=off chunking=byte", "done=off chunking=odd,crlf"])
async def test_s_no_done_is_whole_once_it_has_said_why_it_ended(
    gateway: Gateway, customer: Customer, path: str, model: str, cue: str
) -> None:
    told = await ask(gateway, customer, path, model, cue, stream=True)
    assert END[path] in told.frames[-1]
    assert (await generation(gateway, customer, told.request))["status"] == "usage"


@cells
@both_ways
async def test_u_missing_usage_is_estimated_and_says_so(
    gateway: Gateway, customer: Customer, path: str, model: str, stream: bool
) -> None:
    told = await ask(gateway, customer, path, model, "usage=none words=30", stream=stream)
    assert told.status == 200
    found = await generation(gateway, customer, told.request)
    assert found["status"] == "estimated"
    assert found["usage"]["output"] > 0
    assert nano(found["cost"]) > 0


@pytest.mark.parametrize("model", [CHAT_MODEL, MESSAGES_MODEL])
@pytest.mark.parametrize("cue", ["words=9", "words=9 usage=finish", "words=9 usage=every"])
async def test_u_no_include_usage_shows_none_and_charges_exactly(
    gateway: Gateway, customer: Customer, model: str, cue: str
) -> None:
    told = await ask(gateway, customer, CHAT, model, cue, stream=True)
    documents = [json.loads(frame.removeprefix("data: ")) for frame in told.frames[:-1] if frame.startswith("data: ")]
    assert told.frames[-1] == END[CHAT]
    assert all(document["choices"] and document.get("usage") is None for document in documents)
    found = await generation(gateway, customer, told.request)
    assert (found["status"], nano(found["cost"])) == ("usage", owed(gateway, told.request, model))


async def test_no_broken_answer_here_was_a_fault_of_ours(gateway: Gateway) -> None:
    assert gateway.faults() == []
    assert await gateway.verify() is None
