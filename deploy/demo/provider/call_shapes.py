"""The shapes that streams of openai_chat give to tool calls; a client has to read all of them as the same calls."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from deploy.demo.provider.answers import Block

Piece = dict[str, Any]


class Delta(NamedTuple):
    """The `tool_calls` of one chunk, and how many tokens are in it."""

    calls: list[Piece]
    tokens: int


def deltas(calls: Sequence[tuple[str, Block]], shapes: Sequence[str]) -> Iterator[Delta]:
    """The chunks of these calls, each an id and a block. ``shapes`` are those of the cue; without any, a call is
    opened by a chunk with its id and name, and its arguments follow in pieces."""
    streams = [list(_pieces(place, call_id, block, shapes)) for place, (call_id, block) in enumerate(calls)]
    if "two" in shapes:
        yield Delta([piece for stream in streams for delta in stream for piece in delta.calls], _tokens(streams))
    elif "interleaved" in shapes:
        for together in zip_longest(*streams):
            yield from (delta for delta in together if delta is not None)
    else:
        for stream in streams:
            yield from stream


def _tokens(streams: Sequence[Sequence[Delta]]) -> int:
    return sum(delta.tokens for stream in streams for delta in stream)


def _pieces(place: int, call_id: str, block: Block, shapes: Sequence[str]) -> Iterator[Delta]:
    index: Piece = {} if "noindex" in shapes else {"index": 0 if "zero" in shapes else place}
    opened: Piece = {**index, "id": call_id, "type": "function"}
    if "whole" in shapes or "two" in shapes:
        yield Delta([{**opened, "function": {"name": block.name, "arguments": block.text}}], len(block.tokens))
        return
    tokens = list(block.tokens)
    begun = tokens.pop(0) if "first" in shapes and tokens else ""
    yield Delta([{**opened, "function": {"name": block.name, "arguments": begun}}], int(bool(begun)))
    for token in tokens:
        if "repeat" in shapes:
            yield Delta([{**opened, "function": {"name": block.name, "arguments": token}}], 1)
        else:
            yield Delta([{**index, "function": {"arguments": token}}], 1)
