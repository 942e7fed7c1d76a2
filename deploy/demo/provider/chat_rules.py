"""The rules of openai_chat for a request's fields: which there are, and which values they take together."""

from collections.abc import Mapping
from typing import Any

import msgspec

from deploy.demo.provider import chat_tools, chat_turns
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ChatRules, fits

Request = Mapping[str, Any]


def check(request: Request, rules: ChatRules) -> None:
    """``request`` has the types of ChatRequest already. Raises Refusal."""
    for field in rules.refused:
        if field in request:
            raise Refusal(400, rules.say("field", field=field), param=field)
    thinking = thinks(request, rules)
    _check_sampling(request, rules)
    _check_thinking(request, rules)
    _check_streaming(request, rules, thinking=thinking)
    _check_format(request, rules)
    chat_tools.check(request, rules, thinking=thinking)
    chat_turns.check(request["messages"], request["model"], rules, thinking=thinking)


def thinks(request: Request, rules: ChatRules) -> bool:
    """Whether the model would think: because it always does, is told to, or does so unasked."""
    model = request["model"]
    if fits(rules.always_thinks, model):
        return True
    if rules.switch == "qwen" and request.get("enable_thinking") is not None:
        return bool(request["enable_thinking"])
    if rules.switch in ("deepseek", "glm") and request.get("thinking") is not None:
        return bool(request["thinking"]["type"] == "enabled")
    if rules.switch == "effort" and request.get("reasoning_effort") is not None:
        return bool(request["reasoning_effort"] != "none")
    return fits(rules.thinks, model)


def _check_sampling(request: Request, rules: ChatRules) -> None:
    stops = request.get("stop")
    stops = [stops] if isinstance(stops, str) else stops or []
    if len(stops) > rules.max_stop:
        raise Refusal(400, f"At most {rules.max_stop} stop sequences are allowed.", param="stop")
    if "" in stops:
        raise Refusal(400, "Invalid 'stop': a stop sequence must not be empty.", param="stop")
    for field in ("temperature", "top_p") if rules.open_interval else ():
        value = request.get(field)
        if value is not None and not 0 < value < 1:
            raise Refusal(400, rules.say("temperature", field=field), param=field)
    if request.get("max_tokens") is not None and request.get("max_completion_tokens") is not None:
        both = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise Refusal(400, both, param="max_tokens")


def _check_thinking(request: Request, rules: ChatRules) -> None:
    effort = request.get("reasoning_effort")
    if effort is not None and effort not in rules.efforts:
        known = ", ".join(f"'{word}'" for word in rules.efforts)
        raise Refusal(400, f"Invalid value: '{effort}'. Supported values are: {known}.", param="reasoning_effort")
    switch = request.get("thinking") or {}
    if extra := set(switch) - {"type", *(["clear_thinking"] if rules.switch == "glm" else [])}:
        raise Refusal(400, rules.say("field", field=f"thinking.{min(extra)}"), param="thinking")
    budget = request.get("thinking_budget")
    if budget is not None and not 0 < budget <= rules.budget_cap:
        told = f"The thinking_budget parameter must be a positive integer and not greater than {rules.budget_cap}"
        raise Refusal(400, told, param="thinking_budget")
    if fits(rules.always_thinks, request["model"]) and request.get("enable_thinking") is False:
        told = "The value of the enable_thinking parameter is restricted to True."
        raise Refusal(400, told, param="enable_thinking")


def _check_streaming(request: Request, rules: ChatRules, *, thinking: bool) -> None:
    if request.get("stream"):
        return
    if fits(rules.stream_only, request["model"]):
        told = "This model only support stream mode, please enable the stream parameter to access the model."
        raise Refusal(400, told, param="stream")
    if rules.streams_thinking and thinking:
        told = "parameter.enable_thinking must be set to false for non-streaming calls"
        raise Refusal(400, told, param="enable_thinking")


def _check_format(request: Request, rules: ChatRules) -> None:
    wanted = request.get("response_format")
    if wanted is None:
        return
    if wanted["type"] not in rules.formats:
        raise Refusal(400, rules.say("format", format=wanted["type"]), param="response_format")
    if wanted["type"] == "json_object" and rules.says_json and not _says_json(request["messages"]):
        told = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        raise Refusal(400, told, param="messages")
    if wanted["type"] == "json_schema" and not _is_named_schema(wanted.get("json_schema")):
        told = "Missing required parameter: 'response_format.json_schema' with its name and schema."
        raise Refusal(400, told, param="response_format")


def _says_json(messages: Any) -> bool:
    return b"json" in msgspec.json.encode([message.get("content") for message in messages]).lower()


def _is_named_schema(named: Any) -> bool:
    if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
        return False
    return chat_tools.is_name(named.get("name"))
