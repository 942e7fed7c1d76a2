"""Cues: what a user message asks the simulator to do, e.g. ``[sim: status=429 retry_after=2]``. See README.md."""

import re
import shlex
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

_CUE: Final = re.compile(r"\[sim\b(?P<only>[^\[\]:]*):(?P<words>[^\[\]]*)\]")
BEFORE_HEADERS: Final = -1

Seconds = Annotated[float, Meta(ge=0, le=600)]
Count = Annotated[int, Meta(ge=0, le=100_000)]
Moment = Annotated[int, Meta(ge=BEFORE_HEADERS, le=1 << 30)]
Chunking = Literal["event", "byte", "odd", "whole"]
LineEnd = Literal["lf", "crlf", "cr"]
CallShape = Literal["whole", "first", "repeat", "noindex", "zero", "interleaved", "two", "dupid"]


class BadCue(ValueError):
    """The cue makes no sense; the message says which part of it."""


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"input": "in", "output": "out"}):
    """Usage to report instead of what was counted; a figure that is not given stays as counted."""

    input: Count | None = None
    output: Count | None = None
    cache_read: Count | None = None
    cache_write: Count | None = None
    cache_write_1h: Count | None = None
    reasoning: Count | None = None


class Cues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be asked for. Delays are seconds; a Moment counts events (bytes in a plain answer)."""

    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    retry_after: Count | None = None
    message: str | None = None
    code: str | None = None
    delay: Seconds = 0
    start: Seconds = 0
    first: Seconds = 0
    gap: Seconds = 0
    words: Count | None = None
    thinking: Count | None = None
    tools: tuple[str, ...] = ()
    args: str | None = None
    calls: tuple[CallShape, ...] = ()
    finish: str | None = None
    done: Literal["on", "off"] = "on"
    events: Literal["on", "off"] = "on"
    think: Literal["field", "tags"] = "field"
    reasoning: Literal["content", "alias"] = "content"
    context: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    figures: Figures = Figures()
    report: Literal["asked", "finish", "every", "never"] = "asked"
    cut: Moment | None = None
    hang: Moment | None = None
    end: Count | None = None
    error_after: Count | None = None
    chunking: Chunking = "event"
    lines: LineEnd = "lf"
    comments: Annotated[int, Meta(ge=0, le=100)] = 0
    garbage: Literal["html", "json"] | None = None
    body: Literal["error200", "empty", "whole"] | None = None

    def ended(self, usual: str) -> str | None:
        """Why the answer ended, in the protocol's word, or what the cue says instead."""
        return usual if self.finish is None else None if self.finish == "none" else self.finish


NONE: Final = Cues()
_BARE: Final = {"cut": BEFORE_HEADERS, "hang": BEFORE_HEADERS, "garbage": "html"}
_OUTSIDE: Final = (set(Cues.__struct_fields__) - {"figures", "report", "lines"}) | {"usage"}


def read(text: str, about: Iterable[str] = ()) -> Cues:
    """The cues in ``text`` that are meant for a request described by the words ``about``; the last one given wins.

    Raises BadCue.
    """
    fields: dict[str, Any] = {}
    for cue in _CUE.finditer(text):
        if set(cue["only"].split()) <= set(about):
            for word in _words(cue["words"]):
                fields.update(_field(word))
    return _checked(fields) if fields else NONE


def without(text: str) -> str:
    """The text as it would be if nobody had given a cue."""
    return _CUE.sub("", text).strip()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadCue(f"the cue [sim:{text}] does not end its quotes: {error}") from error


def _field(word: str) -> dict[str, Any]:
    name, given, value = word.partition("=")
    if name not in _OUTSIDE:
        raise BadCue(f"unknown cue {name!r}; there are: {', '.join(sorted(_OUTSIDE))}")
    if not given and name not in _BARE:
        raise BadCue(f"the cue {name!r} needs a value: {name}=…")
    if not given:
        return {name: _BARE[name]}
    return _SPLIT[name](value) if name in _SPLIT else {name: value}


def _tools(value: str) -> dict[str, Any]:
    return {"tools": [name for name in value.split(",") if name]}


def _calls(value: str) -> dict[str, Any]:
    return {"calls": [shape for shape in value.split(",") if shape]}


def _chunking(value: str) -> dict[str, Any]:
    """``odd,crlf`` says two things at once: how bytes are grouped and how lines end."""
    fields = {}
    for word in value.split(","):
        fields["lines" if word in ("lf", "crlf", "cr") else "chunking"] = word
    return fields


def _usage(value: str) -> dict[str, Any]:
    """``in:10,out:20`` gives figures; ``none``, ``finish`` and ``every`` say when they are reported."""
    fields: dict[str, Any] = {}
    for word in value.split(","):
        name, given, figure = word.partition(":")
        if given:
            fields.setdefault("figures", {})[name] = figure
        else:
            fields["report"] = "never" if name == "none" else name
    return fields


_SPLIT: Final = {"tools": _tools, "calls": _calls, "chunking": _chunking, "usage": _usage}


def _checked(fields: dict[str, Any]) -> Cues:
    try:
        return msgspec.convert(fields, Cues, strict=False)
    except msgspec.ValidationError as error:
        raise BadCue(f"bad cue: {error}") from error
