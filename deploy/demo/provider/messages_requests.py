"""A request in the anthropic_messages protocol: what of it is valid, and what it asks for."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from deploy.demo.provider import messages_rules
from deploy.demo.provider.ask import Ask, Sizes, asked_in, since_the_last_answer, text_of, tokens_of_turns
from deploy.demo.provider.profiles import profile_of
from deploy.demo.provider.prose import tokens_of, tokens_of_content
from deploy.demo.provider.refusals import Refusal
from libs.protocols import ANTHROPIC_MESSAGES

Blocks = list[dict[str, Any]]


class Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None


class CountRequest(msgspec.Struct, kw_only=True):
    """The types of the fields that matter; messages_rules has the rest. Counting needs no limit."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    system: str | Blocks | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    metadata: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None


class MessagesRequest(CountRequest, kw_only=True):
    """A request for an answer."""

    max_tokens: Annotated[int, Meta(ge=1)]


_for_answers: Final = msgspec.json.Decoder(MessagesRequest)
_for_counts: Final = msgspec.json.Decoder(CountRequest)


def read(body: bytes, provider: str, headers: Mapping[str, str], *, counts: bool = False) -> Ask:
    """Header names are lower case. Raises Refusal."""
    try:
        request, raw = (_for_counts if counts else _for_answers).decode(body), msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, _complaint(str(error))) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, f"The request body is not valid JSON: {error}") from error
    for n, message in enumerate(request.messages):
        if not message.content:
            raise Refusal(400, f"messages.{n}: all messages must have non-empty content")
    messages_rules.check(raw, headers, profile_of(provider).messages)
    return _ask(request, provider, messages_rules.betas_of(headers))


def _ask(request: CountRequest, provider: str, betas: tuple[str, ...]) -> Ask:
    start = since_the_last_answer(request.messages)
    past, turn = request.messages[:start], request.messages[start:]
    named = [tool for tool in request.tools or () if isinstance(tool.get("name"), str)]
    tools = {tool["name"]: tool.get("input_schema") for tool in named}
    head = tokens_of_content(request.system)
    head += tokens_of(msgspec.json.encode(request.tools).decode()) if request.tools else 0
    return Ask(
        provider=provider,
        protocol=ANTHROPIC_MESSAGES,
        model=request.model,
        stream=bool(request.stream),
        asked=asked_in(turn),
        results=tuple(_results(turn)),
        sizes=Sizes(head, tokens_of_turns(past), tokens_of_turns(turn)),
        max_tokens=request.max_tokens,
        stops=tuple(filter(None, request.stop_sequences or ())),
        tools=tools,
        must_call=_must_call(request.tool_choice, tuple(tools)),
        thinks=request.thinking is not None and request.thinking.type != "disabled",
        caches_marked=any(_marks(request)),
        betas=betas,
    )


def _results(turn: Iterable[Message]) -> Iterable[str]:
    for message in turn:
        for block in message.content if isinstance(message.content, list) else ():
            if block["type"] == "tool_result":
                yield text_of(block.get("content"))


def _marks(request: CountRequest) -> Iterable[bool]:
    """Where the request may ask for caching: in any system block, tool or content block."""
    yield from (tool.get("cache_control") is not None for tool in request.tools or ())
    for content in (request.system, *(message.content for message in request.messages)):
        if isinstance(content, list):
            yield from (block.get("cache_control") is not None for block in content)


def _must_call(choice: ToolChoice | None, tools: tuple[str, ...]) -> tuple[str, ...]:
    if choice is not None and choice.type == "tool" and choice.name is not None:
        return (choice.name,)
    return tools[:1] if choice is not None and choice.type == "any" else ()


def _complaint(problem: str) -> str:
    """``messages[0].role: Expected …``: the place first, as this protocol's own complaints have it."""
    sentence, _, place = problem.partition(" - at `$")
    place = place.strip(".`").replace("[", ".").replace("]", "")
    if place:
        return f"{place}: {sentence}"
    return f"{sentence.partition('`')[2].rstrip('`')}: Field required" if "missing required" in sentence else sentence
