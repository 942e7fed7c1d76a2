"""A request in the openai_chat protocol: what of it is valid, and what it asks for."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from deploy.demo.provider import chat_rules
from deploy.demo.provider.ask import Ask, Sizes, asked_in, since_the_last_answer, text_of, tokens_of_turns
from deploy.demo.provider.profiles import profile_of
from deploy.demo.provider.prose import tokens_of
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ChatRules, fits
from libs.protocols import OPENAI_CHAT

Positive = Annotated[int, Meta(ge=1)]
Part = dict[str, Any]


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Named(msgspec.Struct):
    name: str


class Choice(msgspec.Struct):
    type: Literal["function"]
    function: Named


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Switch(msgspec.Struct):
    type: Literal["enabled", "disabled"]


class Format(msgspec.Struct):
    """Only what every response_format has."""

    type: Literal["text", "json_object", "json_schema"]


class ChatRequest(msgspec.Struct):
    """The types of the fields that matter; chat_rules has the rest."""

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
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    thinking: Switch | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    reasoning_effort: str | None = None
    response_format: Format | None = None
    parallel_tool_calls: bool | None = None
    tool_stream: bool | None = None


_decoder: Final = msgspec.json.Decoder(ChatRequest)


def read(body: bytes, provider: str) -> Ask:
    """Raises Refusal."""
    rules = profile_of(provider).chat
    try:
        request, raw = _decoder.decode(body), msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"Invalid request: {error}", param=_param(str(error))) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from error
    if request.stream_options is not None and not request.stream:
        raise Refusal(400, "stream_options is only allowed when stream is enabled.", param="stream_options")
    chat_rules.check(raw, rules)
    return _ask(request, provider, thinks=_thinks(request, rules))


def _ask(request: ChatRequest, provider: str, *, thinks: bool) -> Ask:
    start = since_the_last_answer(request.messages)
    past, turn = request.messages[:start], request.messages[start:]
    tools = {tool["function"]["name"]: tool["function"].get("parameters") for tool in request.tools or ()}
    calls = sum(len(msgspec.json.encode(message.tool_calls)) // 4 for message in past if message.tool_calls)
    head = tokens_of(msgspec.json.encode(request.tools).decode()) if request.tools else 0
    return Ask(
        provider=provider,
        protocol=OPENAI_CHAT,
        model=request.model,
        stream=bool(request.stream),
        asked=asked_in(turn),
        results=tuple(text_of(message.content) for message in turn if message.role == "tool"),
        sizes=Sizes(head, tokens_of_turns(past) + calls, tokens_of_turns(turn)),
        max_tokens=request.max_completion_tokens or request.max_tokens,
        n=request.n or 1,
        stops=_stops(request),
        tools=tools,
        must_call=_must_call(request.tool_choice, tuple(tools)),
        thinks=thinks,
        wants_usage=not request.stream or bool(request.stream_options and request.stream_options.include_usage),
        streams_calls=bool(request.tool_stream),
    )


def _stops(request: ChatRequest) -> tuple[str, ...]:
    stops = (request.stop,) if isinstance(request.stop, str) else request.stop or ()
    return tuple(stop for stop in stops if stop)


def _must_call(choice: str | Choice | None, tools: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(choice, Choice):
        return (choice.function.name,)
    return tools[:1] if choice == "required" else ()


def _thinks(request: ChatRequest, rules: ChatRules) -> bool:
    """Providers disagree on the switch; whichever is set counts, and a model of thought needs none. A model that may
    think unasked does so only when it is called a reasoner: it may also have nothing to think about."""
    if fits(rules.always_thinks, request.model):
        return True
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
