"""The rules of anthropic_messages for messages: who speaks, and that every tool_use is answered in the next one."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.demo.provider import messages_blocks
from deploy.demo.provider.messages_blocks import Where
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import MessagesRules

Message = dict[str, Any]
_KEYS: Final = frozenset(("role", "content"))
_KEYS_OF_SYSTEM: Final = _KEYS | {"clear_at", "output_config"}


def check(messages: Sequence[Message], rules: MessagesRules, model: str, *, system_allowed: bool) -> None:
    """Raises Refusal."""
    if messages[0]["role"] != "user":
        raise Refusal(400, 'messages: first message must use the "user" role')
    known = {"user": rules.user_blocks, "assistant": rules.assistant_blocks, "system": ("text",)}
    for n, message in enumerate(messages):
        place, role = f"messages.{n}", message["role"]
        if role == "system" and not system_allowed:
            raise Refusal(400, f"{place}.role: Input should be 'user' or 'assistant'")
        for field in sorted(set(message) - (_KEYS_OF_SYSTEM if role == "system" else _KEYS)):
            raise Refusal(400, f"{place}.{field}: Extra inputs are not permitted")
        for at, block in enumerate(_blocks(message)):
            messages_blocks.check(block, Where(f"{place}.content.{at}", known[role], rules, model))
    for n, message in enumerate(messages):
        _check_answered(n, message, messages[n + 1] if n + 1 < len(messages) else None)
        _check_results(n, message, messages[n - 1] if n else None)
    _check_last(messages[-1])


def check_leading_thinking(messages: Sequence[Message]) -> None:
    """While thinking is enabled, the turn whose tools have just answered must begin with thinking."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    blocks = _blocks(messages[last]) if last >= 0 else []
    if not any(block["type"] == "tool_use" for block in blocks):
        return
    if (found := blocks[0]["type"]) not in ("thinking", "redacted_thinking"):
        told = f"Expected `thinking` or `redacted_thinking`, but found `{found}`"
        why = "When `thinking` is enabled, a final `assistant` message must start with a thinking block."
        raise Refusal(400, f"messages.{last}.content.0.type: {told}. {why}")


def _blocks(message: Message) -> list[dict[str, Any]]:
    return message["content"] if isinstance(message["content"], list) else []


def _ids(message: Message | None, kind: str, field: str) -> list[str]:
    return [block[field] for block in _blocks(message) if block["type"] == kind] if message is not None else []


def _check_answered(n: int, message: Message, following: Message | None) -> None:
    """The next message must open with the results; what stands before them makes them none."""
    wanted = _ids(message, "tool_use", "id")
    if len(set(wanted)) < len(wanted):
        raise Refusal(400, f"messages.{n}: `tool_use` ids must be unique")
    answers: list[str] = []
    for block in _blocks(following) if following is not None and wanted else ():
        if block["type"] != "tool_result":
            break
        answers.append(block["tool_use_id"])
    if missing := [call_id for call_id in wanted if call_id not in answers]:
        told = f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}"
        rule = "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        raise Refusal(400, f"messages.{n}: {told}. {rule}")


def _check_results(n: int, message: Message, before: Message | None) -> None:
    wanted, seen = _ids(before, "tool_use", "id"), set[str]()
    for at, block in enumerate(_blocks(message)):
        if block["type"] != "tool_result":
            continue
        call_id = block["tool_use_id"]
        if call_id not in wanted:
            told = f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id}"
            rule = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            raise Refusal(400, f"messages.{n}.content.{at}: {told}. {rule}")
        if call_id in seen:
            told = f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {call_id}"
            raise Refusal(400, f"messages.{n}.content.{at}: {told}")
        seen.add(call_id)


def _check_last(message: Message) -> None:
    """What an answer would be continued from."""
    blocks = _blocks(message)
    text = message["content"] if isinstance(message["content"], str) else blocks[-1].get("text", "")
    if message["role"] == "assistant" and isinstance(text, str) and text != text.rstrip():
        raise Refusal(400, "messages: final assistant content cannot end with trailing whitespace")
