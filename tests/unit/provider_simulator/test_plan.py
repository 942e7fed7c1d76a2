"""From a call to its plan: pace, groups of bytes, endings and refusals, decided before any byte moves."""

from typing import Any

import msgspec
import pytest

from libs.pricing import Usage
from tests.unit.provider_simulator.calls import (
    BOTH,
    CHAT,
    GLM,
    HEADERS,
    MESSAGES,
    QWEN,
    WITH_USAGE,
    document,
    documents,
    events,
    plan_of,
    planned,
    request_for,
    sent,
)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("grouping", ["byte", "whole", "odd", "event"])
@pytest.mark.parametrize("line_end", ["lf", "crlf", "cr"])
def test_a_stream_in_other_groups_is_the_same_events(path: str, grouping: str, line_end: str) -> None:
    said = "Say something [sim: usage=in:5 thinking=3 comments=2]"
    usual = planned(path, said, stream=True)
    other = planned(path, f"{said} [sim: chunking={grouping},{line_end}]", stream=True)
    assert events(other) == events(usual)
    assert sum(step.tokens for step in other.steps) == sum(step.tokens for step in usual.steps) > 3


def test_groupings_are_what_they_are_called() -> None:
    def sizes(grouping: str) -> set[int]:
        return {len(step.data) for step in planned(CHAT, f"[sim: chunking={grouping}]", stream=True).steps[:-1]}

    assert sizes("byte") == {1}
    assert sizes("odd") == {7}
    assert sizes("whole") == set()


def test_pauses_are_before_the_headers_before_the_first_token_and_between_tokens() -> None:
    plan = planned(CHAT, "[sim: delay=3 first=2 gap=0.5 words=3]", stream=True)
    assert plan.wait == 3
    assert [step.delay for step in plan.steps if step.tokens] == [2, 0.5, 0.5]
    assert sum(step.delay for step in plan.steps) == 3


def test_a_plain_answer_takes_as_long_as_its_tokens() -> None:
    assert planned(CHAT, "[sim: delay=3 first=2 gap=0.5 words=3]").wait == 6


def test_only_an_undisturbed_plain_answer_leaves_with_its_headers() -> None:
    assert planned(CHAT).at_once
    assert planned(CHAT, "[sim: status=500]").at_once
    for said in ("[sim: hang=9999]", "[sim: cut=9999]", "[sim: end=9999]", "[sim: comments=1]", "[sim: chunking=odd]"):
        assert not planned(CHAT, said).at_once
    assert not planned(CHAT, "[sim: chunking=whole]", stream=True).at_once


def test_keep_alives_come_while_the_first_token_is_waited_for() -> None:
    plan = planned(CHAT, "[sim: first=4 comments=3]", stream=True)
    assert [step.delay for step in plan.steps if step.data.startswith(b": ")] == [1, 1, 1]
    assert events(plan) == events(planned(CHAT, "[sim: usage=in:9]", stream=True))
    plain = planned(CHAT, "[sim: first=4 comments=3]")
    assert (plain.wait, [step.delay for step in plain.steps]) == (0, [1, 1, 1, 1])
    assert sent(plain).startswith(b"\n\n\n{")


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(("cue", "ending"), [("cut", "cut"), ("end", "end"), ("hang", "hang")])
def test_an_ending_on_cue_keeps_what_was_before_it(path: str, cue: str, ending: str) -> None:
    whole = events(planned(path, "[sim: usage=in:9]", stream=True))
    plan = planned(path, f"[sim: {cue}=3 usage=in:9]", stream=True)
    assert (events(plan), plan.ending, plan.silent) == (whole[:3], ending, False)
    plain = planned(path, f"[sim: {cue}=10]")
    assert (len(sent(plain)), plain.ending) == (10, ending)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cue", ["cut", "hang"])
def test_an_ending_before_the_headers_sends_and_bills_nothing(path: str, stream: bool, cue: str) -> None:
    plan = planned(path, f"[sim: {cue}]", stream=stream)
    assert (plan.silent, sent(plan), plan.usage) == (True, b"", None)


def test_an_error_event_is_in_the_protocols_own_shape() -> None:
    chat = documents(planned(CHAT, "[sim: error_after=4]", stream=True))
    assert (len(chat), chat[-1]["error"]["type"]) == (5, "server_error")
    messages = events(planned(MESSAGES, "[sim: error_after=4]", stream=True))
    assert (len(messages), messages[-1].name) == (5, "error")
    assert msgspec.json.decode(messages[-1].data)["error"]["type"] == "overloaded_error"


def test_a_status_on_cue_has_the_providers_own_body() -> None:
    plan = planned(CHAT, "[sim: status=429 retry_after=2]")
    assert (plan.status, plan.retry_after, plan.usage) == (429, 2, None)
    assert document(plan)["error"]["type"] == "rate_limit_error"
    assert document(planned(GLM, "[sim: status=402]"))["error"]["code"] == "1113"
    arrears = document(planned(QWEN, "[sim: status=402]"))
    assert (arrears["error"]["code"], arrears["request_id"][:4]) == ("Arrearage", "req_")
    error = document(planned(MESSAGES, "[sim: status=529]"))
    assert (error["type"], error["error"]["type"]) == ("error", "overloaded_error")


