"""The official SDKs, unmodified, through the whole gateway: answers arrive, and the ledger follows to the nano-USD."""

from collections.abc import AsyncIterator

import anthropic
import openai
import pytest

from libs import pricing
from tests.fixtures.gateway import Customer, Gateway

CHAT_MODEL = "deepseek-chat"
MESSAGES_MODEL = "claude-sonnet-4-20250514"

# The SDK warns about the age of a model that the catalog sells under this name on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4:DeprecationWarning")


@pytest.fixture
async def as_openai(gateway: Gateway, customer: Customer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=customer.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def as_anthropic(gateway: Gateway, customer: Customer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=customer.key, max_retries=0) as client:
        yield client


def owed(gateway: Gateway, request_id: str | None, model: str) -> int:
    """The catalog's price for what the provider says it served."""
    assert request_id is not None
    [served] = gateway.simulator.served(request_id)
    assert served.usage is not None
    return pricing.cost(gateway.price_of(model), served.usage, served.at)


async def assert_charged(gateway: Gateway, customer: Customer, amount: int) -> None:
    assert amount > 0
    expected = 10 * pricing.NANO - amount
    assert await customer.settled_balance(expected) == expected
    assert await gateway.verify() is None


async def test_openai_chat_answers_and_is_charged_exactly(
    gateway: Gateway, customer: Customer, as_openai: openai.AsyncOpenAI
) -> None:
    answer = await as_openai.chat.completions.with_raw_response.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": "hello there"}]
    )
    completion = answer.parse()
    assert completion.model == CHAT_MODEL
    assert completion.choices[0].message.content
    cost = owed(gateway, answer.headers["x-request-id"], CHAT_MODEL)
    assert completion.usage is not None
    assert completion.usage.model_extra == {
        "cost": pricing.usd(cost),
        "prompt_cache_hit_tokens": 0,
        "prompt_cache_miss_tokens": completion.usage.prompt_tokens,
    }
    await assert_charged(gateway, customer, cost)


async def test_openai_streams_with_usage_when_it_is_asked_for(
    gateway: Gateway, customer: Customer, as_openai: openai.AsyncOpenAI
) -> None:
    stream = await as_openai.chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": "tell me more"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    cost = owed(gateway, stream.response.headers["x-request-id"], CHAT_MODEL)
    assert (chunks[-1].usage.model_extra or {})["cost"] == pricing.usd(cost)
    await assert_charged(gateway, customer, cost)


async def test_openai_streams_without_usage_are_charged_all_the_same(
    gateway: Gateway, customer: Customer, as_openai: openai.AsyncOpenAI
) -> None:
    stream = await as_openai.chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": "tell me more"}], stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    await assert_charged(gateway, customer, owed(gateway, stream.response.headers["x-request-id"], CHAT_MODEL))


async def test_openai_tool_calls_pass_through(
    gateway: Gateway, customer: Customer, as_openai: openai.AsyncOpenAI
) -> None:
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    async with as_openai.chat.completions.stream(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": """[sim: tools=get_weather args='{"model":"deepseek-chat"}']"""}],
        tools=tools,  # type: ignore[arg-type] # a plain dict is what users write
    ) as stream:
        completion = await stream.get_final_completion()
    [call] = completion.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"
    assert call.function.arguments == '{"model":"deepseek-chat"}'


async def test_anthropic_messages_answers_and_is_charged_exactly(
    gateway: Gateway, customer: Customer, as_anthropic: anthropic.AsyncAnthropic
) -> None:
    answer = await as_anthropic.messages.with_raw_response.create(
        model=MESSAGES_MODEL, max_tokens=200, messages=[{"role": "user", "content": "hello there"}]
    )
    message = await answer.parse()
    assert message.model == MESSAGES_MODEL
    assert message.content[0].type == "text"
    cost = owed(gateway, answer.headers["request-id"], MESSAGES_MODEL)
    assert (message.usage.model_extra or {})["cost"] == pricing.usd(cost)
    await assert_charged(gateway, customer, cost)


async def test_anthropic_streams_with_cache_and_thinking_are_charged_by_bucket(
    gateway: Gateway, customer: Customer, as_anthropic: anthropic.AsyncAnthropic
) -> None:
    cue = "[sim: thinking=5 usage=in:10,out:20,cache_read:4000,cache_write:200,cache_write_1h:30]"
    async with as_anthropic.messages.stream(
        model=MESSAGES_MODEL,
        max_tokens=2000,
        thinking={"type": "enabled", "budget_tokens": 1024},
        messages=[{"role": "user", "content": cue}],
    ) as stream:
        message = await stream.get_final_message()
        request_id = stream.response.headers["request-id"]
    assert {block.type for block in message.content} == {"thinking", "text"}
    assert message.stop_reason == "end_turn"
    price = gateway.price_of(MESSAGES_MODEL)
    used = pricing.Usage(input=10, output=20, cache_read=4000, cache_write=200, cache_write_1h=30)
    cost = owed(gateway, request_id, MESSAGES_MODEL)
    assert cost == pricing.cost(price, used, gateway.simulator.served(request_id)[0].at)
    await assert_charged(gateway, customer, cost)


async def test_anthropic_bearer_keys_and_any_version_are_taken(gateway: Gateway, customer: Customer) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.url,
        auth_token=customer.key,
        api_key=None,
        max_retries=0,
        default_headers={"anthropic-version": "garbage"},
    ) as client:
        message = await client.messages.create(
            model=MESSAGES_MODEL, max_tokens=50, messages=[{"role": "user", "content": "hi"}]
        )
    assert message.type == "message"


async def test_the_model_lists_fit_both_sdks(
    gateway: Gateway, as_openai: openai.AsyncOpenAI, as_anthropic: anthropic.AsyncAnthropic
) -> None:
    of_openai = [model.id async for model in as_openai.models.list()]
    of_anthropic = [model.id async for model in as_anthropic.models.list(limit=3)]
    assert of_openai == of_anthropic
    assert {CHAT_MODEL, MESSAGES_MODEL} <= set(of_openai)
    assert (await as_openai.models.retrieve(CHAT_MODEL)).object == "model"
    assert (await as_anthropic.models.retrieve(CHAT_MODEL)).type == "model"


async def test_a_request_is_explained_by_its_id(
    gateway: Gateway, customer: Customer, as_openai: openai.AsyncOpenAI
) -> None:
    answer = await as_openai.chat.completions.with_raw_response.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": "explain yourself"}]
    )
    request_id = answer.headers["x-request-id"]
    cost = owed(gateway, request_id, CHAT_MODEL)
    await assert_charged(gateway, customer, cost)
    async with gateway.session.get(
        f"{gateway.url}/v1/generation", params={"id": request_id}, headers=customer.bearer
    ) as response:
        found = await response.json()
    assert found["id"] == request_id
    assert (found["status"], found["model"], found["cost"]) == ("usage", CHAT_MODEL, pricing.usd(cost))
    assert [attempt["status"] for attempt in found["attempts"]] == [200]
    stranger = await gateway.customer()
    async with gateway.session.get(
        f"{gateway.url}/v1/generation", params={"id": request_id}, headers=stranger.bearer
    ) as response:
        assert response.status == 404
