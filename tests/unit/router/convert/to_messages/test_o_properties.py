"""Whatever comes, it is refused as a request or becomes one that Anthropic itself would take."""

import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.replay import Signed
from services.router.convert.terms import Terms
from services.router.convert.to_messages.request import HONOURED, convert
from services.router.convert.to_messages.wire import Message, Part
from tests.fixtures.chat_requests import HELLO, PLAIN, SIGNED, assistant, call, forgotten, function, result, text, user
from tests.fixtures.profiles import ANTHROPIC, DEEPSEEK_MESSAGES, GLM_MESSAGES, QWEN_MESSAGES
from tests.fixtures.strategies import json_values, thorough
from tests.fixtures.strict_messages_request import accepted, mistakes

PROFILES: Final = (
    PLAIN,
    SIGNED,
    ANTHROPIC,
    DEEPSEEK_MESSAGES,
    QWEN_MESSAGES,
    GLM_MESSAGES,
    msgspec.structs.replace(PLAIN, mid_system="hoist", unsigned_thinking=False, thinks_by_default=True),
    Profile(),
)
IDS: Final = st.sampled_from(["a", "b", "call_0", "functions.bash:0", ""])
NAMES: Final = st.sampled_from(["look", "files.read", "x" * 200])
WORDS: Final = st.sampled_from(["", " ", "hello", "so: \n", "Grüße 你好", "\ufeff", "\u3000"])
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
MARKED: Final = {**text("marked"), "cache_control": {"type": "ephemeral"}}
PARTS: Final = st.lists(WORDS.map(text) | st.sampled_from([PICTURE, MARKED, {"type": "odd"}]), max_size=3)
CONTENTS: Final = WORDS | PARTS
CALLS: Final = st.builds(call, IDS, NAMES, st.sampled_from(["{}", "", "[1]", "{bad", '{"a": {"b": [null]}}']))
SPEECHES: Final = st.builds(
    lambda content, calls, thought: assistant(content, *calls, reasoning_content=thought),
    st.none() | CONTENTS,
    st.lists(CALLS, max_size=3),
    st.none() | WORDS,
)
TURNS: Final = st.one_of(
    st.builds(user, CONTENTS),
    st.builds(result, IDS, CONTENTS),
    SPEECHES,
    st.builds(lambda content: {"role": "system", "content": content}, WORDS),
    st.builds(lambda name: {"role": "assistant", "function_call": {"name": name, "arguments": "{}"}}, NAMES),
    st.builds(lambda name: {"role": "function", "name": name, "content": "done"}, NAMES),
)
FIELDS: Final = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(NAMES.map(function), max_size=3),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "medium", "max"]),
        "thinking_budget": st.integers(0, 50_000),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(-1, 50),
        "stop": st.lists(WORDS, max_size=3),
        "response_format": st.just({"type": "json_object"}),
    },
)
MEMORIES: Final = st.sampled_from(
    [None, (Signed(5, "sig"),), (Signed(0, "", "data"),), (Signed(0, "", "d"), Signed(5))]
)


@thorough
@given(st.sampled_from(PROFILES), st.lists(TURNS, min_size=1, max_size=9), FIELDS, st.integers(1, 40_000), MEMORIES)
def test_every_conversation_is_accepted(profile: Profile, turns: Any, fields: Any, cap: int, memory: Any) -> None:
    body = json.dumps({"model": "m", "messages": turns, **fields}).encode()
    terms = Terms(upstream_model="m", output_cap=cap, upstream_stream=False, profile=profile)
    made = accepted(convert(body, terms, lambda key: memory))
    assert made["max_tokens"] == cap


