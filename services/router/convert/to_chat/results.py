"""Tool results: the `tool` messages right behind the turn that called, and what they cannot hold. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from services.router.convert.to_chat import content, wire
from services.router.convert.to_chat.content import Part
from services.router.convert.to_chat.wire import Block

EMPTY: Final = "(no output)"
INTERRUPTED: Final = "(no result: the call was interrupted)"
ERROR: Final = "Error"
KINDS: Final = {"image_url": "image", "file": "document"}


class Result(msgspec.Struct):
    """``beside`` are the parts that a tool message cannot hold: openai_chat gives it text only."""

    text: str
    beside: list[Part]
    marked: bool = False


Calls = Mapping[str, dict[str, Any]]
Results = Mapping[str, Result]


def result(block: Block, profile: Profile) -> Result:
    """One tool_result block."""
    lines: list[str] = []
    beside: list[Part] = []
    for part in _parts(block, profile):
        kind = KINDS.get(part["type"])
        lines.append(f"[{kind} attached in the next user message]" if kind else part["text"])
        if kind:
            beside.append(part)
    return Result(_worded("\n".join(lines), block.is_error), beside, content.marks(block.cache_control, profile))


def _parts(block: Block, profile: Profile) -> Iterable[Part]:
    if not wire.given(block.content):
        return
    for inner, raw in wire.blocks(wire.read(wire.content, block.content, "messages"), "messages"):
        for part in content.parts(inner, raw, profile):
            part.pop("cache_control", None)
            yield part


def _worded(text: str, is_error: Any) -> str:
    """openai_chat has no flag for a failed call, so the text says it, once."""
    text = text or EMPTY
    return f"{ERROR}: {text}" if is_error is True and not text.startswith(ERROR) else text


def answers(calls: Calls, found: Results) -> list[dict[str, Any]]:
    """One message per call, in call order, whatever order the results came in. A call without a result gets one,
    because providers refuse a history that lacks it."""
    said = [_answer(call["id"], found.get(call_id)) for call_id, call in calls.items()]
    if any(answer.marked for answer in found.values()):
        _mark(said[-1])
    return said


def _answer(sent_id: str, answer: Result | None) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": sent_id, "content": answer.text if answer else INTERRUPTED}


def _mark(message: dict[str, Any]) -> None:
    """A cache mark means all that comes before it, so it stands on the last of the results."""
    message["content"] = [{"type": "text", "text": message["content"], "cache_control": content.MARK}]


def attached(calls: Calls, found: Results) -> list[Part]:
    """What stands beside the results, for the user message that follows them."""
    parts: list[Part] = []
    for call_id, call in calls.items():
        if call_id in found and (beside := found[call_id].beside):
            kind = KINDS[beside[0]["type"]]
            parts += [*content.text(f"Attached {kind}(s) from tool result {call['id']}:"), *beside]
    return parts


def orphan(call_id: str, answer: Result) -> list[Part]:
    """A result that no call asks for: the user says it."""
    return [*content.text(f"Tool result ({call_id}): {answer.text}"), *answer.beside]
