"""A plain openai_chat completion as the chunks that a stream of it would have had. Pure."""

from typing import Any, Final

from libs.errors import UpstreamFailed

Json = dict[str, Any]
NO_ANSWER: Final = "The provider sent something that is no answer."
REASONING: Final = ("reasoning_content", "reasoning", "reasoning_details")  # the same thing, said together
IN_ORDER: Final = (REASONING, ("content",), ("refusal",), ("tool_calls",))
KNOWN: Final = frozenset(name for names in IN_ORDER for name in names)
NOTHING: Final[tuple[Any, ...]] = (None, "", [])


def unfold(completion: Json) -> list[Json]:
    """All choices, then the usage on a chunk without one. Raises UpstreamFailed where there are no choices."""
    choices = completion.get("choices")
    if not isinstance(choices, list) or not any(isinstance(choice, dict) for choice in choices):
        raise UpstreamFailed(NO_ANSWER)
    head = {**completion, "object": "chat.completion.chunk", "choices": []}
    usage = head.pop("usage", None)
    told = [
        {**head, "choices": [part]}
        for position, choice in enumerate(choices)
        if isinstance(choice, dict)
        for part in _parts(choice, position)
    ]
    return [*told, {**head, "usage": usage}] if isinstance(usage, dict) else told


def _parts(choice: Json, position: int) -> list[Json]:
    """One choice in the order in which it would have been said; what is not known comes with the role."""
    message = choice.get("message") or choice.get("delta")
    message = message if isinstance(message, dict) else {}
    role = {"role": "assistant", "content": "", **{name: message[name] for name in message if name not in KNOWN}}
    index = choice.get("index")
    plain = {"index": index if type(index) is int else position, "finish_reason": None}
    deltas = [{**plain, "delta": delta} for delta in (role, *_said(message))]
    return [*deltas, _ended(choice, plain)]


def _said(message: Json) -> list[Json]:
    said = [{name: message[name] for name in names if message.get(name) not in NOTHING} for names in IN_ORDER]
    for delta in said:
        if isinstance(calls := delta.get("tool_calls"), list):
            delta["tool_calls"] = [_numbered(call, number) for number, call in enumerate(calls)]
    return [delta for delta in said if delta]


def _ended(choice: Json, plain: Json) -> Json:
    """Its last chunk, with whatever else the choice says."""
    others = {name: choice[name] for name in choice if name not in ("message", "delta")}
    return {**others, **plain, "delta": {}, "finish_reason": _finish(choice)}


def _finish(choice: Json) -> str:
    """A plain answer is whole, whatever it says of its end; a stream must say something."""
    finish, message = choice.get("finish_reason"), choice.get("message")
    if isinstance(finish, str) and finish:
        return finish
    return "tool_calls" if isinstance(message, dict) and message.get("tool_calls") else "stop"


def _numbered(call: Any, number: int) -> Any:
    """In a plain answer a call's place is its index."""
    return {**call, "index": number} if isinstance(call, dict) else call
