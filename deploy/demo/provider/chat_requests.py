"""A request in the openai_chat protocol: what of it is valid, and what it asks for."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from deploy.demo.provider.ask import Ask, Sizes, asked_in, since_the_last_answer, tokens_of_turns
from deploy.demo.provider.prose import tokens_of
from deploy.demo.provider.refusals import Refusal
from libs.protocols import OPENAI_CHAT

Positive = Annotated[int, Meta(ge=1)]
_STOPS: Final = 4


class Part(msgspec.Struct):
    """Only what every content part has."""

    type: str


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: Literal["function"]
    function: Function


class Named(msgspec.Struct):
    name: str


class Choice(msgspec.Struct):
    type: Literal["function"]
    function: Named


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Switch(msgspec.Struct):
    type: Literal["enabled", "disabled"]


class ChatRequest(msgspec.Struct):
    """The fields this provider acts on; it lets any other pass."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    thinking: Switch | None = None
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None


_decoder: Final = msgspec.json.Decoder(ChatRequest)


def read(body: bytes, provider: str) -> Ask:
    """Raises Refusal."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"Invalid request: {error}", param=_param(str(error))) from error
    except msgspec.DecodeError as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
    _check(request)
    return _ask(request, provider)


def _check(request: ChatRequest) -> None:
    if request.stream_options is not None and not request.stream:
        raise Refusal(400, "stream_options is only allowed when stream is enabled.", param="stream_options")
    if len(_stops(request)) > _STOPS:
        raise Refusal(400, f"At most {_STOPS} stop sequences are allowed.", param="stop")
    for message in request.messages:
        if message.role == "tool" and not message.tool_call_id:
            raise Refusal(400, "A message with role 'tool' needs a tool_call_id.", param="messages")
        if message.role == "user" and not message.content:
            raise Refusal(400, "A message with role 'user' needs content.", param="messages")
        _check_parts(message.content)


def _check_parts(content: str | list[dict[str, Any]] | None) -> None:
    if isinstance(content, list):
        try:
            msgspec.convert(content, list[Part])
        except msgspec.ValidationError as error:
            raise Refusal(400, f"Invalid content part: {error}", param="messages") from error


def _ask(request: ChatRequest, provider: str) -> Ask:
    start = since_the_last_answer(request.messages)
    past, turn = request.messages[:start], request.messages[start:]
    tools = {tool.function.name: tool.function.parameters for tool in request.tools or ()}
    calls = sum(len(msgspec.json.encode(message.tool_calls)) // 4 for message in past if message.tool_calls)
    head = tokens_of(msgspec.json.encode(request.tools).decode()) if request.tools else 0
    return Ask(
        provider=provider,
        protocol=OPENAI_CHAT,
        model=request.model,
        stream=bool(request.stream),
        asked=asked_in(turn),
        sizes=Sizes(head, tokens_of_turns(past) + calls, tokens_of_turns(turn)),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        n=request.n or 1,
        stops=_stops(request),
        tools=tools,
        must_call=_must_call(request.tool_choice, tuple(tools)),
        thinks=_thinks(request),
        wants_usage=not request.stream or bool(request.stream_options and request.stream_options.include_usage),
    )


def _stops(request: ChatRequest) -> tuple[str, ...]:
    stops = (request.stop,) if isinstance(request.stop, str) else request.stop or ()
    return tuple(stop for stop in stops if stop)


def _must_call(choice: str | Choice | None, tools: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(choice, Choice):
        if choice.function.name not in tools:
            raise Refusal(400, f"tool_choice names {choice.function.name!r}, which is no tool.", param="tool_choice")
        return (choice.function.name,)
    if choice == "required" and not tools:
        raise Refusal(400, "tool_choice is only allowed when tools are given.", param="tool_choice")
    return tools[:1] if choice == "required" else ()


def _thinks(request: ChatRequest) -> bool:
    """Providers disagree on the switch; whichever is set counts, and a reasoning model needs none."""
    if request.thinking is not None:
        return request.thinking.type == "enabled"
    if request.enable_thinking is not None:
        return request.enable_thinking
    if request.reasoning_effort is not None:
        return request.reasoning_effort != "none"
    return "reasoner" in request.model


def _param(problem: str) -> str | None:
    """The field that a complaint is about: the place it names, or else the first name that it quotes."""
    name = problem.rpartition("`$.")[2] if "`$." in problem else problem.partition("`")[2]
    return name.partition("`")[0] or None
