"""What a request asks for, once its protocol no longer matters."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from typing import Protocol as Shape

import msgspec

from deploy.demo.provider.prose import tokens_of_content
from libs.protocols import Protocol


class Sizes(msgspec.Struct, frozen=True):
    """Input tokens by place: system and tools, the turns up to the last answer, and what came since."""

    head: int
    past: int
    turn: int

    @property
    def total(self) -> int:
        return self.head + self.past + self.turn


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request. ``asked`` is the user's text since the last answer, ``results`` what tools have said since;
    ``tools`` maps names to their schemas; ``betas`` are the values of the header of that name.
    """

    provider: str
    protocol: Protocol
    model: str
    stream: bool
    asked: str
    results: tuple[str, ...] = ()
    sizes: Sizes
    max_tokens: int | None = None
    n: int = 1
    stops: tuple[str, ...] = ()
    tools: Mapping[str, Any] = {}
    must_call: tuple[str, ...] = ()
    thinks: bool = False
    caches_marked: bool = False
    wants_usage: bool = True
    streams_calls: bool = True
    betas: tuple[str, ...] = ()


class Turn(Shape):
    """One message of either protocol."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> Any: ...


def since_the_last_answer(turns: Sequence[Turn]) -> int:
    """Where the current turn begins: after the last assistant message. So a cue is obeyed once, and the answer to
    a tool's result is an ordinary one."""
    return max((n + 1 for n, turn in enumerate(turns) if turn.role == "assistant"), default=0)


def asked_in(turns: Iterable[Turn]) -> str:
    """What the user says in these messages. Reminders that a client adds may stand in a message of their own."""
    return "\n".join(filter(None, (text_of(turn.content) for turn in turns if turn.role == "user")))


def text_of(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(str(part.get("text", "")) for part in content if part.get("type") == "text")


def tokens_of_turns(turns: Iterable[Turn]) -> int:
    """Three tokens of a message are its frame."""
    return sum(3 + tokens_of_content(turn.content) for turn in turns)
