"""The one look at a body: what is read of a good one."""

import json
from typing import Any

import pytest

from libs import errors
from libs.errors import UnsupportedParameter
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.edge.head import Head, look

MESSAGES = [{"role": "user", "content": "Hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


def seen(protocol: Protocol = OPENAI_CHAT, **fields: Any) -> Head:
    """Messages callers must name a length."""
    cap = {"max_tokens": 5} if protocol == ANTHROPIC_MESSAGES else {}
    return look(body(**{**cap, **fields}), protocol)


def test_a_model_and_messages_are_enough() -> None:
    found = seen()
    assert (found.model, found.stream, found.choices, found.output_cap) == ("m", False, 1, None)


def test_messages_callers_name_a_length_too() -> None:
    found = seen(ANTHROPIC_MESSAGES, max_tokens=7)
    assert (found.model, found.stream, found.choices, found.output_cap) == ("m", False, 1, 7)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("said", "meant"), [(True, True), (False, False), (None, False)])
def test_a_stream_is_asked_for_with_true(protocol: Protocol, said: bool | None, meant: bool) -> None:
    assert seen(protocol, stream=said).stream is meant


@pytest.mark.parametrize(
    ("fields", "cap"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 1}, 1),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 9, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": None, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 1 << 31}, 1 << 31),
    ],
)
def test_the_newer_name_of_the_cap_counts(fields: dict[str, Any], cap: int | None) -> None:
    assert seen(**fields).output_cap == cap


def test_messages_know_one_cap_and_one_choice() -> None:
    found = seen(ANTHROPIC_MESSAGES, max_tokens=9, max_completion_tokens=7, n=5)
    assert (found.output_cap, found.choices) == (9, 1)


@pytest.mark.parametrize(("n", "choices"), [(None, 1), (1, 1), (128, 128)])
def test_choices_are_counted(n: int | None, choices: int) -> None:
    assert seen(n=n).choices == choices


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, False),
        ({}, False),
        ({"include_usage": None}, False),
        ({"include_usage": False}, False),
        ({"include_usage": True}, True),
        ({"include_usage": True, "include_obfuscation": False}, True),
    ],
)
def test_usage_is_shown_to_chat_callers_who_ask(options: dict[str, Any] | None, wanted: bool) -> None:
    assert seen(stream_options=options).usage_wanted is wanted


def test_usage_is_always_shown_to_messages_callers() -> None:
    assert seen(ANTHROPIC_MESSAGES).usage_wanted is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 1},
        {"temperature": 0.5},
        {"temperature": None},
        {"top_p": 0},
        {"top_p": 1.0},
        {"stop": None},
        {"stop": "x"},
        {"stop": ["x", "y"]},
        {"stop_sequences": ["x"]},
        {"tools": [{"type": "function"}], "anything": {"else": [1e30, None]}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "tool"}]},
    ],
)
def test_what_the_protocols_allow_passes(protocol: Protocol, fields: dict[str, Any]) -> None:
    assert seen(protocol, **fields).model == "m"


def test_chat_takes_a_temperature_up_to_two() -> None:
    assert seen(temperature=2).model == "m"


def test_of_a_field_that_is_named_twice_the_last_one_counts() -> None:
    """As in every JSON parser that a provider may use."""
    raw = b'{"model":"a","n":1,"messages":[{"role":"user"}],"model":"b","n":2,"max_tokens":9,"max_tokens":5}'
    found = look(raw, OPENAI_CHAT)
    assert (found.model, found.choices, found.output_cap) == ("b", 2, 5)


def test_names_are_read_through_their_escapes() -> None:
    r"""Or a caller could hide ``n`` as ``\u006e`` and be served what was not held for."""
    raw = rb'{"mod\u0065l":"m","\u006e":3,"max_\u0074okens":5,"messages":[{"rol\u0065":"user"}],"str\u0065am":true}'
    found = look(raw, OPENAI_CHAT)
    assert (found.model, found.choices, found.output_cap, found.stream) == ("m", 3, 5, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_input_bound_is_never_below_the_bytes(protocol: Protocol) -> None:
    small = body(max_tokens=5)
    large = body(max_tokens=5, messages=[*MESSAGES, {"role": "user", "content": "日本" * 1000}])
    assert look(small, protocol).input_bound == len(small) + 16
    assert look(large, protocol).input_bound == len(large) + 32


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}},
        {"type": "video", "video": ["https://x.example/1.png"]},
    ],
)
def test_what_may_stand_for_any_number_of_tokens_is_held_for_as_that(part: dict[str, Any]) -> None:
    raw = body(messages=[{"role": "user", "content": [part]}])
    assert look(raw, OPENAI_CHAT).input_bound == 1 << 31
    assert look(raw.replace(b'"type":', b'"type" :\n'), OPENAI_CHAT).input_bound == 1 << 31