def test_a_status_on_cue_says_what_it_is_told_to_say() -> None:
    told = document(planned(CHAT, "[sim: status=400 code=context_length_exceeded message='too long']"))["error"]
    assert (told["message"], told["code"]) == ("too long", "context_length_exceeded")


@pytest.mark.parametrize("path", BOTH)
def test_a_good_status_can_hide_a_bad_answer(path: str) -> None:
    page = planned(path, "[sim: garbage]")
    assert (page.status, page.type.partition(";")[0], sent(page)[:14]) == (200, "text/html", b"<!DOCTYPE html")
    with pytest.raises(msgspec.DecodeError):
        document(planned(path, "[sim: garbage=json]"))
    assert "error" in document(planned(path, "[sim: body=error200]", stream=True))
    assert sent(planned(path, "[sim: body=empty]")) == b""
    whole = planned(path, "[sim: body=whole usage=in:9]", stream=True)
    assert (whole.type, document(whole)) == ("application/json", document(planned(path, "[sim: usage=in:9]")))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("[sim: speed=3]", "speed"),
        ("[sim: tools=no_such_tool]", "no_such_tool"),
        ("[sim: cut=1 end=2]", "cut and end"),
        ("[sim: error_after=2]", "error_after"),
        ("[sim: usage=out:3,reasoning:4]", "reasoning"),
        ("[sim: usage=cache_write:4]", "cache_write"),
        ("[sim: usage=cache_write_1h:4]", "cache_write_1h"),
    ],
)
def test_a_cue_that_cannot_be_obeyed_is_refused_by_name(said: str, names: str) -> None:
    plan = planned(CHAT, said)
    assert plan.status == 400
    assert names in document(plan)["error"]["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_chat_request_of_wrong_types_is_refused_with_the_field(change: dict[str, Any], param: str) -> None:
    plan = planned(CHAT, **change)
    assert (plan.status, plan.ending) == (400, "refused")
    assert document(plan)["error"]["param"] == param


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"model": 7}, "model: "),
        ({"max_tokens": None}, "max_tokens: "),
        ({"messages": []}, "messages: "),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: "),
        ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages.0.content.0: "),
        ({"tool_choice": {"type": "any"}}, "tool_choice: "),
    ],
)
def test_a_messages_request_of_wrong_types_is_refused_with_the_place(change: dict[str, Any], names: str) -> None:
    plan = planned(MESSAGES, **change)
    assert plan.status == 400
    assert document(plan)["error"]["message"].startswith(names)
    assert document(plan)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(path: str, missing: str) -> None:
    request = request_for(path, "Hello")
    del request[missing]
    plan = plan_of(path, msgspec.json.encode(request))
    assert (plan.status, missing in document(plan)["error"]["message"]) == (400, True)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(path: str, body: bytes) -> None:
    assert plan_of(path, body).status == 400


@pytest.mark.parametrize("path", BOTH)
def test_a_provider_wants_its_credential_and_its_content_type(path: str) -> None:
    body = msgspec.json.encode(request_for(path, "Hello"))
    nobody = {name: value for name, value in HEADERS.items() if name != "authorization"}
    assert plan_of(path, body, nobody).status == 401
    assert plan_of(path, body, HEADERS | {"authorization": "Bearer bad-key"}).status == 401
    assert plan_of(path, body, nobody | {"x-api-key": "a-key"}).status == 200
    assert plan_of(path, body, HEADERS | {"content-type": "text/plain"}).status == 400


def test_only_a_provider_that_reads_it_wants_the_protocols_version() -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "anthropic-version"}
    body = msgspec.json.encode(request_for(MESSAGES, "Hello"))
    assert plan_of(MESSAGES, body, headers).status == 400
    assert plan_of("/deepseek/anthropic/v1/messages", body, headers).status == 200


def test_there_is_nothing_at_other_addresses() -> None:
    assert plan_of("/deepseek/v1/completions", b"{}").status == 404


def test_a_hang_up_is_billed_in_full_where_the_provider_goes_on() -> None:
    assert not planned(CHAT, **WITH_USAGE).runs_on
    assert planned(QWEN, **WITH_USAGE).runs_on
    assert not planned(QWEN, "[sim: hang=3]", **WITH_USAGE).runs_on


def test_the_plan_knows_what_the_answer_costs_even_when_it_is_not_reported() -> None:
    plan = planned(CHAT, "[sim: usage=in:10,out:20,cache_read:4,reasoning:3,none]", **WITH_USAGE)
    assert plan.usage == Usage(input=10, output=20, cache_read=4, reasoning=3)
    assert not any(step.usage for step in plan.steps)
    assert b"prompt_tokens" not in sent(plan)
