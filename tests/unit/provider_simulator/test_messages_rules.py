"""What each anthropic_messages provider refuses, by a request that is right but for one thing."""

from typing import Any, Final

import msgspec
import pytest

from deploy.demo.provider.signatures import signature_of
from deploy.demo.provider.strict import refusal_of
from libs.protocols import ANTHROPIC_MESSAGES

SCHEMA: Final = {"type": "object"}
HELLO: Final = {"role": "user", "content": "hello"}
TOOLS: Final = [{"name": "look", "input_schema": SCHEMA}]
THINKING: Final = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
SYSTEM: Final = "mid-conversation-system-2026-04-07"
ALL: Final = ("anthropic", "deepseek", "qwen", "zhipu", "somebody")


def use(call_id: Any = "t1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "look", "input": {}, **fields}


def result(call_id: str = "t1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "done", **fields}


def thought(text: str = "Hm.", **fields: Any) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature_of(text), **fields}


def text(words: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk=", **source}}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def asked(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def talk(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HELLO, *turns], "tools": TOOLS}


def refused(provider: str, headers: dict[str, str] | None = None, **fields: Any) -> str | None:
    request = {"model": "m", "max_tokens": 2000, "messages": [HELLO], **fields}
    return refusal_of(provider, ANTHROPIC_MESSAGES, headers or {}, msgspec.json.encode(request))


GOOD: Final[dict[str, dict[str, Any]]] = {
    "plain": {"metadata": {"user_id": "x"}, "temperature": 0.5, "stop_sequences": ["x"]},
    "two of the user": {"messages": [HELLO, HELLO]},
    "a talk with tools": talk(said(text(), use(), use("t2")), asked(result("t2"), result(), text()), said(text())),
    "a result without content": talk(said(use()), asked({"type": "tool_result", "tool_use_id": "t1"})),
    "thinking": {**talk(said(thought(), use()), asked(result())), **THINKING},
    "a beginning of the answer": {"messages": [HELLO, said(text("Well"))]},
    "forced": {"tools": TOOLS, "tool_choice": {"type": "any"}},
}


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_request_is_taken(provider: str, name: str) -> None:
    assert refused(provider, **GOOD[name]) is None


MARK: Final[dict[str, Any]] = {"cache_control": {"type": "ephemeral"}}
EVERYWHERE: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a field of the other protocol": ({"reasoning_effort": "low"}, "reasoning_effort: Extra inputs are not permitted"),
    "stop": ({"stop": ["x"]}, "stop: Extra inputs"),
    "the assistant first": ({"messages": [said(text()), HELLO]}, 'must use the "user" role'),
    "a system message": ({"messages": [HELLO, {"role": "system", "content": "x"}]}, "messages.1.role: Input should"),
    "a tool message": ({"messages": [HELLO, {"role": "tool", "content": "x"}]}, "messages.1.role: "),
    "tool_calls": ({"messages": [HELLO, {**said(text()), "tool_calls": []}]}, "messages.1.tool_calls: Extra inputs"),
    "no result": (talk(said(use()), HELLO), "ids were found without `tool_result` blocks immediately after: t1"),
    "no message after": (talk(said(use())), "immediately after: t1"),
    "text before the result": (talk(said(use()), asked(text(), result())), "immediately after: t1"),
    "results in two messages": (talk(said(use(), use("t2")), asked(result()), asked(result("t2"))), "after: t2"),
    "an orphan": (talk(asked(result())), "unexpected `tool_use_id`"),
    "two results": (talk(said(use()), asked(result(), result())), "each tool_use must have a single result"),
    "a bad id": (talk(said(use("a:b")), asked(result("a:b"))), "^[a-zA-Z0-9_-]+$"),
    "input as a string": (talk(said(use(input="{}")), asked(result())), "valid dictionary"),
    "an empty error": (talk(said(use()), asked(result(content="", is_error=True))), "cannot be empty"),
    "an empty text": ({"messages": [asked(text(""))]}, "text content blocks must be non-empty"),
    "a white text": ({"messages": [asked(text(" "))]}, "non-whitespace"),
    "an open end": ({"messages": [HELLO, said(text("Well "))]}, "trailing whitespace"),
    "an open end as a string": ({"messages": [HELLO, {"role": "assistant", "content": "Well\n"}]}, "trailing"),
    "an image_url": ({"messages": [asked({"type": "image_url", "image_url": {}})]}, "Input tag 'image_url'"),
    "thinking of the user": ({"messages": [asked(thought())]}, "Input tag 'thinking'"),
    "a result of the assistant": ({"messages": [HELLO, said(result())]}, "Input tag 'tool_result'"),
    "a function": ({"tools": [{"type": "function", "function": {"name": "look"}}]}, "Input tag 'function'"),
    "parameters": ({"tools": [{"name": "look", "parameters": SCHEMA}]}, "tools.0.custom.parameters: Extra inputs"),
    "a long name": ({"tools": [{"name": "n" * 129, "input_schema": SCHEMA}]}, "{1,128}"),
    "no schema": ({"tools": [{"name": "look"}]}, "input_schema: Field required"),
    "a schema of no type": ({"tools": [{"name": "look", "input_schema": {}}]}, "Input should be 'object'"),
    "a name twice": ({"tools": TOOLS * 2}, "unique"),
    "a choice without tools": ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
    "a small budget": ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "greater than or equal to 1024"),
    "no budget": ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
    "a large budget": ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than"),
    "forced while thinking": ({**THINKING, "tools": TOOLS, "tool_choice": {"type": "any"}}, "forces tool use"),
    "cold thinking": ({**THINKING, "temperature": 0.5}, "may only be set to 1"),
    "picky thinking": ({**THINKING, "top_k": 5}, "`top_k` must be unset"),
    "hot": ({"temperature": 1.1}, "temperature"),
    "five marks": ({"messages": [asked(*[text(**MARK)] * 5)]}, "Found 5"),
    "a mark on a thought": ({"messages": [HELLO, said(thought(**MARK), text())]}, "thinking.cache_control"),
    "a white stop": ({"stop_sequences": [" "]}, "non-whitespace"),
    "an unknown effort": ({"output_config": {"effort": "enormous"}}, "output_config.effort"),
}


