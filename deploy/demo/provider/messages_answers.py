"""An answer in the anthropic_messages protocol: as one body, or as events."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from deploy.demo.provider.answers import Answer, Block, Choice
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.cues import Cues
from deploy.demo.provider.frames import Frame, Stamp, frame
from deploy.demo.provider.signatures import signature_of
from libs.pricing import Usage

_STOP: Final = {"stop": "end_turn", "stop_sequence": "stop_sequence", "length": "max_tokens", "tools": "tool_use"}


def body(ask: Ask, cues: Cues, answer: Answer, stamp: Stamp) -> bytes:
    """The whole message."""
    choice = answer.choices[0]
    document = _message(ask, stamp)
    document["content"] = [_whole(block, place, stamp) for place, block in enumerate(choice.blocks)]
    document |= _end(choice, cues)
    if cues.report != "never":
        document["usage"] = _input(answer.usage) | _output(answer.usage) | {"service_tier": "standard"}
    return msgspec.json.encode(document)


def stream(ask: Ask, cues: Cues, answer: Answer, stamp: Stamp) -> list[Frame]:
    """Events. The first tells the input figures, the last but one repeats them with the final output."""
    frames = list(_events(ask, cues, answer, stamp))
    return frames if cues.events == "on" else [_unnamed(frame) for frame in frames]


def _events(ask: Ask, cues: Cues, answer: Answer, stamp: Stamp) -> Iterator[Frame]:
    choice, reports = answer.choices[0], cues.report != "never"
    usage = {"usage": _input(answer.usage) | {"output_tokens": 1, "service_tier": "standard"}} if reports else {}
    yield _event("message_start", message=_message(ask, stamp) | usage)
    yield _event("ping")
    for place, block in enumerate(choice.blocks):
        yield from _block(block, place, stamp)
    final = {"usage": _input(answer.usage) | _output(answer.usage)} if reports else {}
    yield frame({"type": "message_delta", "delta": _end(choice, cues), **final}, "message_delta", usage=reports)
    if cues.done == "on":
        yield _event("message_stop")


def _unnamed(named: Frame) -> Frame:
    """Without its `event:` line."""
    return named._replace(data=named.data[named.data.index(b"data:") :])


def _block(block: Block, place: int, stamp: Stamp) -> Iterator[Frame]:
    yield _event("content_block_start", index=place, content_block=_EMPTY[block.kind] | _identity(block, place, stamp))
    if block.kind == "tool":
        yield _delta(place, {"type": "input_json_delta", "partial_json": ""}, 0, 0)
    kind, field = _DELTA[block.kind]
    for token in block.tokens:
        yield _delta(place, {"type": kind, field: token}, 1, int(block.kind == "thinking"))
    if block.kind == "thinking":
        yield _delta(place, {"type": "signature_delta", "signature": signature_of(block.text)}, 0, 0)
    yield _event("content_block_stop", index=place)


_EMPTY: Final[dict[str, dict[str, Any]]] = {
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
    "tool": {"type": "tool_use", "input": {}},
}
_DELTA: Final = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool": ("input_json_delta", "partial_json"),
}


def _event(name: str, **fields: Any) -> Frame:
    return frame({"type": name, **fields}, name)


def _delta(place: int, delta: dict[str, Any], tokens: int, thinking: int) -> Frame:
    document = {"type": "content_block_delta", "index": place, "delta": delta}
    return frame(document, "content_block_delta", tokens=tokens, thinking=thinking)


def _message(ask: Ask, stamp: Stamp) -> dict[str, Any]:
    return {
        "id": f"msg_{stamp.nonce}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _whole(block: Block, place: int, stamp: Stamp) -> dict[str, Any]:
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": block.text, "signature": signature_of(block.text)}
    if block.kind == "text":
        return {"type": "text", "text": block.text}
    return {"type": "tool_use", "input": _parsed(block.text), **_identity(block, place, stamp)}


def _identity(block: Block, place: int, stamp: Stamp) -> dict[str, Any]:
    return {"id": f"toolu_{place:02}{stamp.nonce}", "name": block.name} if block.kind == "tool" else {}


def _parsed(arguments: str) -> Any:
    """An object in any case, as this protocol promises; arguments that were cut short are lost."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _end(choice: Choice, cues: Cues) -> dict[str, Any]:
    return {"stop_reason": cues.ended(_STOP[choice.finish]), "stop_sequence": choice.stop}


def _input(usage: Usage) -> dict[str, Any]:
    """``input_tokens`` is only what no cache was involved in."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
    }


def _output(usage: Usage) -> dict[str, Any]:
    details = {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    return {"output_tokens": usage.output, **details}