def test_text_that_speaks_of_documents_is_only_text() -> None:
    raw = body(messages=[{"role": "user", "content": '{"type": "document", "image_url": "caf\u00e9"}'}])
    assert look(raw, OPENAI_CHAT).input_bound == len(raw) + 16


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {"type": "image_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": ""}},
    ],
)
def test_what_is_only_named_is_counted_as_more_than_its_name(part: dict[str, Any]) -> None:
    raw = body(messages=[{"role": "user", "content": [part]}])
    assert look(raw, OPENAI_CHAT).input_bound >= len(raw) + 4096


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "tools",
    [
        [],
        None,
        [{"name": "f", "input_schema": {}}],
        [{"type": "function", "function": {"name": "f"}}],
        [{"type": "custom", "name": "f"}],
        [{"type": "bash_20250124"}, {"type": "text_editor_20250728"}, {"type": "computer_20250124"}, {"type": None}],
        [{"type": "web_search_20250305"}, {"name": "f"}],
        [{"type": "function"}, {"type": "web_search"}],
    ],
)
def test_a_tool_of_the_caller_s_own_lets_the_request_pass(protocol: Protocol, tools: object) -> None:
    found = seen(protocol, tools=tools, enable_search=False, web_search_options=None, mcp_servers=[])
    assert found.model == "m"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"enable_search": True}, "enable_search"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
    ],
)
def test_what_is_billed_beside_tokens_is_refused(protocol: Protocol, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter, match="not sold here yet") as caught:
        seen(protocol, **fields)
    assert caught.value.param == param


def test_names_of_references_cannot_be_hidden_by_escapes() -> None:
    plain = b'{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}'
    hidden = plain.replace(b"image_url", rb"im\u0061ge\u005Furl")
    assert look(hidden, OPENAI_CHAT).input_bound >= look(plain, OPENAI_CHAT).input_bound


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (["web_search_20250305"], "web_search"),
        (["web_search"], "web_search"),
        (["web_fetch_20250910", "web_search_20250305"], "web_fetch"),
        (["code_execution_20250522"], "code_execution"),
        (["tool_search_tool_regex_20251119"], "tool_search_tool_regex"),
        (["mcp_toolset"], "mcp_toolset"),
        (["builtin_function"], "builtin_function"),
        ([""], "''"),
        (["no name\n"], "'no name\\n'"),
    ],
)
def test_only_server_tools_are_refused_by_name(protocol: Protocol, kinds: list[str], name: str) -> None:
    """A model that was promised a search and gets none invents its results; Claude Code shows this 400 instead."""
    with pytest.raises(UnsupportedParameter) as caught:
        seen(protocol, tools=[{"type": kind, "name": "x"} for kind in kinds])
    assert caught.value.message == f"server tool {name} is not supported by this model"
    assert caught.value.param == "tools"
    assert json.loads(errors.body_of(caught.value, ANTHROPIC_MESSAGES, "r"))["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "id": "t"}, {}, False, ""])
def test_a_thread_is_refused_with_the_word_at_which_sdks_fall_back(thread: object) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        seen(ANTHROPIC_MESSAGES, thread=thread)
    inner = json.loads(errors.body_of(caught.value, ANTHROPIC_MESSAGES, "r"))["error"]
    assert inner["details"] == {"error_code": "thread_unsupported_request"}
    assert (inner["type"], caught.value.param) == ("invalid_request_error", "thread")


def test_no_thread_is_no_mistake() -> None:
    assert seen(ANTHROPIC_MESSAGES, thread=None).model == "m"
    assert seen(OPENAI_CHAT, thread={"type": "create"}).model == "m"
