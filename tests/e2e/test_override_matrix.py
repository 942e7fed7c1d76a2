"""A model is asked in its provider's default protocol or in the one that it names itself: all four cells by either."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT
from tests.fixtures import gateway as gateways
from tests.fixtures.charges import assert_charged, owed
from tests.fixtures.gateway import CATALOG, Customer, Gateway, nano
from tests.fixtures.speakers import Speaker
from tests.fixtures.stores import Stores
from tests.fixtures.tap import Tapped, tapped_gateway

# By the provider's default or by the model's override, as the changed catalog below has them.
SPOKEN: Final = {
    "deepseek-chat": ANTHROPIC_MESSAGES,
    "deepseek-reasoner": OPENAI_CHAT,
    "qwen-turbo": OPENAI_CHAT,
    "qwen-plus": ANTHROPIC_MESSAGES,
}


def changed(catalog: str) -> str:
    """DeepSeek's default is the other protocol, and one model of it and one of Qwen's override their defaults."""
    before, deepseek, after = catalog.partition("[providers.deepseek]")
    default = 'default_protocol = "{}"'.format
    text = before + deepseek + after.replace(default(OPENAI_CHAT), default(ANTHROPIC_MESSAGES), 1)
    for model in ("deepseek-reasoner", "qwen-plus"):
        head = f"[models.{model}]\n"
        assert head in text
        text = text.replace(head, f'{head}protocol = "{SPOKEN[model]}"\n')
    return text


@pytest.fixture(scope="module")
async def tapped(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tapped]:
    folder = tmp_path_factory.mktemp("overridden")
    (folder / "catalog.toml").write_text(changed(CATALOG.read_text("utf-8")), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateways, "CATALOG", folder / "catalog.toml")
        async with tapped_gateway(stores, folder) as running:
            yield running


@pytest.fixture(scope="module")
async def gateway(tapped: Tapped) -> Gateway:
    return tapped.gateway


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", SPOKEN)
async def test_p_override_matrix(
    tapped: Tapped, customer: Customer, speaker: Speaker, model: str, stream: bool
) -> None:
    tools = [speaker.tool("get_weather")]
    cue = """please [sim: tools=get_weather args='{"city":"Oslo"}']"""
    called = await speaker.ask(model, cue, stream=stream, tools=tools)
    assert [(call.name, call.input) for call in called.calls] == [("get_weather", {"city": "Oslo"})]
    results = speaker.results([(called.calls[0], "snow all day")])
    answer = await speaker.ask(model, results, called.turns, stream=stream, tools=tools)
    assert "snow all day" in answer.text
    requests = [asked.request for asked in tapped.asked[-2:]]
    served = [record for request in requests for record in tapped.gateway.simulator.served(request)]
    assert [(record.protocol, record.status) for record in served] == [(SPOKEN[model], 200)] * 2
    costs = [owed(tapped.gateway, request, model) for request in requests]
    assert [nano(called.cost), nano(answer.cost)] == costs
    await assert_charged(tapped.gateway, customer, sum(costs))
