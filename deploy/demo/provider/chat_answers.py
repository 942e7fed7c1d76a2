"""An answer in the openai_chat protocol: as one body, or as chunks."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from deploy.demo.provider.answers import Answer, Block, Choice
from deploy.demo.provider.ask import Ask
from deploy.demo.provider.cues import Cues
from deploy.demo.provider.frames import Frame, Stamp, frame
from deploy.demo.provider.profiles import Profile
from libs import sse
from libs.pricing import Usage

_FINISH: Final = {"stop": "stop", "stop_sequence": "stop", "length": "length", "tools": "tool_calls"}


def body(ask: Ask, cues: Cues, profile: Profile, answer: Answer, stamp: Stamp) -> bytes:
    """The whole completion."""
    document = _envelope(ask, stamp, "chat.completion")
    document["choices"] = [
        {"index": n, "message": _message(choice, n, stamp), "logprobs": None, "finish_reason": _FINISH[choice.finish]}
        for n, choice in enumerate(answer.choices)
    ]
    if cues.report != "never":
        document["usage"] = _usage(answer.usage, profile)
    return msgspec.json.encode(document)


def stream(ask: Ask, cues: Cues, profile: Profile, answer: Answer, stamp: Stamp) -> list[Frame]:
    """Chunks: per choice a role, its deltas and a finish; then usage if it was asked for; then ``[DONE]``."""
    return list(_Chunks(ask, cues, profile, answer, stamp).all())


class _Chunks:
    """The chunks of one answer."""

    def __init__(self, ask: Ask, cues: Cues, profile: Profile, answer: Answer, stamp: Stamp) -> None:
        self._profile, self._answer, self._stamp = profile, answer, stamp
        self._envelope = _envelope(ask, stamp, "chat.completion.chunk")
        self._report = cues.report
        self._usage = _usage(answer.usage, profile)
        self._trailing = cues.report in ("asked", "every") and ask.wants_usage
        if self._trailing:
            self._envelope["usage"] = self._usage if cues.report == "every" else None

    def all(self) -> Iterator[Frame]:
        for index, choice in enumerate(self._answer.choices):
            yield self._delta(index, self._opening(choice))
            for block in choice.blocks:
                if block.kind != "tool":
                    yield from self._says(index, block)
            for place, block in enumerate(choice.calls()):
                yield from self._calls(index, place, block)
            yield self._finish(index, choice)
        if self._trailing:
            yield frame({**self._envelope, "choices": [], "usage": self._usage}, usage=True)
        yield Frame(sse.encode(b"[DONE]"))

    def _opening(self, choice: Choice) -> dict[str, Any]:
        thinks = bool(choice.blocks) and choice.blocks[0].kind == "thinking"
        if thinks and self._profile.opens_with_reasoning:
            return {"role": "assistant", "content": None, "reasoning_content": ""}
        return {"role": "assistant", "content": ""}

    def _says(self, index: int, block: Block) -> Iterator[Frame]:
        thinks = block.kind == "thinking"
        field, other = ("reasoning_content", "content") if thinks else ("content", "reasoning_content")
        rest = {other: None} if self._profile.null_phases else {}
        for token in block.tokens:
            yield self._delta(index, {field: token, **rest}, tokens=1, thinking=int(thinks))

    def _calls(self, index: int, place: int, block: Block) -> Iterator[Frame]:
        opened = {"index": place, **_call(block, "", _call_id(self._stamp, index, place))}
        yield self._delta(index, {"tool_calls": [opened]})
        for token in block.tokens:
            piece = {"index": place, "function": {"arguments": token}}
            yield self._delta(index, {"tool_calls": [piece]}, tokens=1)

    def _finish(self, index: int, choice: Choice) -> Frame:
        reports = self._report == "finish" and index + 1 == len(self._answer.choices)
        document = {**self._envelope, "choices": [_piece(index, {}, _FINISH[choice.finish])]}
        return frame(document | ({"usage": self._usage} if reports else {}), usage=reports)

    def _delta(self, index: int, delta: dict[str, Any], *, tokens: int = 0, thinking: int = 0) -> Frame:
        document = {**self._envelope, "choices": [_piece(index, delta, None)]}
        return frame(document, tokens=tokens, thinking=thinking)


def _piece(index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _envelope(ask: Ask, stamp: Stamp, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{stamp.nonce}",
        "object": kind,
        "created": stamp.created,
        "model": ask.model,
        "system_fingerprint": "fp_simulator",
    }


def _message(choice: Choice, index: int, stamp: Stamp) -> dict[str, Any]:
    text, thinking, calls = choice.joined("text"), choice.joined("thinking"), choice.calls()
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [
            _call(block, block.text, _call_id(stamp, index, place)) for place, block in enumerate(calls)
        ]
    return message


def _call(block: Block, arguments: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _call_id(stamp: Stamp, index: int, place: int) -> str:
    return f"call_{index}{place:02}_{stamp.nonce}"


def _usage(usage: Usage, profile: Profile) -> dict[str, Any]:
    """``prompt_tokens`` includes what came from the cache; ``completion_tokens`` includes thinking."""
    written = usage.cache_write + usage.cache_write_1h
    details = {"cached_tokens": usage.cache_read}
    if profile.cache_write is not None:
        details[profile.cache_write] = written
    document: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    if profile.hit_and_miss:
        document["prompt_cache_hit_tokens"] = usage.cache_read
        document["prompt_cache_miss_tokens"] = usage.prompt - usage.cache_read
    return document
