"""The fields of a request: what is sent for them, and the names of those that are not."""

import hashlib
import json
from typing import Any

import pytest

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest, UnsupportedParameter, body_of
from libs.protocols import ANTHROPIC_MESSAGES
from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import DEEPSEEK_CHAT, GENERIC_CHAT, GLM_CHAT, QWEN_CHAT
from tests.unit.router.convert.to_chat.asks import HELLO, WEATHER, Json, converted, sent, terms, variant

SCHEMA: Json = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
FORM: Json = {"type": "json_schema", "schema": SCHEMA}
NO_FORMS = variant(GENERIC_CHAT, formats=("text",))


def test_a_plain_request_is_five_fields() -> None:
    assert sent(streamed=False) == {
        "model": "deepseek-v4",
        "messages": [HELLO],
        "max_tokens": 1000,
        "stream": False,
    }


def test_a_stream_is_asked_for_its_usage() -> None:
    assert sent(streamed=True)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("fields", [{"output_config": {"format": FORM}}, {"output_format": FORM}])
def test_format_json_schema_is_sent_where_it_is_held_to(fields: Json) -> None:
    asked = {"name": "output", "schema": SCHEMA, "strict": True}
    found = converted(**fields)
    assert sent(**fields)["response_format"] == {"type": "json_schema", "json_schema": asked}
    assert found.dropped == ()


def test_format_json_schema_is_an_object_and_a_sentence_elsewhere() -> None:
    body = sent(DEEPSEEK_CHAT, output_config={"format": FORM}, system="S")
    prompt = body["messages"][0]["content"]
    assert body["response_format"] == {"type": "json_object"}
    assert prompt.startswith("S\n\n")
    assert "JSON" in prompt
    assert json.dumps(SCHEMA, separators=(",", ":")) in prompt


def test_format_json_schema_is_only_a_sentence_where_there_is_no_such_field() -> None:
    body = sent(NO_FORMS, output_config={"format": FORM})
    assert "response_format" not in body
    assert '"title"' in body["messages"][0]["content"]


@pytest.mark.parametrize("form", [{"type": "of 2031"}, {"type": "json_schema"}, {"type": 7}, {}])
def test_format_json_schema_of_another_kind_is_dropped(form: Json) -> None:
    found = converted(output_config={"format": form})
    assert found.dropped == ("output_config.format",)
    assert "response_format" not in found.body


def test_stop_single_is_array() -> None:
    found = converted(stop_sequences=["END"])
    assert found.body["stop"] == ["END"]
    assert found.stops == ("END",)


@pytest.mark.parametrize("stops", [[], [""], None])
def test_stop_of_nothing_is_absent(stops: object) -> None:
    assert "stop" not in sent(stop_sequences=stops)


def test_stop_limit_keeps_the_first() -> None:
    found = converted(DEEPSEEK_CHAT, stop_sequences=[f"s{n}" for n in range(20)])
    assert found.body["stop"] == [f"s{n}" for n in range(16)]
    assert found.stops == tuple(found.body["stop"])
    assert found.dropped == ("stop_sequences",)


@pytest.mark.parametrize("given", ["absent", None, "100", 1.5, True, [1]])
def test_max_tokens_missing_is_refused(given: object) -> None:
    body = {"messages": [HELLO]} if given == "absent" else {"messages": [HELLO], "max_tokens": given}
    with pytest.raises(InvalidRequest) as refused:
        convert(json.dumps(body).encode(), terms())
    assert (refused.value.message, refused.value.param) == ("max_tokens: Field required", "max_tokens")


def test_max_tokens_missing_differs_from_none_at_all() -> None:
    with pytest.raises(UnsupportedParameter, match="max_tokens"):
        converted(max_tokens=0)
    with pytest.raises(InvalidRequest, match="greater than 0"):
        converted(max_tokens=-1)


def test_max_tokens_clamped_to_what_was_held() -> None:
    assert sent(max_tokens=64_000)["max_tokens"] == 1000
    assert sent(variant(GENERIC_CHAT, cap_field="max_completion_tokens"))["max_completion_tokens"] == 1000


def test_metadata_user_id_default_dropped() -> None:
    found = converted(metadata={"user_id": "device-1", "more": 1})
    assert "device-1" not in str(found.body)
    assert found.dropped == ("metadata.user_id",)


def test_metadata_user_id_hashed_where_it_is_wanted() -> None:
    profile = variant(GENERIC_CHAT, user_field=True)
    user = sent(profile, metadata={"user_id": "device-1"})["user"]
    assert user == hashlib.sha256(b"device-1").hexdigest()
    assert "user" not in sent(profile, metadata={"user_id": None})


@pytest.mark.parametrize(
    "name",
    [
        *("context_management", "speed", "inference_geo", "service_tier", "diagnostics", "user_profile_id", "foo"),
        *("workspace_id", "billing_policy", "fallbacks", "fallback_credit_token", "cache_control", "compaction"),
    ],
)
def test_unknown_top_level_and_beta_ignored(name: str) -> None:
    given: Json = {name: {"x": 1}}
    absent: Json = {name: None}
    found = converted(**given)
    assert name not in found.body
    assert found.dropped == (name,)
    assert converted(**absent).dropped == ()


def test_unknown_top_level_and_beta_ignored_inside_output_config() -> None:
    assert converted(output_config={"task_budget": {"total": 5}, "x": None}).dropped == ("output_config.task_budget",)


