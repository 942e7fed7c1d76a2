"""An OpenAI stream on its way to an OpenAI caller."""

import json
from typing import Any

import pytest

from libs import errors
from libs.pricing import Usage, cost, usd
from tests.fixtures.samples import NOW_MS, hold, price
from tests.unit.router.streams import DONE, TEXT, USAGE, chat, chunk, delta

COST = usd(cost(price(), Usage(input=10, output=5), NOW_MS))
LAST = chunk(usage=USAGE)


def test_an_answer_passes_byte_for_byte_up_to_its_end() -> None:
    found = chat(TEXT, LAST, DONE)
    assert found.raw == TEXT
    assert found.passage.closing(Usage()) == DONE
    assert (found.passage.complete, found.passage.final, found.passage.failure) == (True, True, None)
    assert found.passage.usage == Usage(input=10, output=5)
    assert found.passage.delivered == len("Hello wörld".encode())
    assert (found.passage.upstream_id, found.passage.must_abort) == ("chatcmpl-1", False)


def test_usage_is_shown_to_those_who_asked_with_its_cost() -> None:
    found = chat(TEXT, LAST, DONE, usage_wanted=True)
    assert found.raw.startswith(TEXT)
    assert found.documents[-1]["usage"] == {**USAGE, "cost": COST}
    assert found.documents[-1]["choices"] == []


def test_the_cost_that_is_shown_is_never_above_the_hold() -> None:
    found = chat(TEXT, LAST, DONE, usage_wanted=True, hold=hold(cash=3))
    assert found.documents[-1]["usage"]["cost"] == "0.000000003"


def test_usage_on_the_last_choice_is_taken_off_it_or_priced() -> None:
    with_usage = chunk(delta(finish="stop", content="!"), usage=USAGE)
    quiet, asked = chat(with_usage, DONE), chat(with_usage, DONE, usage_wanted=True)
    assert quiet.documents == [{k: v for k, v in asked.documents[0].items() if k != "usage"}]
    assert quiet.documents[0]["choices"][0]["delta"] == {"content": "!"}
    assert asked.documents[0]["usage"]["cost"] == COST
    assert quiet.passage.usage == asked.passage.usage == Usage(input=10, output=5)
    assert quiet.passage.complete


def test_of_several_figures_the_last_ones_count() -> None:
    growing = [chunk(delta(content="x"), usage={**USAGE, "completion_tokens": n}) for n in (1, 2, 3)]
    assert chat(*growing, usage_wanted=True).passage.usage == Usage(input=10, output=3)


@pytest.mark.parametrize("nothing", [{}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": None}])
def test_figures_that_are_all_zero_are_none(nothing: dict[str, Any]) -> None:
    found = chat(TEXT, chunk(usage=nothing), DONE, usage_wanted=True)
    assert (found.passage.usage, found.passage.final, found.passage.complete) == (None, False, True)
    assert "cost" not in found.documents[-1]["usage"]
    after = chat(TEXT, LAST, chunk(usage=nothing), DONE)
    assert (after.passage.usage, after.passage.final) == (Usage(input=10, output=5), True)
    assert after.raw == TEXT


def test_a_usage_of_null_is_no_usage() -> None:
    piece = chunk(delta(content="x"), usage=None)
    assert chat(piece).raw == piece
    assert chat(piece).passage.usage is None


def test_an_answer_that_is_not_finished_is_not_complete() -> None:
    for end in (b"", DONE):
        found = chat(chunk(delta(content="Hello")), end)
        assert (found.passage.complete, found.passage.delivered) == (False, 5)


def test_an_answer_without_its_done_is_complete_once_it_is_finished() -> None:
    assert chat(TEXT).passage.complete


def test_nothing_at_all_is_not_complete() -> None:
    for raw in (b"", DONE, b": ping\n\n"):
        found = chat(raw)
        assert (found.passage.complete, found.passage.failure, found.raw) == (False, None, b"")


def test_every_choice_must_finish() -> None:
    one, again, two = chunk(delta(0, "stop")), chunk(delta(0, "stop")), chunk(delta(1, "length"))
    begun = chunk(delta(0, content="a"), delta(1, content="b"))
    assert not chat(begun, one, choices=2).passage.complete
    assert not chat(begun, one, again, choices=2).passage.complete
    assert not chat(begun, one, again, DONE, choices=2).passage.complete
    assert chat(begun, one, two, choices=2).passage.complete
    assert chat(begun, chunk(delta(0, "stop"), delta(1, "stop")), choices=2).passage.complete


def test_a_provider_that_knows_only_one_choice_is_taken_at_its_done() -> None:
    assert chat(TEXT, DONE, choices=2).passage.complete
    assert not chat(TEXT, choices=2).passage.complete


def test_the_answer_ends_at_done() -> None:
    found = chat(TEXT + DONE + chunk(delta(content="after the end")))
    assert found.raw == TEXT
    assert found.passage.stop_reading


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("network_error", errors.UpstreamFailed),
        ("insufficient_system_resource", errors.Overloaded),
        ("abort", errors.UpstreamFailed),
    ],
)
def test_s_network_error_finish_a_provider_s_word_for_a_break_is_a_failure(
    word: str, kind: type[errors.GatewayError]
) -> None:
    found = chat(chunk(delta(content="Hel")), chunk(delta(finish=word)), DONE)
    assert isinstance(found.passage.failure, kind)
    assert found.raw == chunk(delta(content="Hel"))
    assert not found.passage.complete


