"""The pace of an answer, and how its bytes are grouped: neither may matter to a correct client."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from deploy.demo.provider.cues import Chunking, LineEnd
from deploy.demo.provider.frames import Frame

COMMENT: Final = b": keep-alive\n\n"
_ODD: Final = 7
_LINE_ENDS: Final = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}


class Step(NamedTuple):
    """Bytes sent together, ``delay`` seconds after those before. The rest is a Frame's account of what is in them."""

    delay: float
    data: bytes
    tokens: int = 0
    thinking: int = 0
    usage: bool = False

    @classmethod
    def of(cls, frame: Frame, delay: float = 0) -> "Step":
        return cls(delay, *frame)


def paced(frames: Iterable[Frame], start: float, first: float, gap: float, comments: int) -> Iterator[Step]:
    """``start`` seconds before anything, ``first`` before the first token, ``gap`` before each other one. Comments
    come while the first is waited for, evenly."""
    if start:
        yield Step(start, b"")
    waiting = True
    for frame in frames:
        if waiting and frame.tokens:
            waiting = False
            yield from (Step(first / (comments + 1), COMMENT) for _ in range(comments))
            yield Step.of(frame, first / (comments + 1))
        else:
            yield Step.of(frame, gap if frame.tokens else 0)


def generated(body: Frame, seconds: float, comments: int) -> Iterator[Step]:
    """A plain answer. While it is being made, comments are empty lines, which JSON allows; without any, the headers
    wait for the body."""
    pause = seconds / (comments + 1) if comments else 0
    yield from (Step(pause, b"\n") for _ in range(comments))
    yield Step.of(body, pause)


def line_ended(steps: Iterable[Step], lines: LineEnd) -> Iterator[Step]:
    """Lines that end as told. Data is JSON, which holds no line end of its own."""
    end = _LINE_ENDS[lines]
    return (step._replace(data=step.data.replace(b"\n", end)) for step in steps)


def regrouped(steps: Iterable[Step], chunking: Chunking) -> Iterator[Step]:
    """The same bytes in other groups: by event, by byte, by seven bytes without regard to events, or all at once."""
    if chunking == "event":
        yield from steps
    elif chunking == "whole":
        yield from _merged(steps, across_pauses=True)
    elif chunking == "byte":
        for step in steps:
            yield from _split(step, 1)
    else:
        for step in _merged(steps, across_pauses=False):
            yield from _split(step, _ODD)


def _merged(steps: Iterable[Step], *, across_pauses: bool) -> Iterator[Step]:
    run: list[Step] = []
    for step in steps:
        if run and step.delay and not across_pauses:
            yield _sum(run)
            run = []
        run.append(step)
    if run:
        yield _sum(run)


def _sum(run: list[Step]) -> Step:
    return Step(
        sum(step.delay for step in run),
        b"".join(step.data for step in run),
        sum(step.tokens for step in run),
        sum(step.thinking for step in run),
        any(step.usage for step in run),
    )


def _split(step: Step, size: int) -> Iterator[Step]:
    """Pieces of ``size`` bytes. What the step carries has arrived with the last of them. A pause stays one."""
    if not step.data:
        yield step
    starts = range(0, len(step.data), size)
    for start in starts:
        piece, delay = step.data[start : start + size], step.delay if start == 0 else 0
        yield Step(delay, piece) if start + size < len(step.data) else step._replace(delay=delay, data=piece)
