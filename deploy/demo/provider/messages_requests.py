"""A request in the anthropic_messages protocol: what of it is valid, and what it asks for."""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from deploy.demo.provider.ask import Ask, Sizes, asked_in, since_the_last_answer, tokens_of_turns
from deploy.demo.provider.prose import tokens_of, tokens_of_content
from deploy.demo.provider.refusals import Refusal
from libs.protocols import ANTHROPIC_MESSAGES

Blocks = list[dict[str, Any]]


class Block(msgspec.Struct):
    """Only what every content block has."""

    type: str


class Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class Tool(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None


class MessagesRequest(msgspec.Struct):
    """The fields this provider acts on; it lets any other pass."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)]
    system: str | Blocks | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    metadata: dict[str, Any] | None = None


_decoder: Final = msgspec.json.Decoder(MessagesRequest)


def read(body: bytes, provider: str) -> Ask:
    """Raises Refusal."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, _complaint(str(error))) from error
    except msgspec.DecodeError as error:
        raise Refusal(400, f"The request body is not valid JSON: {error}") from error
    for n, message in enumerate(request.messages):
        _check_content(n, message)
    return _ask(request, provider)


def _check_content(n: int, message: Message) -> None:
    if not message.content:
        raise Refusal(400, f"messages.{n}: all messages must have non-empty content")
    if isinstance(message.content, list):
        try:
            msgspec.convert(message.content, list[Block])
        except msgspec.ValidationError as error:
            raise Refusal(400, f"messages.{n}.content: {error}") from error


def _ask(request: MessagesRequest, provider: str) -> Ask:
    start = since_the_last_answer(request.messages)
    past, turn = request.messages[:start], request.messages[start:]
    tools = {tool.name: tool.input_schema for tool in request.tools or ()}
    head = tokens_of_content(request.system)
    head += tokens_of(msgspec.json.encode(request.tools).decode()) if request.tools else 0
    return Ask(
        provider=provider,
        protocol=ANTHROPIC_MESSAGES,
        model=request.model,
        stream=bool(request.stream),
        asked=asked_in(turn),
        sizes=Sizes(head, tokens_of_turns(past), tokens_of_turns(turn)),
        max_tokens=request.max_tokens,
        stops=tuple(filter(None, request.stop_sequences or ())),
        tools=tools,
        must_call=_must_call(request.tool_choice, tuple(tools)),
        thinks=request.thinking is not None and request.thinking.type != "disabled",
        caches_marked=any(_marks(request)),
    )


def _marks(request: MessagesRequest) -> Iterable[bool]:
    """Where the request may ask for caching: in any system block, tool or content block."""
    yield from (tool.cache_control is not None for tool in request.tools or ())
    for content in (request.system, *(message.content for message in request.messages)):
        if isinstance(content, list):
            yield from (block.get("cache_control") is not None for block in content)


def _must_call(choice: ToolChoice | None, tools: tuple[str, ...]) -> tuple[str, ...]:
    if choice is None or choice.type in ("auto", "none"):
        return ()
    if not tools:
        raise Refusal(400, "tool_choice: may only be specified while providing tools")
    if choice.type == "any":
        return tools[:1]
    if choice.name not in tools:
        raise Refusal(400, f"tool_choice.name: Tool '{choice.name}' not found in provided tools")
    return (choice.name,)


def _complaint(problem: str) -> str:
    """``messages[0].role: Expected …``: the place first, as this protocol's own complaints have it."""
    sentence, _, place = problem.partition(" - at `$")
    place = place.strip(".`").replace("[", ".").replace("]", "")
    if place:
        return f"{place}: {sentence}"
    return f"{sentence.partition('`')[2].rstrip('`')}: Field required" if "missing required" in sentence else sentence