@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter", "sensitive", "eos"])
def test_any_other_word_is_an_end(finish: str) -> None:
    assert chat(chunk(delta(finish=finish))).passage.complete


def test_an_error_event_is_a_failure_with_its_meaning() -> None:
    broken = b'data: {"error":{"message":"It broke","type":"server_error"}}\n\n'
    found = chat(chunk(delta(content="Hel")), broken, DONE)
    assert found.passage.failure is not None
    assert found.passage.failure.message == "The provider broke off: It broke"
    assert found.passage.stop_reading
    overloaded = chat(b'data: {"error":{"code":"overloaded_error","message":"busy"}}\n\n')
    assert isinstance(overloaded.passage.failure, errors.Overloaded)


def test_the_model_has_the_name_that_was_asked_for() -> None:
    for name in ("deepseek-v3", "deepseek-v3-2026-05-28", "org/deepseek"):
        found = chat(chunk(delta(content="x"), model=name), chunk(model=name, usage=USAGE), usage_wanted=True)
        assert [document["model"] for document in found.documents] == ["deepseek-chat", "deepseek-chat"]


@pytest.mark.parametrize("escaped", [rb'"deepseek\/v3"', rb'"deepsee\u006b"'])
def test_a_name_is_found_however_it_is_written(escaped: bytes) -> None:
    raw = chunk(delta(content="x")).replace(b'"model":"deepseek-chat"', b'"model" : ' + escaped)
    assert chat(raw).documents[0]["model"] == "deepseek-chat"


def test_a_name_inside_the_answer_is_the_answer_s_own() -> None:
    arguments = json.dumps({"model": "deepseek-v3", "x": '"model":"deepseek-v3"'})
    calls = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    for said in ({"tool_calls": calls}, {"content": arguments}, {"model": "deepseek-v3"}):
        document = {"choices": [delta(**said)], "id": "1", "model": "deepseek-v3"}
        found = chat(b"data: " + json.dumps(document).encode() + b"\n\n")
        assert found.documents == [{**document, "model": "deepseek-chat"}]


def test_a_chunk_without_a_model_is_not_given_one() -> None:
    raw = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
    assert chat(raw).raw == raw


def test_numbers_and_order_stay_when_a_chunk_is_changed() -> None:
    raw = b'data: {"z":1.00,"model":"other","a":{"c":1e5,"b":12345678901234567890},"choices":[]}\n\n'
    assert chat(raw).raw == raw.replace(b"other", b"deepseek-chat")


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"content": "日本"}, 6),
        ({"reasoning_content": "hm"}, 2),
        ({"reasoning": "hm"}, 2),
        ({"refusal": "no"}, 2),
        ({"content": None, "reasoning_content": "hm"}, 2),
        ({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]}, 1),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a'}}]}, 3),
        ({"tool_calls": [{"index": 0, "function": {"arguments": {"a": 1}}}]}, len('{"a":1}')),
        ({"function_call": {"name": "f", "arguments": "{}"}}, 3),
        ({"tool_calls": None}, 0),
        ({"tool_calls": []}, 0),
        ({"role": "assistant"}, 0),
        ({"content": [{"type": "text", "text": "x"}]}, len('[{"type":"text","text":"x"}]')),
    ],
)
def test_what_was_delivered_is_counted_without_its_wrapping(said: dict[str, Any], size: int) -> None:
    """Where the provider gives no figures the caller pays by it."""
    assert chat(chunk(delta(**said))).passage.delivered == size


@pytest.mark.parametrize("identifier", [None, 17, "", "x" * 300, "a\u0000b", "a\nb", ["x"]])
def test_an_id_that_cannot_be_written_down_is_none(identifier: object) -> None:
    found = chat(chunk(delta(content="x"), id=identifier))
    assert (found.passage.upstream_id, found.passage.failure) == (None, None)
