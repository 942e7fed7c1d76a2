"""The rules of anthropic_messages for a request's fields: which there are, and which values they take together."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deploy.demo.provider import messages_tools, messages_turns
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ONLY_CHAT, MessagesRules, fits

Request = Mapping[str, Any]
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_MARKS: Final = 4
_LEAST_BUDGET: Final = 1024
_INTERLEAVED: Final = "interleaved-thinking-2025-05-14"


def betas_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values of `anthropic-beta`."""
    return tuple(beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip())


def check(request: Request, headers: Mapping[str, str], rules: MessagesRules) -> None:
    """``request`` has the types of MessagesRequest already; header names are lower case. Raises Refusal."""
    betas = betas_of(headers)
    if any(fits(rules.bad_betas, beta) for beta in betas):
        raise Refusal(400, "invalid beta flag")
    _check_known(request, rules)
    _check_sampling(request, headers.get("anthropic-version", ""), rules)
    _check_thinking(request, betas)
    _check_system(request.get("system"))
    messages_tools.check(request, rules)
    allowed = rules.system_beta is not None and rules.system_beta in betas
    messages_turns.check(request["messages"], rules, request["model"], system_allowed=allowed)
    if rules.leading_thinking and _thinking_of(request) == "enabled":
        messages_turns.check_leading_thinking(request["messages"])
    if (marks := sum(_marks(request))) > _MARKS:
        raise Refusal(400, f"A maximum of {_MARKS} blocks with cache_control may be provided. Found {marks}.")


def _check_known(request: Request, rules: MessagesRules) -> None:
    for field in request:
        if field in ONLY_CHAT or (rules.known is not None and field not in rules.known):
            raise Refusal(400, f"{field}: Extra inputs are not permitted")
    for field in request.get("metadata") or {}:
        if field != "user_id" and rules.known is not None:
            raise Refusal(400, f"metadata.{field}: Extra inputs are not permitted")
    if request.get("thread") is not None and not rules.thread:
        details = {"error_code": "thread_unsupported_request"}
        raise Refusal(400, "thread: not supported by this model", details=details)
    config = request.get("output_config") or {}
    if config.get("effort") is not None and config["effort"] not in _EFFORTS:
        raise Refusal(400, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")


def _check_sampling(request: Request, version: str, rules: MessagesRules) -> None:
    given = [field for field in _SAMPLING if request.get(field) is not None]
    if given and rules.no_sampling_since is not None and version >= rules.no_sampling_since and version[:1] == "2":
        raise Refusal(400, f"{given[0]}: Extra inputs are not permitted")
    if {"temperature", "top_p"} <= set(given) and fits(rules.one_sampling, request["model"]):
        raise Refusal(400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    for n, stop in enumerate(request.get("stop_sequences") or ()):
        if not stop.strip():
            raise Refusal(400, f"stop_sequences.{n}: each stop sequence must contain non-whitespace")


def _thinking_of(request: Request) -> str:
    return str((request.get("thinking") or {}).get("type", "disabled"))


def _check_thinking(request: Request, betas: tuple[str, ...]) -> None:
    thinking = request.get("thinking")
    if thinking is None or thinking["type"] == "disabled":
        return
    if thinking["type"] == "enabled":
        _check_budget(thinking.get("budget_tokens"), request.get("max_tokens"), betas)
    if request.get("temperature") not in (None, 1):
        raise Refusal(400, "`temperature` may only be set to 1 when thinking is enabled.")
    if request.get("top_k") is not None:
        raise Refusal(400, "`top_k` must be unset when thinking is enabled.")
    if (request.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise Refusal(400, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_budget(budget: int | None, cap: int | None, betas: tuple[str, ...]) -> None:
    """With interleaved thinking the budget is for the whole turn and may exceed max_tokens."""
    if budget is None:
        raise Refusal(400, "thinking.enabled.budget_tokens: Field required")
    if budget < _LEAST_BUDGET:
        told = f"Input should be greater than or equal to {_LEAST_BUDGET}"
        raise Refusal(400, f"thinking.enabled.budget_tokens: {told}")
    if cap is not None and budget >= cap and _INTERLEAVED not in betas:
        raise Refusal(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_system(system: Any) -> None:
    for n, block in enumerate(system if isinstance(system, list) else ()):
        if block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise Refusal(400, f"system.{n}.type: Input should be 'text'")
        if not block["text"].strip():
            raise Refusal(400, "system: text content blocks must contain non-whitespace text")


def _marks(request: Request) -> Iterator[bool]:
    """Every cache_control in the request."""
    yield request.get("cache_control") is not None
    holders = [*(request.get("tools") or ()), *_blocks(request.get("system"))]
    for message in request["messages"]:
        for block in _blocks(message["content"]):
            holders += [block, *_blocks(block.get("content"))]
    yield from (holder.get("cache_control") is not None for holder in holders)


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
