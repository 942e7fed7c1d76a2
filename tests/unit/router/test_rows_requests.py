"""Requests on their whole way to a provider of the catalog: what is sent is what it takes, and says what was asked."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import structs

import services.catalog
from deploy.demo.provider.strict import refusal_of
from libs.contracts.catalog import Offer, Shelf
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.catalog import rules
from services.router.prepare import Prepared, prepare
from tests.fixtures.samples import NOW_MS, offer, order

Json = dict[str, Any]
SHELF: Final = Shelf(rules.read((Path(services.catalog.__path__[0]) / "catalog.toml").read_text("utf-8")))
CHAT_MODELS: Final = ("deepseek-reasoner", "qwen-plus", "glm-4-plus")
MESSAGES_MODEL: Final = "claude-sonnet-4-20250514"
HEADERS: Final = {"anthropic-version": "2023-06-01"}
HELLO: Final = [{"role": "user", "content": "hello"}]
SCHEMA: Final = {"type": "object", "properties": {}}
WEATHER: Final = {"name": "weather", "description": "Of a city", "input_schema": SCHEMA}
FUNCTION_CHOICE: Final = {"type": "function", "function": {"name": "weather"}}


def prepared(caller: Protocol, sold: Offer, **fields: Any) -> Prepared:
    """What becomes of a request that streams; the provider takes it."""
    asked = order(protocol=caller, model=sold.model)
    body = json.dumps({"model": sold.model, "max_tokens": 1000, "messages": HELLO, "stream": True, **fields})
    made = prepare(body.encode(), asked, sold, sign=lambda text: "s", recall=lambda _: None, started_ms=NOW_MS)
    assert refusal_of(sold.provider, sold.protocol, HEADERS, made.body) is None
    return made


def sent(model: str, **fields: Any) -> Json:
    """What the first provider of a model gets for a caller who speaks the other protocol."""
    sold = SHELF.offers_of(model)[0]
    caller: Protocol = ANTHROPIC_MESSAGES if sold.protocol == OPENAI_CHAT else OPENAI_CHAT
    body: Json = json.loads(prepared(caller, sold, **fields).body)
    return body


@pytest.mark.parametrize(("model", "mode"), [("qwen-max", "required"), ("glm-4-plus", "auto")])
def test_tc_any_is_required_or_what_the_provider_takes_for_it(model: str, mode: str) -> None:
    body = sent(model, tools=[WEATHER], tool_choice={"type": "any"}, thinking={"type": "disabled"})
    assert body["tool_choice"] == mode


def test_tc_tool_and_tc_none_reach_a_provider_that_knows_them() -> None:
    named = {"type": "tool", "name": "weather"}
    assert sent("qwen-max", tools=[WEATHER], tool_choice=named)["tool_choice"] == FUNCTION_CHOICE
    assert sent("qwen-max", tools=[WEATHER], tool_choice={"type": "none"})["tool_choice"] == "none"


def results(model: str, content: Any) -> list[str]:
    """The contents of the tool messages for one call's result."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    turns = [*HELLO, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    messages = sent(model, messages=turns, tools=[WEATHER])["messages"]
    return [message["content"] for message in messages if message["role"] == "tool"]


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_tool_result_array_text_is_one_string_of_lines(model: str) -> None:
    assert results(model, [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]) == ["one\ntwo"]


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}], None])
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_tool_result_empty_says_that_there_was_no_output(model: str, content: Any) -> None:
    assert results(model, content) == ["(no output)"]


WORDS: Final = {"thinking", "reasoning_effort", "enable_thinking", "thinking_budget"}


def switched(sold: Offer, **fields: Any) -> Json:
    """What is said to it about thinking."""
    body = json.loads(prepared(ANTHROPIC_MESSAGES, sold, **fields).body)
    return {name: value for name, value in body.items() if name in WORDS}


def asked_adaptively(model: str, effort: str | None = None) -> Json:
    return switched(SHELF.offers_of(model)[0], thinking={"type": "adaptive"}, output_config={"effort": effort})


def test_think_adaptive_deepseek_is_enabled() -> None:
    assert asked_adaptively("deepseek-reasoner") == {"thinking": {"type": "enabled"}}
    assert asked_adaptively("deepseek-reasoner", "medium")["reasoning_effort"] == "high"


def test_think_adaptive_qwen_is_a_flag() -> None:
    assert asked_adaptively("qwen-plus") == {"enable_thinking": True}
    assert asked_adaptively("qwen-plus", "low") == {"enable_thinking": True, "thinking_budget": 2048}


def test_think_adaptive_glm_is_enabled_where_the_model_thinks() -> None:
    """The models on sale are older than its thinking; the switch is the vendor's."""
    sold = SHELF.offers_of("glm-4-plus")[0]
    newer = structs.replace(sold, profile=structs.replace(sold.profile, thinking="glm", thinks_by_default=True))
    assert switched(newer, thinking={"type": "adaptive"}) == {"thinking": {"type": "enabled"}}
    assert asked_adaptively("glm-4-plus") == {}


def test_think_adaptive_generic_says_nothing() -> None:
    """Of a provider without a profile nobody knows whether it thinks."""
    unknown = offer(provider="somebody")
    made = prepared(ANTHROPIC_MESSAGES, unknown, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert WORDS.isdisjoint(json.loads(made.body))
    assert made.dropped == ("thinking", "output_config.effort")


def test_o_stop_string_is_an_array_of_one() -> None:
    assert sent(MESSAGES_MODEL, stop="END")["stop_sequences"] == ["END"]


def test_o_stop_array_keeps_its_order() -> None:
    assert sent(MESSAGES_MODEL, stop=["b", "a", "c d"])["stop_sequences"] == ["b", "a", "c d"]


@pytest.mark.parametrize("stop", [" ", "\n\n", "", ["\t", " "], [], None])
def test_o_stop_whitespace_alone_is_none(stop: Any) -> None:
    assert "stop_sequences" not in sent(MESSAGES_MODEL, stop=stop)


def test_o_stop_whitespace_beside_words_is_left_out() -> None:
    assert sent(MESSAGES_MODEL, stop=[" ", "END", ""])["stop_sequences"] == ["END"]
