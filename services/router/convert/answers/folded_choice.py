"""One choice of an openai_chat stream, put together again. Pure."""

from typing import Any, Final

from services.router.convert.answers.call_blocks import digest
from services.router.convert.answers.calls import Call, Calls, Fragment
from services.router.convert.answers.said import text
from services.router.convert.surrogates import mended

Json = dict[str, Any]
TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")
OF_A_MESSAGE: Final = frozenset({*TEXTS, "role", "tool_calls", "function_call"})
OF_A_CHOICE: Final = frozenset({"index", "delta", "message", "logprobs", "finish_reason"})
OF_A_CALL: Final = frozenset({"index", "id", "type", "function"})


class FoldedChoice:
    """Deltas in, a choice with its message out."""

    def __init__(self) -> None:
        self._role = "assistant"
        self._texts: dict[str, list[str]] = {name: [] for name in TEXTS}
        self._spoke = False
        self._calls, self._function = Calls(), Calls()
        self._of_calls: dict[int, Json] = {}
        self._of_message: Json = {}
        self._of_choice: Json = {}
        self._logprobs: Json = {}
        self._finish: str | None = None

    def take(self, choice: Json) -> None:
        """Most providers say `delta`; one that has the whole answer at once may say `message`."""
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            self._hear(delta)
        if isinstance(logprobs := choice.get("logprobs"), dict):
            _gather(self._logprobs, logprobs)
        finish = choice.get("finish_reason")
        self._finish = finish if isinstance(finish, str) and finish else self._finish
        _gather(self._of_choice, choice, but=OF_A_CHOICE)

    def told(self, index: int, *, seed: str) -> Json:
        """``seed`` is what ids are made from, for calls that never got one."""
        return {
            "index": index,
            "message": self._message(f"{seed}:{index}"),
            "logprobs": self._logprobs or None,
            "finish_reason": self._finish,
            **self._of_choice,
        }

    def _hear(self, delta: Json) -> None:
        if isinstance(role := delta.get("role"), str) and role:
            self._role = role
        for name, pieces in self._texts.items():
            pieces.append(text(delta.get(name)))
        self._spoke = self._spoke or delta.get("content") is not None
        _gather(self._of_message, delta, but=OF_A_MESSAGE)
        if isinstance(calls := delta.get("tool_calls"), list):
            self._hear_calls([call for call in calls if isinstance(call, dict)])
        if isinstance(function := delta.get("function_call"), dict):
            fragment = {"index": 0, "function": function}
            self._function.of(fragment).hear(fragment)

    def _hear_calls(self, fragments: list[Fragment]) -> None:
        for fragment in fragments:
            call = self._calls.of(fragment)
            call.hear(fragment)
            _gather(self._of_calls.setdefault(call.order, {}), fragment, but=OF_A_CALL)

    def _message(self, seed: str) -> Json:
        """Content is null where the calls or a refusal are all there is."""
        said = {name: mended("".join(pieces)) for name, pieces in self._texts.items()}
        calls = [self._call(call, seed) for call in self._calls.all if call.name]
        functions = [_function(call) for call in self._function.all if call.name]
        silent = bool(calls or functions or said["refusal"]) or not self._spoke
        message: Json = {"role": self._role, "content": said.pop("content") or (None if silent else "")}
        message["refusal"] = said.pop("refusal") or None
        message.update({name: value for name, value in said.items() if value})
        message.update(self._of_message)
        if calls:
            message["tool_calls"] = calls
        return {**message, "function_call": functions[0]} if functions else message

    def _call(self, call: Call, seed: str) -> Json:
        made = mended(call.id) or f"call_{digest(f'{seed}:{call.order}')}"
        return {"id": made, "type": "function", "function": _function(call), **self._of_calls.get(call.order, {})}


def is_empty(value: Any) -> bool:
    """Says nothing. Zero and false say something."""
    return value is None or value in ("", [], {})


def _function(call: Call) -> Json:
    return {"name": mended(call.name), "arguments": mended("".join(call.pieces))}


def _gather(known: Json, said: Json, but: frozenset[str] = frozenset()) -> None:
    """Lists go on, of anything else the last word counts."""
    for name, value in said.items():
        if name in but or is_empty(value):
            continue
        before = known.get(name)
        known[name] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
