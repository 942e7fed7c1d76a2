"""A zoo of failing providers in front of a good one: the caller sees one clean answer or one clean error, never two
answers, and pays for the one that it got. Whatever was tried is on the record."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from libs import pricing
from libs.contracts.catalog import Snapshot
from services.catalog import rules
from tests.fixtures.gateway import CATALOG, Customer, Gateway, gateway_running, until
from tests.fixtures.stores import Stores

MODEL = "deepseek-chat"
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
FIRST, SECOND = "deepseek-chat@deepseek", "deepseek-chat@anthropic"
OTHER = "claude-sonnet-4-20250514"
ROUTES = {MODEL: ("deepseek", "anthropic"), OTHER: ("anthropic", "deepseek")}
EXPLAIN = {"x-tokenoutput-explain": "1"}


def shelf() -> Snapshot:
    """The catalog with a second offer for two models, whose provider speaks the other protocol each time."""
    found = rules.read(CATALOG.read_text("utf-8"))
    # Machines that run tests stall now and then: these are as short as that allows.
    patient = msgspec.structs.replace(found.offers[0].deadlines, first=4.0, total=14.0)
    own = {offer.model: offer for offer in found.offers}
    crossed = tuple(
        msgspec.structs.replace(
            own[MODEL if provider == "deepseek" else OTHER],
            id=f"{model}@{provider}",
            model=model,
            priority=place,
            deadlines=patient,
        )
        for model, providers in ROUTES.items()
        for place, provider in enumerate(providers)
    )
    kept = tuple(offer for offer in found.offers if offer.model not in ROUTES)
    return msgspec.structs.replace(found, offers=(*kept, *crossed))


@pytest.fixture(scope="module")
async def gateway(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    async with gateway_running(stores, folder, keep_alive_seconds=1) as running:
        await running.publish(shelf())
        yield running


async def call(
    gateway: Gateway, customer: Customer, protocol: str, cue: str, *, stream: bool, model: str = MODEL, **more: Any
) -> tuple[int, str, dict[str, str]]:
    body = {
        **more,
        "model": model,
        "max_tokens": 400,
        "stream": stream,
        "messages": [{"role": "user", "content": f"{cue} hello there"}],
        **({"stream_options": {"include_usage": True}} if stream and protocol == "openai_chat" else {}),
    }
    headers = {**customer.bearer, **EXPLAIN}
    async with gateway.session.post(gateway.url + PATHS[protocol], json=body, headers=headers) as response:
        text = (await response.read()).decode()
        return response.status, text, {name.lower(): value for name, value in response.headers.items()}


def is_whole(text: str, protocol: str, *, stream: bool) -> bool:
    """One answer and no more, from its beginning to its end."""
    if not stream:
        document = json.loads(text)
        return bool(document.get("choices") or document.get("content"))
    if protocol == "openai_chat":
        return text.count('"role":"assistant"') == 1 and text.endswith("data: [DONE]\n\n") and '"error"' not in text
    return text.count("event: message_start") == 1 and text.count("event: message_stop") == 1 and "error" not in text


async def attempts_of(gateway: Gateway, customer: Customer, request: str) -> list[tuple[str, int, str]]:
    found = await generation(gateway, customer, request)
    return [(one["offer"], one["status"], one["reason"]) for one in found["attempts"]]


async def generation(gateway: Gateway, customer: Customer, request: str) -> dict[str, Any]:
    """The record of a request, as soon as it is in the books."""
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        async with gateway.session.get(
            f"{gateway.url}/v1/generation", params={"id": request}, headers=customer.bearer
        ) as response:
            found.update(await response.json())
            return response.status == 200

    assert await until(is_there), found
    return found


async def assert_paid_for_the_answer(gateway: Gateway, customer: Customer, request: str, model: str) -> None:
    [served] = [one for one in gateway.simulator.served(request) if one.provider == ROUTES[model][1]]
    assert served.usage is not None
    expected = 10 * pricing.NANO - pricing.cost(gateway.price_of(model), served.usage, served.at)
    assert await customer.settled_balance(expected) == expected
    assert await gateway.verify() is None


ZOO = {
    "hangs up at once": ("cut", 0, "upstream_error"),
    "overloaded": ("status=503", 503, "overloaded"),
    "broken": ("status=500", 500, "upstream_error"),
    "too many requests": ("status=429", 429, "rate_limit_exceeded"),
    "too many requests, wait": ("status=429 retry_after=1", 429, "rate_limit_exceeded"),
    "empty account": ("status=402", 402, "upstream_unavailable"),
    "empty account, said as a rate": ("status=429 code=insufficient_quota", 429, None),  # Anthropic has no such code
    "bad credential": ("status=401", 401, "upstream_unavailable"),
    "web page": ("garbage", 200, "upstream_error"),
    "broken JSON": ("garbage=json", 200, "upstream_error"),
    "error with a good status": ("body=error200", 200, None),
    "nothing with a good status": ("body=empty", 200, "upstream_error"),
}
ZOO_STREAMS = {
    "error after the preamble": ("error_after=1", 200, None),
    "cut after the preamble": ("cut=1", 200, "upstream_error"),
    "ends after the preamble": ("end=1", 200, "upstream_error"),
    "silent after the preamble": ("hang=1", 200, "upstream_timeout"),
    "silent": ("hang", 0, "upstream_timeout"),
}


CASES = [*((animal, stream) for animal in ZOO for stream in (True, False)), *((animal, True) for animal in ZOO_STREAMS)]


@pytest.mark.parametrize("model", ROUTES)
@pytest.mark.parametrize("protocol", PATHS)
@pytest.mark.parametrize(("animal", "stream"), CASES)
async def test_another_provider_answers(
    gateway: Gateway, animal: str, protocol: str, model: str, *, stream: bool
) -> None:
    cue, status, reason = {**ZOO, **ZOO_STREAMS}[animal]
    failing, answering = ROUTES[model]
    customer = await gateway.customer()
    cue = f"[sim {failing}: {cue}]"
    answered, text, headers = await call(gateway, customer, protocol, cue, stream=stream, model=model)
    assert answered == 200, text
    assert is_whole(text, protocol, stream=stream), text
    await assert_paid_for_the_answer(gateway, customer, headers["x-request-id"], model)
    [first, second] = await attempts_of(gateway, customer, headers["x-request-id"])
    assert first[:2] == (f"{model}@{failing}", status)
    assert reason is None or first[2] == reason
    assert second == (f"{model}@{answering}", 200, "complete")
    if ": keep-alive" not in text:  # a sign of life takes the headers with it
        assert headers["x-tokenoutput-attempts"].startswith(f"{model}@{failing};status={status};")
    assert gateway.faults() == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("protocol", PATHS)
async def test_what_the_caller_did_wrong_is_not_tried_elsewhere(
    gateway: Gateway, protocol: str, *, stream: bool
) -> None:
    customer = await gateway.customer()
    answered, text, headers = await call(gateway, customer, protocol, "[sim deepseek: status=400]", stream=stream)
    assert answered == 400, text
    request = headers["x-request-id"]
    assert [one.provider for one in gateway.simulator.served(request)] == ["deepseek"]
    assert await customer.settled_balance(10 * pricing.NANO) == 10 * pricing.NANO


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("protocol", PATHS)
async def test_when_all_fail_there_is_one_clean_error_and_nothing_to_pay(
    gateway: Gateway, protocol: str, *, stream: bool
) -> None:
    customer = await gateway.customer()
    answered, text, headers = await call(gateway, customer, protocol, "[sim: status=500]", stream=stream)
    assert answered == 502, text
    assert json.loads(text)["error"]["message"]
    request = headers["x-request-id"]
    tried = [FIRST, SECOND]
    assert [one[0] for one in await attempts_of(gateway, customer, request)] == tried
    assert headers["x-tokenoutput-attempts"].count("status=500") == len(tried)
    assert await customer.settled_balance(10 * pricing.NANO) == 10 * pricing.NANO


@pytest.mark.parametrize("events", range(2, 7))
@pytest.mark.parametrize("protocol", PATHS)
async def test_two_answers_are_never_joined(gateway: Gateway, protocol: str, events: int) -> None:
    """Once the caller has seen a word, a break is the end."""
    customer = await gateway.customer()
    cue = f"[sim deepseek: words=30 cut={events}]"
    try:
        _, text, headers = await call(gateway, customer, protocol, cue, stream=True)
    except aiohttp.ClientPayloadError:
        pytest.fail("no tool was opened, so the break can be told")
    assert "error" in text
    assert "[DONE]" not in text
    assert "message_stop" not in text
    assert [one.provider for one in gateway.simulator.served(headers["x-request-id"])] == ["deepseek"]


@pytest.mark.parametrize("protocol", PATHS)
async def test_signs_of_life_before_the_first_word_leave_the_way_open(gateway: Gateway, protocol: str) -> None:
    """The caller has a status and comments; another provider may still give the answer."""
    customer = await gateway.customer()
    answered, text, headers = await call(gateway, customer, protocol, "[sim deepseek: hang]", stream=True)
    assert answered == 200
    assert ": keep-alive\n\n" in text
    assert is_whole(text, protocol, stream=True)
    assert len(await attempts_of(gateway, customer, headers["x-request-id"])) == 2


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_failure_after_signs_of_life_is_the_last_event(gateway: Gateway, protocol: str) -> None:
    customer = await gateway.customer()
    answered, text, headers = await call(gateway, customer, protocol, "[sim: hang]", stream=True)
    assert answered == 200
    last = json.loads(text.strip().split("data: ")[-1])
    assert last["error"]["message"]
    assert "[DONE]" not in text
    found = await generation(gateway, customer, headers["x-request-id"])
    assert (found["status"], [one["reason"] for one in found["attempts"]]) == ("void", ["upstream_timeout"] * 2)


@pytest.mark.parametrize("protocol", PATHS)
async def test_wishes_choose_among_providers_and_never_reach_one(gateway: Gateway, protocol: str) -> None:
    customer = await gateway.customer()
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
    for wish, served in (({"only": ["anthropic"]}, "anthropic"), ({"ignore": ["anthropic"]}, "deepseek")):
        status, answer, headers = await gateway.post(PATHS[protocol], {**body, "provider": wish}, customer.bearer)
        assert status == 200, answer
        [record] = gateway.simulator.served(headers["x-request-id"])
        assert record.provider == served
        assert "provider" not in record.fields
        assert "provider" not in headers.get("x-tokenoutput-dropped", "")
    status, answer, _ = await gateway.post(PATHS[protocol], {**body, "provider": {"only": ["acme"]}}, customer.bearer)
    assert status == 400
    assert "acme" in answer["error"]["message"]


@pytest.mark.parametrize("number", [1, 2])
async def test_a_candidate_that_cannot_do_what_is_asked_is_passed_over(gateway: Gateway, number: int) -> None:
    """The second provider has no `n`: that is a reason to skip it, and none to refuse the request."""
    customer = await gateway.customer()
    body = {
        "model": MODEL,
        "n": number,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "[sim deepseek: status=500] hi"}],
    }
    status, answer, headers = await gateway.post(PATHS["openai_chat"], body, customer.bearer)
    assert status == (200 if number == 1 else 502), answer
    tried = [one[0] for one in await attempts_of(gateway, customer, headers["x-request-id"])]
    assert tried == ([FIRST, SECOND] if number == 1 else [FIRST])


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_caller_who_saw_nothing_by_the_deadline_pays_nothing(gateway: Gateway, protocol: str) -> None:
    """Whatever the provider's preamble said of usage."""
    customer = await gateway.customer()
    cue = "[sim: usage=every hang=1]"
    _, text, headers = await call(gateway, customer, protocol, cue, stream=True)
    assert "error" in text
    found = await generation(gateway, customer, headers["x-request-id"])
    assert (found["status"], found["cost"]) == ("void", "0.000000000")
    assert await customer.settled_balance(10 * pricing.NANO) == 10 * pricing.NANO


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_plain_request_ends_with_the_total_deadline(gateway: Gateway, protocol: str) -> None:
    customer = await gateway.customer()
    answered, text, headers = await call(gateway, customer, protocol, "[sim: hang]", stream=False)
    assert answered == 504, text
    found = await generation(gateway, customer, headers["x-request-id"])
    assert (found["status"], found["cost"]) == ("void", "0.000000000")
    assert [one["offer"] for one in found["attempts"]] == [FIRST]


@pytest.mark.parametrize("protocol", PATHS)
async def test_a_break_inside_a_tool_call_is_the_end_too(gateway: Gateway, protocol: str) -> None:
    """Anthropic callers see the connection cut, OpenAI callers an error; nobody sees a second provider."""
    customer = await gateway.customer()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    chat = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    tools = chat if protocol == "openai_chat" else [{"name": "get_weather", "input_schema": schema}]
    cue = """[sim deepseek: tools=get_weather args='{"city":"Oslo and its surroundings"}' cut=5]"""
    before = len(gateway.simulator.served())
    text = ""
    try:
        _, text, _ = await call(gateway, customer, protocol, cue, stream=True, tools=tools)
    except aiohttp.ClientPayloadError:
        assert protocol == "anthropic_messages"
    else:
        assert protocol == "openai_chat"
        assert "error" in text
    served = gateway.simulator.served()[before:]
    assert [one.provider for one in served] == ["deepseek"]
