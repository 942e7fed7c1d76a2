"""An openai_chat request as the anthropic_messages request that means the same. Pure."""

import hashlib
from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.names import Names
from services.router.convert.replay import Recall
from services.router.convert.terms import Converted, Terms
from services.router.convert.to_messages import cache, content, form, sampling, thinking, tools, turns, wire
from services.router.convert.to_messages.calls import LONGEST_NAME
from services.router.convert.to_messages.fields import Fields
from services.router.convert.to_messages.form import Form
from services.router.convert.to_messages.thinking import Settled
from services.router.convert.to_messages.tools import Toolset
from services.router.convert.to_messages.turns import History

Body = dict[str, Any]
CONTINUE: Final = "Continue."
TIERS: Final = {"auto": "auto", "default": "standard_only"}
HONOURED: Final = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "modalities"),
        *("temperature", "top_p", "top_k", "stop", "response_format", "user", "safety_identifier", "service_tier"),
        *("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
        *thinking.FIELDS,
    }
)
_any = msgspec.json.Decoder()
_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(list[str])


def convert(body: bytes, terms: Terms, recall: Recall) -> Converted:
    """Raises InvalidRequest for what is no openai_chat request, UnsupportedParameter for what has no counterpart."""
    fields, profile = Fields(body), terms.profile
    _refuse(fields)
    fields.drop_unless(HONOURED)
    toolset = tools.read(fields, profile)
    history = turns.read(_messages(fields), profile, recall)
    wished = thinking.wish(fields)
    settled = _settled(fields, wished, terms, toolset, history)
    shape = form.read(fields, profile)
    _end(history.messages, prefill=profile.prefill and not settled.on and shape.format is None)
    stops = sampling.stops(fields, profile)
    made = {
        **_plain(terms, history, shape, toolset),
        **_optional(fields, profile, settled, shape),
        **sampling.read(fields, profile, thinks=settled.on),
        **({"stop_sequences": list(stops)} if stops else {}),
    }
    cache.limit([*toolset.tools, *made.get("system", ()), *(b for m in history.messages for b in m["content"])])
    return Converted(
        body=_accepted(made, fields, profile),
        dropped=fields.dropped,
        names=Names(toolset.names, LONGEST_NAME),
        stops=stops,
        thinking_hidden=wished.on is False,
    )


def _refuse(fields: Fields) -> None:
    """What would change the answer so much that it may not be left out."""
    if fields.read("n", _any) not in (None, 1):
        raise UnsupportedParameter("This model gives one answer at a time: n must be 1.", param="n")
    if fields.read("logprobs", _any):
        raise UnsupportedParameter("This model gives no logprobs.", param="logprobs")
    if "audio" in (fields.read("modalities", _texts) or ()):
        raise UnsupportedParameter("This model does not speak.", param="modalities")
    for name in ("audio", "web_search_options"):
        if name in fields:
            raise UnsupportedParameter(f"This model has no {name}.", param=name)


def _messages(fields: Fields) -> list[wire.Message]:
    messages = fields.read("messages", wire.messages)
    if not messages:
        raise InvalidRequest("messages must not be empty.", param="messages")
    return messages


def _settled(fields: Fields, wished: thinking.Wish, terms: Terms, toolset: Toolset, history: History) -> Settled:
    """Anthropic refuses thinking with a forced tool; who forces one wants its call more."""
    profile = terms.profile
    forced = bool(toolset.tools) and toolset.choice not in profile.thinking_tool_choices
    hindered = forced or thinking.is_broken(history.steps, profile)
    settled = thinking.settle(wished, profile, terms.output_cap, hindered=hindered)
    if settled.given_up:
        fields.drop(*thinking.FIELDS)
    return settled


def _end(messages: list[Body], *, prefill: bool) -> None:
    """A last message of the assistant is continued by the provider, else on the user's word. Anthropic: "final
    assistant content cannot end with trailing whitespace"."""
    last = messages[-1]
    if last["role"] != "assistant":
        return
    if not prefill:
        messages.append({"role": "user", "content": content.text(CONTINUE)})
    elif last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()


def _plain(terms: Terms, history: History, shape: Form, toolset: Toolset) -> Body:
    system = [*history.system, *content.text(shape.sentence)]
    made: Body = {"model": terms.upstream_model, "max_tokens": terms.output_cap, "stream": terms.upstream_stream}
    if system:
        made["system"] = system
    made["messages"] = history.messages
    if toolset.tools:
        made["tools"] = toolset.tools
    if toolset.tool_choice is not None:
        made["tool_choice"] = toolset.tool_choice
    return made


def _optional(fields: Fields, profile: Profile, settled: Settled, shape: Form) -> Body:
    config = {"effort": settled.effort, "format": shape.format}
    found = {
        "thinking": settled.field,
        "output_config": {name: value for name, value in config.items() if value is not None} or None,
        "metadata": _metadata(fields, profile),
        "service_tier": _tier(fields),
    }
    return {name: value for name, value in found.items() if value is not None}


def _metadata(fields: Fields, profile: Profile) -> Body | None:
    """Hashed: who the caller's users are is not the provider's business."""
    user = fields.read("safety_identifier", _text) or fields.read("user", _text)
    if not user:
        return None
    if not profile.user_field:
        fields.drop("user", "safety_identifier")
        return None
    return {"user_id": hashlib.sha256(user.encode()).hexdigest()}


def _tier(fields: Fields) -> str | None:
    said = fields.read("service_tier", _text)
    if said is not None and said not in TIERS:
        fields.drop("service_tier")
    return TIERS.get(said or "")


def _accepted(made: Body, fields: Fields, profile: Profile) -> Body:
    for name in profile.drop_fields:
        if made.pop(name, None) is not None:
            fields.drop(name)
    return made
