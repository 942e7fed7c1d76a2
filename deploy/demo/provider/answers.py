"""The answer to a request, before any protocol: blocks of tokens, why it ended, what it used."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from deploy.demo.provider import prose
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.cues import BadCue, Cues
from libs.pricing import Usage
from libs.protocols import ANTHROPIC_MESSAGES

Kind = Literal["thinking", "text", "tool"]
Finish = Literal["stop", "length", "tools", "stop_sequence"]

_USUAL_THOUGHTS = 12
_CACHED_IN_STEPS_OF = 64


class Block(msgspec.Struct, frozen=True):
    """A run of tokens of one kind; ``name`` is the tool's."""

    kind: Kind
    tokens: tuple[str, ...]
    name: str = ""

    @property
    def text(self) -> str:
        return "".join(self.tokens)


class Choice(msgspec.Struct, frozen=True):
    """One of the ``n`` answers. ``stop`` is the stop sequence that ended it."""

    blocks: tuple[Block, ...]
    finish: Finish
    stop: str | None = None

    def joined(self, kind: Kind) -> str:
        return "".join(block.text for block in self.blocks if block.kind == kind)

    def calls(self) -> list[Block]:
        return [block for block in self.blocks if block.kind == "tool"]


class Answer(msgspec.Struct, frozen=True):
    """What is sent, and what it used."""

    choices: tuple[Choice, ...]
    usage: Usage


def compose(ask: Ask, cues: Cues) -> Answer:
    """The same request always gets the same answer. Raises BadCue."""
    choices = tuple(_choice(ask, cues, n) for n in range(ask.n))
    return Answer(choices, _usage(ask, cues, choices))


def _choice(ask: Ask, cues: Cues, n: int) -> Choice:
    seed = prose.digest_of(ask.model, ask.asked, str(n))
    blocks, stop = _stopped(list(_blocks(ask, cues, seed)), ask.stops)
    kept = tuple(_capped(blocks, ask.max_tokens))
    if _count(kept) < _count(blocks):
        return Choice(kept, "length")
    if stop is not None:
        return Choice(kept, "stop_sequence", stop)
    return Choice(kept, "tools" if any(block.kind == "tool" for block in kept) else "stop")


def _blocks(ask: Ask, cues: Cues, seed: bytes) -> Iterator[Block]:
    """Thinking, then text, then calls. An answer that calls tools says something only when it is told how much."""
    thoughts = cues.thinking if cues.thinking is not None else _USUAL_THOUGHTS if ask.thinks else 0
    if thoughts:
        yield _tagged(prose.thoughts(seed, thoughts)) if cues.think == "tags" else _thought(seed, thoughts)
    calls = cues.tools or ask.must_call
    said = () if calls and cues.words is None else prose.words(prose.echo(ask.asked, ask.results), seed, cues.words)
    if said:
        yield Block("text", said)
    for place, name in enumerate(calls):
        yield _call(ask, cues, name, prose.digest_of(seed.hex(), str(place)))


def _thought(seed: bytes, amount: int) -> Block:
    return Block("thinking", prose.thoughts(seed, amount))


def _tagged(thoughts: tuple[str, ...]) -> Block:
    """Thinking as servers without a field for it have it: text between tags, with an empty line after it."""
    first, *rest = thoughts
    return Block("text", ("<think>", first, *rest, "</think>\n\n"))


def _call(ask: Ask, cues: Cues, called: str, seed: bytes) -> Block:
    name = _meant(ask, called)
    if cues.args is not None:
        return Block("tool", prose.pieces(cues.args), name)
    arguments = msgspec.json.encode(prose.example(ask.tools[name] or {"type": "object"}, seed))
    return Block("tool", prose.pieces(arguments.decode()), name)


def _meant(ask: Ask, called: str) -> str:
    """The tool of this name; with a `*` at its end, the only one that begins so: names may have been shortened."""
    if called in ask.tools:
        return called
    found = [name for name in ask.tools if called.endswith("*") and name.startswith(called[:-1])]
    if len(found) != 1:
        raise BadCue(f"the cue calls {called!r}, which is no tool of this request")
    return found[0]


def _stopped(blocks: list[Block], stops: tuple[str, ...]) -> tuple[list[Block], str | None]:
    """The blocks up to the first stop sequence in the text, and that sequence."""
    for place, block in enumerate(blocks):
        found = [(at, stop) for stop in stops if (at := block.text.find(stop)) >= 0] if block.kind == "text" else []
        if found:
            at, stop = min(found)
            return [*blocks[:place], Block("text", tuple(_up_to(block.tokens, at)))], stop
    return blocks, None


def _up_to(tokens: Iterable[str], length: int) -> Iterator[str]:
    for token in tokens:
        if length <= 0:
            return
        yield token[:length]
        length -= len(token)


def _capped(blocks: Iterable[Block], limit: int | None) -> Iterator[Block]:
    """At most ``limit`` tokens. A block that gets none is not begun."""
    left = limit
    for block in blocks:
        kept = block.tokens if left is None else block.tokens[:left]
        if kept:
            yield Block(block.kind, kept, block.name)
        left = None if left is None else left - len(kept)


def _count(blocks: Iterable[Block], kind: Kind | None = None) -> int:
    return sum(len(block.tokens) for block in blocks if kind in (None, block.kind))


def _usage(ask: Ask, cues: Cues, choices: Iterable[Choice]) -> Usage:
    blocks = [block for choice in choices for block in choice.blocks]
    read, write = _cached(ask)
    counted = {
        "input": ask.sizes.head + ask.sizes.past + ask.sizes.turn - read - write,
        "cache_read": read,
        "cache_write": write,
        "output": _count(blocks),
        "reasoning": _count(blocks, "thinking"),
    }
    given = {name: figure for name, figure in msgspec.structs.asdict(cues.figures).items() if figure is not None}
    figures = counted | given
    if "output" in given and "reasoning" not in given:
        figures["reasoning"] = min(figures["reasoning"], figures["output"])
    try:
        return Usage(**figures)
    except ValueError as error:
        raise BadCue(f"the usage that the cue gives is impossible: {error}") from error


def _cached(ask: Ask) -> tuple[int, int]:
    """Tokens read from and written to a cache that keeps what the conversation has already sent.

    openai_chat providers cache by themselves and in steps; anthropic_messages caches what is marked.
    """
    head, past = ask.sizes.head, ask.sizes.past
    if ask.protocol == ANTHROPIC_MESSAGES:
        if not ask.caches_marked:
            return 0, 0
        return (head + past, 0) if past else (0, head)
    return ((head + past) // _CACHED_IN_STEPS_OF * _CACHED_IN_STEPS_OF if past else 0), 0
