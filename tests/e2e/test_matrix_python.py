"""The official Python SDKs on models of both protocols: all four cells, plain and through their streaming helpers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import openai
import pytest

from libs import pricing
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT
from tests.fixtures.charges import assert_charged, generation, owed
from tests.fixtures.gateway import Customer, Gateway, nano
from tests.fixtures.speakers import DOT, Anthropic, OpenAI, Said, Speaker
from tests.fixtures.tap import Tapped

CHAT_MODEL: Final = "deepseek-chat"
MESSAGES_MODEL: Final = "claude-sonnet-4-20250514"
MODELS: Final = (CHAT_MODEL, MESSAGES_MODEL)
WEATHER: Final = """[sim: tools=get_weather,get_time args='{"city":"Oslo"}']"""

# The SDK warns about the age of a model that the catalog sells under this name on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The model 'claude-sonnet-4:DeprecationWarning"),
    pytest.mark.parametrize("model", MODELS),
]
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])


@pytest.fixture(scope="module")
async def gateway(tapped: Tapped) -> Gateway:
    return tapped.gateway


async def assert_paid(tapped: Tapped, customer: Customer, *answers: Said) -> None:
    """Each answer told its exact price, and the ledger has them all."""
    gateway, asked = tapped.gateway, tapped.asked[-len(answers) :]
    costs = [owed(gateway, each.request, said.model) for each, said in zip(asked, answers, strict=True)]
    assert [nano(said.cost) for said in answers] == costs
    await assert_charged(gateway, customer, sum(costs))


@both_ways
async def test_text_with_its_usage(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "hello there", stream=stream)
    assert (said.model, said.stop, said.calls) == (model, "end", [])
    assert "hello there" in said.text
    [served] = tapped.gateway.simulator.served(tapped.asked[-1].request)
    assert served.usage is not None
    used = served.usage
    assert said.prompt_tokens == used.input + used.cache_read + used.cache_write + used.cache_write_1h
    assert said.output_tokens == used.output
    await assert_paid(tapped, customer, said)


@both_ways
async def test_parallel_tools_there_and_back(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    tools = [speaker.tool("get_weather"), speaker.tool("get_time")]
    called = await speaker.ask(model, f"please {WEATHER}", stream=stream, tools=tools)
    assert called.stop == "tools"
    assert [(call.name, call.input) for call in called.calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("get_time", {"city": "Oslo"}),
    ]
    weather, time = called.calls
    assert weather.id != time.id
    results = speaker.results([(time, "half past nine"), (weather, "snow all day")])
    answer = await speaker.ask(model, results, called.turns, stream=stream, tools=tools)
    assert answer.stop == "end"
    assert "snow all day" in answer.text
    assert "half past nine" in answer.text
    await assert_paid(tapped, customer, called, answer)


@both_ways
async def test_thoughts_go_back_with_the_results_of_tools(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    options: dict[str, Any] = {"tools": [speaker.tool("get_weather"), speaker.tool("get_time")], **speaker.thinks}
    called = await speaker.ask(model, f"think [sim: thinking=9] {WEATHER}", stream=stream, **options)
    assert len(called.thinking.split()) == 9
    results = speaker.results([(call, "done") for call in called.calls])
    answer = await speaker.ask(model, results, called.turns, stream=stream, **options)
    assert answer.stop == "end"
    assert answer.thinking
    assert called.thinking in json.dumps(tapped.asked[-1].body, ensure_ascii=False)
    await assert_paid(tapped, customer, called, answer)


@both_ways
async def test_the_length_is_obeyed(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "tell me a long story", stream=stream, max_tokens=5)
    assert (said.stop, said.output_tokens) == ("length", 5)
    await assert_paid(tapped, customer, said)


@both_ways
async def test_a_stop_sequence_is_obeyed(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    name = "stop" if isinstance(speaker, OpenAI) else "stop_sequences"
    said = await speaker.ask(model, "one two halt three", stream=stream, **{name: ["halt"]})
    assert said.text.endswith("two ")
    assert said.stop in ("end", "stop_sequence")
    await assert_paid(tapped, customer, said)


@both_ways
async def test_a_schema_for_the_answer_reaches_the_model(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    with refused_by_provider(speaker, model, "response_format type is unavailable"):
        said = await speaker.ask(model, "where was she born?", stream=stream, **speaker.answers_in_json)
        assert said.stop == "end"
        await assert_paid(tapped, customer, said)
    assert "place_of_birth" in json.dumps(tapped.asked[-1].body)


@both_ways
async def test_an_image_is_shown_to_a_model_that_sees(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    with refused_by_provider(speaker, model, "image_url is only supported by certain models"):
        said = await speaker.ask(model, speaker.image("what is this?"), stream=stream)
        assert said.stop == "end"
        assert (DOT in json.dumps(tapped.asked[-1].body)) == (model == MESSAGES_MODEL)
        await assert_paid(tapped, customer, said)


@contextmanager
def refused_by_provider(speaker: Speaker, model: str, complaint: str) -> Iterator[None]:
    """What DeepSeek does not take: a request in its own protocol is passed on as it is, a converted one is adapted."""
    if isinstance(speaker, OpenAI) and model == CHAT_MODEL:
        with pytest.raises(openai.BadRequestError, match=complaint):
            yield
    else:
        yield


@both_ways
@pytest.mark.parametrize("speaker", [OPENAI_CHAT], indirect=True)
async def test_the_newer_name_of_the_cap_is_known(
    tapped: Tapped, customer: Customer, speaker: OpenAI, model: str, stream: bool
) -> None:
    said = await speaker.ask(model, "tell me more", stream=stream, max_tokens=openai.omit, max_completion_tokens=7)
    assert (said.stop, said.output_tokens) == ("length", 7)
    await assert_paid(tapped, customer, said)


@both_ways
@pytest.mark.parametrize(
    ("cue", "error", "status"),
    [
        ("status=400 message='no such thing'", "BadRequestError", 400),
        ("status=429 retry_after=2", "RateLimitError", 429),
        ("status=500", "InternalServerError", 502),
    ],
)
async def test_a_provider_error_is_the_sdks_own_exception(
    customer: Customer, speaker: Speaker, model: str, *, stream: bool, cue: str, error: str, status: int
) -> None:
    with pytest.raises(getattr(speaker.errors, error)) as caught:
        await speaker.ask(model, f"[sim: {cue}]", stream=stream)
    raised: Any = caught.value
    assert raised.status_code == status
    assert raised.request_id.startswith("req_")
    assert "no such thing" in str(raised) or status != 400
    assert await customer.balance() == 10 * pricing.NANO


@both_ways
async def test_an_unknown_model_is_a_bad_request(speaker: Speaker, model: str, stream: bool) -> None:
    with pytest.raises(speaker.errors.BadRequestError, match=f"{model}-9000"):
        await speaker.ask(f"{model}-9000", "hello", stream=stream)


@pytest.mark.parametrize("cut", [5, 6], ids=["text", "tool"])
async def test_a_stream_that_breaks_raises(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, cut: int
) -> None:
    cue = f"[sim: cut={cut}]" if cut == 5 else f"{WEATHER} [sim: cut={cut}]"
    tools = [speaker.tool("get_weather"), speaker.tool("get_time")]
    with pytest.raises((speaker.errors.APIError, httpx2.RemoteProtocolError)):
        await speaker.ask(model, f"tell me {cue}", stream=True, tools=tools)
    found = await generation(tapped.gateway, customer, tapped.asked[-1].request)
    assert found["status"] == "estimated"
    await assert_charged(tapped.gateway, customer, nano(found["cost"]))


async def test_a_plain_answer_that_breaks_raises(speaker: Speaker, model: str) -> None:
    with pytest.raises(speaker.errors.InternalServerError) as caught:
        await speaker.ask(model, "tell me [sim: cut=20]", stream=False)
    assert caught.value.status_code == 502


@pytest.mark.parametrize("speaker", [ANTHROPIC_MESSAGES], indirect=True)
async def test_counting_tokens_asks_nobody_and_costs_nothing(
    tapped: Tapped, customer: Customer, speaker: Anthropic, model: str
) -> None:
    before = len(tapped.asked)
    counted = await speaker.client.messages.count_tokens(
        model=model, messages=[{"role": "user", "content": "hello there, how are you?"}]
    )
    assert 5 <= counted.input_tokens <= 20
    assert len(tapped.asked) == before
    assert await customer.balance() == 10 * pricing.NANO
