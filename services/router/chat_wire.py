"""What is read of an openai_chat stream: once, for metering and for conversion alike. Pure.

Providers bend every optional field, so those are Any, and whoever reads one looks at what it is.
"""

from typing import Any

import msgspec


class Delta(msgspec.Struct):
    role: Any = None
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class Choice(msgspec.Struct):
    """``stop_reason`` is vLLM's: the stop sequence that ended the text."""

    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    stop_reason: Any = None


class Chunk(msgspec.Struct):
    """What is read of a chunk; the rest passes by."""

    id: Any = None
    model: Any = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


decoder = msgspec.json.Decoder(Chunk)