@pytest.mark.parametrize("provider", ALL)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_is_wrong_everywhere_is_refused_everywhere(provider: str, name: str) -> None:
    fields, words = EVERYWHERE[name]
    assert words in str(refused(provider, **fields))


FOREIGN: Final = talk(said(thought(signature="c2ln"), use()), asked(result()))
CHANGED: Final = talk(said(thought(), {**thought(), "thinking": "Hm!"}, use()), asked(result()))
BARE: Final = {**talk(said(use()), asked(result())), **THINKING}
DOCUMENT: Final = {"messages": [asked({"type": "document", "source": {}})]}


@pytest.mark.parametrize(
    ("provider", "fields", "words"),
    [
        ("anthropic", {"x_unknown": 1}, "x_unknown: Extra inputs are not permitted"),
        ("somebody", {"x_unknown": 1}, "x_unknown: Extra inputs are not permitted"),
        ("deepseek", {"x_unknown": 1}, None),
        ("anthropic", {"context_management": {"edits": []}, "service_tier": "auto"}, None),
        ("anthropic", {"metadata": {"who": "x"}}, "metadata.who: Extra inputs"),
        ("anthropic", FOREIGN, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ("anthropic", CHANGED, "messages.1.content.1: Invalid `signature` in `thinking` block"),
        ("deepseek", FOREIGN, None),
        ("somebody", FOREIGN, None),
        ("anthropic", BARE, "Expected `thinking` or `redacted_thinking`, but found `tool_use`"),
        ("anthropic", {**BARE, "thinking": {"type": "adaptive"}}, None),
        ("zhipu", BARE, None),
        ("anthropic", {"messages": [asked(image())]}, None),
        ("anthropic", {"messages": [asked(image(media_type="image/bmp"))]}, "'image/webp'"),
        ("anthropic", {"messages": [asked(image(data="data:image/png;base64,aGk="))]}, "image.source.base64"),
        ("deepseek", {"messages": [asked(image())]}, "does not support image input"),
        ("deepseek", {"messages": [asked(image())], "model": "deepseek-vision"}, None),
        ("anthropic", DOCUMENT, None),
        ("deepseek", DOCUMENT, "Input tag 'document'"),
        ("anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, None),
        ("zhipu", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "Input tag 'web_search_2025"),
        ("anthropic", {"thread": {"type": "create"}}, None),
        ("deepseek", {"thread": {"type": "create"}}, "thread"),
        ("anthropic", {"model": "claude-sonnet-4-6", "temperature": 1, "top_p": 1}, "cannot both be specified"),
        ("anthropic", {"model": "claude-sonnet-4-20250514", "temperature": 1, "top_p": 1}, None),
        ("anthropic", {"model": "claude-sonnet-4-6", "max_tokens": 64_001}, "max_tokens: 64001 > 64000"),
    ],
)
def test_a_provider_has_rules_of_its_own(provider: str, fields: dict[str, Any], words: str | None) -> None:
    told = refused(provider, **fields)
    assert (told is None) == (words is None), told
    assert words is None or words in str(told)


@pytest.mark.parametrize(
    ("provider", "headers", "fields", "words"),
    [
        (
            "anthropic",
            {"anthropic-beta": f"a, {SYSTEM}"},
            {"messages": [HELLO, {"role": "system", "content": "x"}]},
            None,
        ),
        ("deepseek", {"anthropic-beta": SYSTEM}, {"messages": [HELLO, {"role": "system", "content": "x"}]}, "role"),
        ("anthropic", {"Anthropic-Beta": "some-beta,bogus-1"}, {}, "invalid beta flag"),
        ("deepseek", {"anthropic-beta": "bogus-1"}, {}, None),
        ("anthropic", {"anthropic-version": "2026-10-21"}, {"temperature": 1}, "temperature: Extra inputs"),
        ("anthropic", {"anthropic-version": "2023-06-01"}, {"temperature": 1}, None),
        ("somebody", {"anthropic-version": "2026-10-21"}, {"temperature": 1}, None),
        (
            "anthropic",
            {"anthropic-beta": "interleaved-thinking-2025-05-14"},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            None,
        ),
    ],
)
def test_headers_decide_too(provider: str, headers: dict[str, str], fields: dict[str, Any], words: str | None) -> None:
    told = refused(provider, headers, **fields)
    assert (told is None) == (words is None), told
    assert words is None or words in str(told)


def test_a_system_message_after_the_results_does_not_part_them_from_their_calls() -> None:
    note = {"role": "system", "content": "x"}
    after = talk(said(use()), asked(result()), note)
    between = talk(said(use()), note, asked(result()))
    assert refused("anthropic", {"anthropic-beta": SYSTEM}, **after) is None
    assert "immediately after" in str(refused("anthropic", {"anthropic-beta": SYSTEM}, **between))
