"""What a profile changes in the body of a caller who speaks the provider's own protocol."""

import json
from typing import Any

import pytest

from libs.contracts.profile import Profile
from libs.errors import GatewayError
from libs.protocols import ANTHROPIC_MESSAGES
from services.router import rewrite
from services.router.convert import marks
from tests.fixtures.samples import offer, order

OURS = marks.mark(b"secret", "a thought")
REAL = "EqQBCgIYAhIM"
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(body: dict[str, Any], *, stream: bool = False, **profile: Any) -> dict[str, Any]:
    return sent({"messages": [{"role": "user", "content": "hi"}], **body}, stream=stream, profile=Profile(**profile))[0]


def messages(body: dict[str, Any], **profile: Any) -> dict[str, Any]:
    whole = {"messages": [{"role": "user", "content": "hi"}], **body}
    return sent(whole, protocol=ANTHROPIC_MESSAGES, profile=Profile(**profile))[0]


def sent(
    body: dict[str, Any], *, stream: bool = False, profile: Profile, **changes: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    asked = order(stream=False, **changes)
    made, dropped = rewrite.request(
        json.dumps({"model": "m", **body}).encode(),
        asked,
        offer(protocol=asked.protocol, profile=profile),
        stream=stream,
    )
    return json.loads(made), dropped


def turns(*said: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def test_the_developer_role_becomes_system_where_it_is_not_known() -> None:
    body = turns(("developer", "rules"), ("user", "hi"))
    assert [turn["role"] for turn in chat(body)["messages"]] == ["system", "user"]
    assert [turn["role"] for turn in chat(body, developer_role=True)["messages"]] == ["developer", "user"]


def test_text_parts_become_one_string_where_content_must_be_one() -> None:
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    picture = [*texts, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    body = turns(("user", texts), ("user", picture))
    assert [turn["content"] for turn in chat(body, string_content=True)["messages"]] == ["a\n\nb", picture]
    assert chat(body)["messages"] == body["messages"]


def test_a_turn_with_calls_gets_the_reasoning_that_its_client_never_sends() -> None:
    """DeepSeek answers 400 without the field, also when it is empty; OpenAI's SDKs do not know it."""
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    body = {"messages": [calls, {**calls, "reasoning": "why"}, {**calls, "reasoning_content": "kept"}]}
    found = chat(body, reasoning_replay="tool_turns")["messages"]
    assert [turn["reasoning_content"] for turn in found] == ["", "why", "kept"]
    assert chat(body)["messages"] == body["messages"]


def test_a_plain_request_is_made_as_a_stream_where_the_provider_only_streams() -> None:
    found = chat({}, stream=True)
    assert (found["stream"], found["stream_options"]) == (True, {"include_usage": True})


def test_arguments_are_streamed_only_when_told_to() -> None:
    body = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    assert chat(body, stream=True, tool_stream=True)["tool_stream"] is True
    assert "tool_stream" not in chat(body, tool_stream=True)
    assert "tool_stream" not in chat({"tools": []}, stream=True, tool_stream=True)


@pytest.mark.parametrize(
    ("style", "switch"),
    [("deepseek", {"thinking": {"type": "disabled"}}), ("qwen", {"enable_thinking": False}), ("none", {})],
)
def test_silence_switches_thinking_off_where_the_model_is_sold_so(style: str, switch: dict[str, Any]) -> None:
    plain = chat({}).keys()
    found = chat({}, thinking=style, thinking_when_absent="off")
    assert {name: found[name] for name in found.keys() - plain} == switch
    asked = chat({"reasoning_effort": "high"}, thinking=style, thinking_when_absent="off")
    assert asked.keys() - plain == {"reasoning_effort"}
    assert "thinking" not in messages({}, thinking="budget")
    assert messages({}, thinking="budget", thinking_when_absent="off")["thinking"] == {"type": "disabled"}


def test_tools_that_the_provider_runs_never_slip_through_beside_others() -> None:
    own = {"name": "f", "input_schema": {"type": "object"}}
    body = {**turns(("user", "hi")), "tools": [{"type": "web_search_20250305", "name": "web_search"}, own]}
    found, dropped = sent(body, protocol=ANTHROPIC_MESSAGES, profile=Profile())
    assert found["tools"] == [own]
    assert dropped == ("tools.web_search_20250305",)


def test_fields_that_a_host_refuses_are_left_out_and_named() -> None:
    body = {**turns(("user", "hi")), "context_management": {"edits": []}, "metadata": {}}
    found, dropped = sent(body, protocol=ANTHROPIC_MESSAGES, profile=Profile(drop_fields=("context_management",)))
    assert "context_management" not in found
    assert found["metadata"] == {}
    assert dropped == ("context_management",)


def test_the_billing_block_goes_only_where_it_is_wanted() -> None:
    blocks = [{"type": "text", "text": "x-anthropic-billing-header: cc=1"}, {"type": "text", "text": "rules"}]
    assert messages({"system": blocks})["system"] == blocks[1:]
    assert messages({"system": blocks}, billing_header=True)["system"] == blocks
    assert "system" not in messages({"system": blocks[:1]})


def test_a_later_system_message_becomes_a_reminder_after_the_results() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
    body = turns(("user", "hi"), ("system", "be brief"), ("assistant", "ok"), ("user", [result]), ("system", "now"))
    found = messages(body)["messages"]
    assert [turn["role"] for turn in found] == ["user", "assistant", "user"]
    assert found[0]["content"] == [
        {"type": "text", "text": "hi"},
        {"type": "text", "text": "<system-reminder>\nbe brief\n</system-reminder>"},
    ]
    assert found[2]["content"] == [
        result,
        {"type": "text", "text": "<system-reminder>\nnow\n</system-reminder>"},
    ]
    assert messages(body, mid_system="keep")["messages"] == body["messages"]


def test_a_system_message_after_the_assistant_gets_a_turn_of_its_own() -> None:
    found = messages(turns(("user", "hi"), ("assistant", "ok"), ("system", [{"type": "text", "text": "now"}])))
    assert [turn["role"] for turn in found["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("signature", ["", OURS, None])
def test_thinking_that_the_provider_did_not_sign_is_left_out_where_it_looks(signature: str | None) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": signature}
    answer = [thought, {"type": "text", "text": "yes"}]
    body = turns(("user", "hi"), ("assistant", answer), ("user", "and?"))
    assert messages(body, unsigned_thinking=False)["messages"][1]["content"] == answer[1:]
    assert messages(body)["messages"] == body["messages"]


def test_signed_thinking_passes_byte_for_byte() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": REAL}
    body = turns(("user", "hi"), ("assistant", [thought, {"type": "text", "text": "yes"}]), ("user", "and?"))
    assert messages(body, unsigned_thinking=False)["messages"] == body["messages"]


def test_thinking_is_off_for_the_turn_that_lost_its_own_and_waits_for_results() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": OURS}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
    clear = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    body = {
        **turns(("user", "hi"), ("assistant", [thought, call]), ("user", [result])),
        "thinking": {"type": "adaptive"},
        "context_management": clear,
    }
    found = messages(body, unsigned_thinking=False)
    assert found["messages"][1]["content"] == [call]
    assert "thinking" not in found
    assert "context_management" not in found
    assert messages(body)["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize("broken", [{"messages": [1]}, {"messages": {}}, {"tools": [1]}, {"tools": {"a": 1}}])
@pytest.mark.parametrize("protocol", ["openai_chat", "anthropic_messages"])
def test_a_body_of_the_wrong_shape_is_the_caller_s_mistake(broken: dict[str, Any], protocol: str) -> None:
    strict = Profile(string_content=True, reasoning_replay="all", unsigned_thinking=False)
    with pytest.raises(GatewayError) as caught:
        sent({**turns(("user", "hi")), **broken}, protocol=protocol, profile=strict)
    assert caught.value.status == 400


def test_only_calls_under_way_go_on_without_thinking_when_the_model_was_changed() -> None:
    """What was lost in an earlier turn does not switch thinking off; else the next tool loop could not be sent back."""
    theirs = {"type": "thinking", "thinking": "hm", "signature": OURS}
    own = {"type": "thinking", "thinking": "hm", "signature": REAL}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
    thinking = {"type": "enabled", "budget_tokens": 900}
    before = (("user", "hi"), ("assistant", [theirs, {"type": "text", "text": "yes"}]), ("user", "go on"))
    assert "thinking" in messages({**turns(*before), "thinking": thinking}, unsigned_thinking=False)
    loop = turns(*before, ("assistant", [own, call]), ("user", [result]))
    assert "thinking" in messages({**loop, "thinking": thinking}, unsigned_thinking=False)
    bare = turns(*before, ("assistant", [call]), ("user", [result]))
    assert "thinking" not in messages({**bare, "thinking": thinking}, unsigned_thinking=False)
    assert "thinking" in messages({**bare, "thinking": {"type": "adaptive"}}, unsigned_thinking=False)


def test_a_thinking_budget_fits_into_the_cap_that_was_held_for() -> None:
    """The order's cap is 1000: there is no room for Anthropic's least budget beside an answer."""
    asked = {"thinking": {"type": "enabled", "budget_tokens": 30_000}, **turns(("user", "hi"))}
    found, _ = sent(asked, protocol=ANTHROPIC_MESSAGES, profile=Profile(), output_cap=1000)
    assert found["thinking"] == {"type": "disabled"}
    found, _ = sent(asked, protocol=ANTHROPIC_MESSAGES, profile=Profile(), output_cap=8000)
    assert found["thinking"] == {"type": "enabled", "budget_tokens": 6000}
    assert chat({"thinking_budget": 30_000})["thinking_budget"] == 1000


def test_what_changes_a_provider_s_price_is_left_out_and_named() -> None:
    asked = {**turns(("user", "hi")), "service_tier": "priority", "speed": "fast", "inference_geo": "us"}
    found, dropped = sent(asked, protocol=ANTHROPIC_MESSAGES, profile=Profile())
    assert found.keys().isdisjoint({"service_tier", "speed", "inference_geo"})
    assert dropped == ("service_tier", "speed", "inference_geo")
