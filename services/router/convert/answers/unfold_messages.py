"""A plain anthropic_messages answer as the events that a stream of it would have had. Pure."""

from typing import Any, Final

from libs.errors import UpstreamFailed
from services.router.convert.answers.inputs import arguments_of

Json = dict[str, Any]
NO_ANSWER: Final = "The provider sent something that is no answer."
AT_THE_END: Final = ("stop_reason", "stop_sequence", "stop_details", "container")


def unfold(message: Json) -> list[Json]:
    """Raises UpstreamFailed where there is no list of content, or content that is nested too deeply."""
    blocks = _content(message)
    events = [_start(message)]
    for index, block in enumerate(blocks):
        events += _events(index, block)
    last = {name: message[name] for name in AT_THE_END if name in message}
    return [*events, {"type": "message_delta", "delta": last, "usage": _usage(message)}, {"type": "message_stop"}]


def _content(message: Json) -> list[Json]:
    """An empty answer may say null for its content; an answer of another kind has none at all."""
    content = message.get("content", "")
    if content is None:
        return []
    if not isinstance(content, list):
        raise UpstreamFailed(NO_ANSWER)
    return [block for block in content if isinstance(block, dict)]


def _start(message: Json) -> Json:
    """As a stream begins: everything but the content and how it ended."""
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(message)}
    begun.pop("stop_details", None)
    return {"type": "message_start", "message": begun}


def _usage(message: Json) -> Json | None:
    usage = message.get("usage")
    return usage if isinstance(usage, dict) else None


def _events(index: int, block: Json) -> list[Json]:
    opened, deltas = _parts(block)
    return [
        {"type": "content_block_start", "index": index, "content_block": opened},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _parts(block: Json) -> tuple[Json, list[Json]]:
    """The block as it opens, and what is then added. A block of no known kind comes whole."""
    match block.get("type"):
        case "text":
            return {**block, "text": ""}, _added("text_delta", "text", block.get("text"))
        case "thinking":
            thinking = _added("thinking_delta", "thinking", block.get("thinking"))
            signature = _added("signature_delta", "signature", block.get("signature"))
            return {**block, "thinking": "", "signature": ""}, thinking + signature
        case "tool_use":
            return {**block, "input": {}}, _added("input_json_delta", "partial_json", arguments_of(block.get("input")))
    return block, []


def _added(kind: str, name: str, value: Any) -> list[Json]:
    return [{"type": kind, name: value}] if isinstance(value, str) and value else []
