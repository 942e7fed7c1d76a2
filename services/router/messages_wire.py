"""What is read of an anthropic_messages stream: once, for metering and for conversion alike. Pure."""

from typing import Any

import msgspec


class Part(msgspec.Struct):
    """What is read inside `message`, `delta` and `content_block`."""

    type: Any = None
    id: Any = None
    model: Any = None
    usage: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_sequence: Any = None
    stop_details: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    name: Any = None
    input: Any = None
    partial_json: Any = None


class Happening(msgspec.Struct):
    """What is read of an event; the rest passes by."""

    type: str
    index: int | None = None
    message: Part | None = None
    content_block: Part | None = None
    delta: Part | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


decoder = msgspec.json.Decoder(Happening)
