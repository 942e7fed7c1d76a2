"""The one cheap look at a request's body: what admission needs of it, and nothing re-encoded. Pure.

Field types and ranges are those of the two protocols' own references; what is not named here goes to the provider as
it came.
"""

import re
from typing import Annotated, Any, Final

import msgspec

from libs.errors import UnsupportedParameter
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from libs.server_tools import is_server_tool, name_of
from services.edge import mistakes

MESSAGE_TOKENS: Final = 16  # what a chat template adds around one message, generously
REFERENCE_TOKENS: Final = 4096  # an image that is only named by a URL or an id
REFERENCES: Final = re.compile(rb'"(?:image_url|image|input_audio|file_id)"')
UNBOUNDED: Final = re.compile(rb'"type"\s*:\s*"(?:document|file|video|video_url)"')  # of any size
HIDDEN: Final = re.compile(rb'"(?:[a-z_]|\\u00[4-7][0-9a-fA-F]){4,12}"')  # letters are escaped to hide what they spell
ANY_NUMBER: Final = 1 << 31
THREADS_UNSUPPORTED: Final = {"details": {"error_code": "thread_unsupported_request"}}  # SDKs fall back at this word

NOTHING: Final = msgspec.Raw(b"null")
EMPTY: Final = (b"null", b"[]", b'""')

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Unit = Annotated[float, msgspec.Meta(ge=0, le=1)]
UpToTwo = Annotated[float, msgspec.Meta(ge=0, le=2)]


class Message(msgspec.Struct):
    """Every message of both protocols has a role; the rest is the provider's business."""

    role: str


Messages = Annotated[list[Message], msgspec.Meta(min_length=1)]


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Tool(msgspec.Struct):
    type: str | None = None


class Extras(msgspec.Struct):
    """What providers bill beside tokens."""

    tools: list[Tool] | None = None
    web_search_options: Any = None
    enable_search: Any = None
    mcp_servers: Any = None


class ChatHead(Extras, kw_only=True):
    """What is read of an OpenAI Chat Completions request."""

    model: str
    messages: Messages
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    temperature: UpToTwo | None = None
    top_p: Unit | None = None
    stop: str | list[str] | None = None


class MessagesHead(Extras, kw_only=True):
    """What is read of an Anthropic Messages request."""

    model: str
    messages: Messages
    stream: bool | None = None
    max_tokens: Count
    temperature: Unit | None = None
    top_p: Unit | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    thread: Any = None


class CountHead(msgspec.Struct):
    """What is read of a request whose tokens are to be counted."""

    model: str
    messages: list[Message] | None = None
    system: msgspec.Raw = NOTHING
    tools: list[msgspec.Raw] | None = None


class Head(msgspec.Struct, frozen=True):
    """The same of both. ``output_cap`` is per choice and None when the caller named none."""

    model: str
    stream: bool
    usage_wanted: bool
    choices: int
    output_cap: int | None
    input_bound: int


_chat = msgspec.json.Decoder(ChatHead)
_messages = msgspec.json.Decoder(MessagesHead)
_count = msgspec.json.Decoder(CountHead)


def look(body: bytes, protocol: Protocol) -> Head:
    """Raises InvalidRequest naming the field that is missing or wrong."""
    return _of_messages(body) if protocol == ANTHROPIC_MESSAGES else _of_chat(body)


def model_to_count(body: bytes) -> str:
    """The model of a request whose tokens are to be counted. Raises InvalidRequest naming the field."""
    seen = mistakes.read(_count, body, ANTHROPIC_MESSAGES)
    if not seen.messages and bytes(seen.system) in EMPTY and not seen.tools:
        raise mistakes.missing("messages", ANTHROPIC_MESSAGES)
    return seen.model


def _of_chat(body: bytes) -> Head:
    seen = mistakes.read(_chat, body, OPENAI_CHAT)
    _refuse_what_has_no_price(seen)
    return Head(
        model=seen.model,
        stream=bool(seen.stream),
        usage_wanted=bool(seen.stream_options and seen.stream_options.include_usage),
        choices=seen.n or 1,
        output_cap=seen.max_completion_tokens if seen.max_completion_tokens is not None else seen.max_tokens,
        input_bound=_input_bound(body, len(seen.messages)),
    )


def _of_messages(body: bytes) -> Head:
    seen = mistakes.read(_messages, body, ANTHROPIC_MESSAGES)
    _refuse_what_has_no_price(seen)
    _refuse_threads(seen)
    return Head(
        model=seen.model,
        stream=bool(seen.stream),
        usage_wanted=True,
        choices=1,
        output_cap=seen.max_tokens,
        input_bound=_input_bound(body, len(seen.messages)),
    )


def _input_bound(body: bytes, messages: int) -> int:
    """More tokens than this body can be: byte-level tokenizers never make more tokens than there are bytes."""
    if UNBOUNDED.search(body) or any(b"\\" in word for word in HIDDEN.findall(body)):
        return ANY_NUMBER
    return len(body) + messages * MESSAGE_TOKENS + len(REFERENCES.findall(body)) * REFERENCE_TOKENS


def _refuse_what_has_no_price(seen: Extras) -> None:
    """What a provider bills by the search or by the call is not sold yet, and what is not held for is not let through.
    Beside other tools it is left out on the way to the provider; alone it is refused, because a model that was promised
    a search invents its results.

    Raises UnsupportedParameter.
    """
    kinds = [tool.type for tool in seen.tools or ()]
    if kinds and all(map(is_server_tool, kinds)):
        raise UnsupportedParameter(f"server tool {name_of(kinds[0])} is not supported by this model", param="tools")
    for name in ("web_search_options", "enable_search", "mcp_servers"):
        if getattr(seen, name) not in (None, False, []):  # `{}` switches a search on
            raise UnsupportedParameter(f"{name} is not sold here yet.", param=name)


def _refuse_threads(seen: MessagesHead) -> None:
    """Raises UnsupportedParameter for a conversation that the provider is to keep."""
    if seen.thread is not None:
        raise UnsupportedParameter(
            "Threads are not supported by this model: send the whole conversation without `thread`.",
            param="thread",
            extra=THREADS_UNSUPPORTED,
        )