def test_dropped_fields_are_named_once_in_the_order_of_the_body() -> None:
    found = converted(
        speed="fast",
        tools=[WEATHER, {"type": "web_search_20250305"}, {"type": "web_search_20250305"}],
        top_k=5,
        output_config={"effort": "high", "task_budget": 1},
        zeta=1,
    )
    names = ("speed", "tools.web_search_20250305", "top_k", "output_config.task_budget", "output_config.effort", "zeta")
    assert found.dropped == names


def test_dropped_fields_can_be_said_in_a_header() -> None:
    more: Json = {f"f{n}": 1 for n in range(99)}
    found = converted(**{"a\r\nset-cookie: x": 1, "é": 1, "": 1, "x" * 81: 1, **more})
    assert found.dropped == tuple(f"f{n}" for n in range(32))


@pytest.mark.parametrize(("name", "value"), [("mcp_servers", [{"url": "x"}]), ("container", "c_1"), ("thread", {})])
def test_a_field_that_changes_everything_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedParameter, match=f"^{name} is not supported by this model$") as refused:
        converted(**{name: value})
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("name", "value"), [("mcp_servers", []), ("mcp_servers", None), ("container", None), ("thread", None)]
)
def test_a_field_that_says_nothing_is_not_refused(name: str, value: Any) -> None:
    assert converted(**{name: value}).dropped == ()


def test_a_thread_is_refused_in_the_words_that_the_tool_runner_knows() -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        converted(thread={"type": "create"})
    error = json.loads(body_of(refused.value, ANTHROPIC_MESSAGES, "req_1"))["error"]
    assert error["details"] == {"error_code": "thread_unsupported_request"}


@pytest.mark.parametrize(
    ("profile", "given", "said"),
    [
        (GENERIC_CHAT, 0.7, 0.7),
        (GENERIC_CHAT, 1, 1),
        (GENERIC_CHAT, None, None),
        (GENERIC_CHAT, 5, 2),
        (GENERIC_CHAT, -1, 0),
        (variant(GENERIC_CHAT, max_temperature=1.0), 1.5, 1),
        (GLM_CHAT, 0, 0.01),
        (GLM_CHAT, 1, 0.99),
        (GLM_CHAT, 0.5, 0.5),
    ],
)
def test_temperature_is_brought_into_range(profile: Profile, given: object, said: float | None) -> None:
    assert sent(profile, temperature=given).get("temperature") == said


@pytest.mark.parametrize(("profile", "said"), [(GENERIC_CHAT, 1), (GLM_CHAT, 0.99)])
def test_top_p_is_brought_into_range(profile: Profile, said: float) -> None:
    assert sent(profile, top_p=1.0)["top_p"] == said


def test_top_p_gives_way_where_only_one_is_taken() -> None:
    found = converted(variant(GENERIC_CHAT, one_of_temperature_top_p=True), temperature=0.5, top_p=0.9)
    assert (found.body["temperature"], found.dropped) == (0.5, ("top_p",))


def test_top_k_is_sent_where_it_is_known() -> None:
    assert sent(QWEN_CHAT, top_k=40)["top_k"] == 40
    assert converted(GENERIC_CHAT, top_k=40).dropped == ("top_k",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", []),
        ("top_k", {}),
        ("top_k", 1.5),
        ("top_k", -1),
        ("stop_sequences", "END"),
        ("stop_sequences", [1]),
        ("thinking", "on"),
        ("output_config", []),
        ("metadata", "x"),
        ("tools", {}),
        ("tools", [1]),
        ("tool_choice", "auto"),
        ("system", 1),
        ("system", ["x"]),
        ("messages", "x"),
        ("messages", [1]),
        ("messages", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(name: str, value: Any) -> None:
    fields = {"tools": [WEATHER], name: value}
    with pytest.raises(InvalidRequest) as refused:
        converted(**fields)
    assert refused.value.param == name


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": ""}], [{"role": "system", "content": "S"}]])
def test_a_conversation_without_a_word_is_refused(messages: list[Json]) -> None:
    with pytest.raises(InvalidRequest, match="at least one message") as refused:
        converted(messages=messages)
    assert refused.value.param == "messages"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "developer", "content": "x"},
        {"content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": "user", "content": {"type": "text"}},
        {"role": "user", "content": [{"type": "text", "text": 5}]},
        {"role": "user", "content": [{"type": "tool_result"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "name": "x"}]},
    ],
)
def test_a_message_that_the_protocol_does_not_have_is_refused(message: Json) -> None:
    with pytest.raises(InvalidRequest) as refused:
        converted(messages=[HELLO, message])
    assert refused.value.param == "messages"


def test_a_request_without_messages_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="messages: Field required"):
        convert(b'{"max_tokens":1}', terms())


def test_text_that_is_null_is_no_text() -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": None}, {"type": "text", "text": "x"}]}]
    assert sent(messages=said)["messages"] == [{"role": "user", "content": "x"}]


def test_fields_that_a_host_refuses_are_left_out() -> None:
    profile = variant(GENERIC_CHAT, drop_fields=("stop", "temperature", "stream_options", "top_p"))
    found = converted(profile, stop_sequences=["END"], temperature=1)
    assert found.body.keys() == {"model", "messages", "max_tokens", "stream"}
    assert found.dropped == ("stop_sequences", "temperature")
    assert found.stops == ()
