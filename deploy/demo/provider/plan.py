"""From a request to everything that will be sent: which bytes, after which pauses, and how the connection ends."""

from typing import Final, Literal

import msgspec

from deploy.demo.provider import chat_answers, messages_answers
from deploy.demo.provider.answers import Answer, compose
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.cues import BEFORE_HEADERS, BadCue, Cues
from deploy.demo.provider.frames import Frame, Stamp
from deploy.demo.provider.profiles import Profile
from deploy.demo.provider.refusals import Refusal, body_of
from deploy.demo.provider.steps import Step, generated, line_ended, paced, regrouped
from libs import sse
from libs.pricing import Usage
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol

JSON: Final = "application/json"
SSE: Final = "text/event-stream; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
_PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"
)

Ending = Literal["done", "refused", "garbage", "error", "cut", "end", "hang"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One answer on the wire. ``wait`` is before the headers; ``length`` is the promised size, None when chunked.

    ``usage`` is what the whole answer would be billed at, None when nothing is billed; with ``runs_on`` it is billed
    also when the caller does not stay for it.
    """

    status: int
    type: str
    ending: Ending
    steps: tuple[Step, ...] = ()
    length: int | None = None
    wait: float = 0
    silent: bool = False
    retry_after: int | None = None
    usage: Usage | None = None
    runs_on: bool = False

    @property
    def at_once(self) -> bool:
        """The whole answer is one piece that is ready with its headers, and nothing happens after it."""
        if self.ending not in ("done", "refused", "garbage") or len(self.steps) != 1:
            return False
        return self.length == len(self.steps[0].data) and not self.steps[0].delay


def refuse(refusal: Refusal, protocol: Protocol, profile: Profile, stamp: Stamp, wait: float = 0) -> Plan:
    """The answer to a request that gets none."""
    body = body_of(refusal, protocol, profile, f"req_{stamp.nonce}")
    return Plan(
        status=refusal.status,
        type=JSON,
        ending="refused",
        steps=(Step(0, body),),
        length=len(body),
        wait=wait,
        retry_after=refusal.retry_after,
    )


def answer(ask: Ask, cues: Cues, profile: Profile, stamp: Stamp) -> Plan:
    """The answer to a valid request. Raises BadCue, and the Refusal that a cue asks for."""
    _check(ask, cues, profile)
    if cues.garbage is not None or cues.body in ("error200", "empty"):
        return _no_answer(ask, cues, profile, stamp)
    composed = compose(ask, cues)
    if ask.stream and cues.body != "whole":
        return _stream(ask, cues, profile, composed, stamp)
    return _plain(ask, cues, profile, composed, stamp)


def _check(ask: Ask, cues: Cues, profile: Profile) -> None:
    if cues.status is not None:
        raise Refusal(cues.status, cues.message, code=cues.code, retry_after=cues.retry_after)
    if cues.error_after is not None and not ask.stream:
        raise BadCue("error_after is for streams; a plain answer has status=")
    if not ask.stream and (cues.start or cues.done == "off" or cues.events == "off"):
        raise BadCue("start, done and events are for streams: [sim stream: …]")
    if ask.protocol == OPENAI_CHAT and cues.events == "off":
        raise BadCue("openai_chat has no event: lines")
    if ask.protocol == ANTHROPIC_MESSAGES and (cues.calls or cues.reasoning == "alias"):
        raise BadCue("calls and reasoning are habits of openai_chat")
    if ask.protocol == OPENAI_CHAT and cues.figures.cache_write_1h is not None:
        raise BadCue("openai_chat has no figure for cache_write_1h")
    if ask.protocol == OPENAI_CHAT and cues.figures.cache_write is not None and profile.cache_write is None:
        raise BadCue(f"{ask.provider!r} has no figure for cache_write")


def count(ask: Ask, cues: Cues) -> Plan:
    """The answer to a question for the size of a request. Raises the Refusal that a cue asks for."""
    if cues.status is not None:
        raise Refusal(cues.status, cues.message, code=cues.code, retry_after=cues.retry_after)
    body = msgspec.json.encode({"input_tokens": ask.sizes.total})
    return Plan(status=200, type=JSON, ending="done", steps=(Step(0, body),), length=len(body), wait=cues.delay)


def _no_answer(ask: Ask, cues: Cues, profile: Profile, stamp: Stamp) -> Plan:
    """Status 200 and nothing that a client could use."""
    kind, body = JSON, b""
    if cues.garbage == "html":
        kind, body = HTML, _PAGE
    elif cues.garbage == "json":
        kind, body = (SSE, b'data: {"id": "chat\n\n') if ask.stream else (JSON, b'{"id": "chat')
    elif cues.body == "error200":
        body = body_of(Refusal(500), ask.protocol, profile, f"req_{stamp.nonce}")
    return Plan(status=200, type=kind, ending="garbage", steps=(Step(0, body),), length=len(body), wait=cues.delay)


def _plain(ask: Ask, cues: Cues, profile: Profile, composed: Answer, stamp: Stamp) -> Plan:
    """One body, sent when its last token is there."""
    if ask.protocol == ANTHROPIC_MESSAGES:
        body = messages_answers.body(ask, cues, composed, stamp)
    else:
        body = chat_answers.body(ask, cues, profile, composed, stamp)
    ending, limit = _ending(cues)
    sent = body if limit is None else body[: max(limit, 0)]
    usage, reported = composed.usage, len(sent) == len(body) and cues.report != "never"
    seconds = cues.first + cues.gap * max(usage.output - 1, 0)
    steps = generated(Frame(sent, usage.output, usage.reasoning, reported), seconds, cues.comments)
    return Plan(
        status=200,
        type=JSON,
        ending=ending,
        steps=tuple(regrouped(steps, cues.chunking)),
        length=None if ending == "end" else cues.comments + len(body),
        wait=cues.delay if cues.comments else cues.delay + seconds,
        silent=limit == BEFORE_HEADERS,
        usage=None if limit == BEFORE_HEADERS else usage,
        runs_on=profile.runs_on and ending == "done",
    )


def _stream(ask: Ask, cues: Cues, profile: Profile, composed: Answer, stamp: Stamp) -> Plan:
    if ask.protocol == ANTHROPIC_MESSAGES:
        frames = messages_answers.stream(ask, cues, composed, stamp)
    else:
        frames = chat_answers.stream(ask, cues, profile, composed, stamp)
    ending, limit = _ending(cues)
    if limit is not None:
        frames = frames[: max(limit, 0)]
    if ending == "error":
        frames.append(_error(ask, profile, stamp))
    steps = line_ended(paced(frames, cues.start, cues.first, cues.gap, cues.comments), cues.lines)
    return Plan(
        status=200,
        type=SSE,
        ending=ending,
        steps=tuple(regrouped(steps, cues.chunking)),
        wait=cues.delay,
        silent=limit == BEFORE_HEADERS,
        usage=None if limit == BEFORE_HEADERS else composed.usage,
        runs_on=profile.runs_on and ending == "done",
    )


def _ending(cues: Cues) -> tuple[Ending, int | None]:
    """How the answer ends, and after how much of it; None is all."""
    endings: tuple[tuple[Ending, int | None], ...] = (
        ("cut", cues.cut),
        ("end", cues.end),
        ("error", cues.error_after),
        ("hang", cues.hang),
    )
    chosen = [(ending, limit) for ending, limit in endings if limit is not None]
    if len(chosen) > 1:
        raise BadCue(f"an answer ends in one way, not by {' and '.join(ending for ending, _ in chosen)}")
    return chosen[0] if chosen else ("done", None)


def _error(ask: Ask, profile: Profile, stamp: Stamp) -> Frame:
    """The event that tells a client that the rest will not come."""
    anthropic = ask.protocol == ANTHROPIC_MESSAGES
    body = body_of(Refusal(529 if anthropic else 503), ask.protocol, profile, f"req_{stamp.nonce}")
    return Frame(sse.encode(body, "error" if anthropic else ""))