def struct_fields(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


ANYTHING: Final = json_values()
KINDS: Final = ["text", "image_url", "file", "image", "document", "tool_use", "tool_result", "thinking", "refusal", 5]
ODD_PARTS: Final = st.dictionaries(st.sampled_from(struct_fields(Part)), ANYTHING, max_size=5)
TYPED_PARTS: Final = st.builds(lambda part, kind: {**part, "type": kind}, ODD_PARTS, st.sampled_from(KINDS))
ODD_MESSAGES: Final = st.builds(
    lambda fields, role, content: {**fields, "role": role, "content": content},
    st.dictionaries(st.sampled_from(struct_fields(Message)), ANYTHING, max_size=4),
    st.sampled_from(["system", "user", "assistant", "tool", "function", "odd"]),
    ANYTHING | st.lists(TYPED_PARTS, max_size=3),
)


@thorough
@given(
    st.sampled_from(PROFILES),
    st.lists(ODD_MESSAGES, max_size=4) | ANYTHING,
    st.dictionaries(st.sampled_from(sorted(HONOURED - {"messages"})), ANYTHING, max_size=4),
)
def test_whatever_comes_is_an_answer_or_a_refusal(profile: Profile, messages: Any, fields: Any) -> None:
    only_refused(json.dumps({"messages": messages, **fields}).encode(), profile)


@thorough
@given(st.sampled_from(PROFILES), st.sampled_from(sorted(HONOURED - {"messages"})), ANYTHING)
def test_whatever_a_field_holds_is_an_answer_or_a_refusal(profile: Profile, name: str, value: Any) -> None:
    only_refused(json.dumps({"messages": [HELLO], "tools": [function()], name: value}).encode(), profile)


@pytest.mark.parametrize("depth", [100, 990, 1100, 100_000])
@pytest.mark.parametrize(
    "around",
    [
        '{"messages":%s}',
        '{"messages":[{"role":"user","content":%s}]}',
        '{"messages":[{"role":"user","content":[{"type":"odd","more":%s}]}]}',
        '{"messages":[{"role":"user","content":[{"type":"tool_result","content":%s}]}]}',
        '{"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"x","input":%s}]}]}',
        '{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"x","arguments":%s}}]}]}',
        '{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"x","arguments":"%s"}}]}]}',
        '{"messages":[{"role":"user","content":"x"}],"tools":[{"function":{"name":"x","parameters":{"a":%s}}}]}',
        '{"messages":[{"role":"user","content":"x"}],"seed":%s}',
        '{"messages":[{"role":"user","content":"x"}],"n":%s}',
        '{"messages":[{"role":"user","content":"x"}],"tool_choice":%s}',
    ],
)
def test_what_is_nested_deeply_is_an_answer_or_a_refusal(around: str, depth: int) -> None:
    only_refused((around % ("[" * depth + "]" * depth)).encode(), PLAIN)


def only_refused(body: bytes, profile: Profile) -> None:
    """It can be sent, or the caller learns what is wrong with it."""
    terms = Terms(upstream_model="m", output_cap=4096, upstream_stream=False, profile=profile)
    try:
        made = convert(body, terms, forgotten)
    except InvalidRequest:
        return
    assert msgspec.json.encode(made.body)


def good(**changes: Any) -> Any:
    return {"model": "m", "max_tokens": 9, "messages": [user([text("x")])], **changes}


def with_call(*answers: Any, **changes: Any) -> Any:
    used = {"type": "tool_use", "id": "a", "name": "x", "input": {}, **changes}
    return good(messages=[user([text("x")]), assistant([used]), *answers])


ANSWER: Final = {"type": "tool_result", "tool_use_id": "a"}


@pytest.mark.parametrize("body", [good(), with_call(user([ANSWER, text("x")]))])
def test_the_judge_takes_what_is_good(body: Any) -> None:
    assert mistakes(body) == []


@pytest.mark.parametrize(
    "body",
    [
        good(seed=1),
        good(max_tokens=0),
        good(messages=[assistant([text("x")])]),
        good(messages=[user([text("x")]), user([text("x")])]),
        good(messages=[user([text(" ")])]),
        good(messages=[user([])]),
        good(messages=[user([{"type": "odd"}])]),
        good(messages=[user([text("x")]), {"role": "system", "content": [text("x")]}]),
        good(messages=[user([text("x")]), assistant([text("x ")])]),
        good(messages=[user([text("x")]), assistant([{"type": "thinking", "thinking": "x"}, text("x")])]),
        good(messages=[user([text("x")]), assistant([text("x"), {"type": "redacted_thinking", "data": "x"}])]),
        good(messages=[user([ANSWER])]),
        with_call(),
        with_call(user([text("x")])),
        with_call(user([text("x"), ANSWER])),
        with_call(user([ANSWER, ANSWER])),
        with_call(user([{**ANSWER, "tool_use_id": "b"}])),
        with_call(user([{**ANSWER, "tool_use_id": "a:0"}]), id="a:0"),
        with_call(user([ANSWER]), input=[]),
        good(tool_choice={"type": "auto"}),
        good(tools=[{"name": "a.b", "input_schema": {"type": "object"}}]),
        good(thinking={"type": "enabled", "budget_tokens": 1023}, max_tokens=4096),
        good(thinking={"type": "enabled", "budget_tokens": 4096}, max_tokens=4096),
        good(thinking={"type": "adaptive"}, temperature=1),
        good(messages=[user([{**text("x"), "cache_control": {"type": "ephemeral"}}] * 5)]),
    ],
)
def test_the_judge_refuses_what_is_not(body: Any) -> None:
    assert mistakes(body) != []
