"""What is read of an openai_chat request's messages. Pure.

Callers bend every optional field, so most are Any, and whoever reads one looks at what it is. What passes through
unread stays Raw: it keeps its own bytes, however deep it is.
"""

from typing import Any, Final

import msgspec

NOTHING: Final = msgspec.Raw()
Content = str | list[msgspec.Raw] | None


class Function(msgspec.Struct):
    """`function`, `function_call` or `custom` of a call: the last has `input`."""

    name: Any = None
    arguments: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING


class Call(msgspec.Struct):
    id: Any = None
    function: Function | None = None
    custom: Function | None = None


class Message(msgspec.Struct):
    role: str
    content: Content = None
    name: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    tool_call_id: Any = None


class Part(msgspec.Struct):
    """A part of openai_chat content, or a block of anthropic_messages content that stands in its place."""

    type: Any = None
    text: Any = None
    refusal: Any = None
    image_url: Any = None
    file: Any = None
    source: Any = None
    title: Any = None
    id: Any = None
    name: Any = None
    input: msgspec.Raw = NOTHING
    tool_use_id: Any = None
    content: msgspec.Raw = NOTHING
    is_error: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    cache_control: Any = None
    prompt_cache_breakpoint: Any = None


messages = msgspec.json.Decoder(list[Message])
content = msgspec.json.Decoder(Content)
part = msgspec.json.Decoder(str | Part)
