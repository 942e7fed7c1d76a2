"""An answer in the openai_chat protocol: as one body, or as chunks."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from deploy.demo.provider import call_shapes
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
        {
            "index": n,
            "message": _message(choice, n, stamp, cues),
            "logprobs": None,
            "finish_reason": cues.ended(_FINISH[choice.finish]),
        }
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
        self._cues, self._report = cues, cues.report
        self._shapes = cues.calls or _usual_shapes(ask, profile)
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
            yield from self._calls(index, choice)
            yield self._finish(index, choice)
        if self._trailing:
            yield frame({**self._envelope, "choices": [], "usage": self._usage}, usage=True)
        if self._cues.done == "on":
            yield Frame(sse.encode(b"[DONE]"))

    def _opening(self, choice: Choice) -> dict[str, Any]:
        thinks = bool(choice.blocks) and choice.blocks[0].kind == "thinking"
        if thinks and self._profile.opens_with_reasoning:
            return {"role": "assistant", "content": None, _thinking_field(self._cues): ""}
        return {"role": "assistant", "content": ""}

    def _says(self, index: int, block: Block) -> Iterator[Frame]:
        thinks = block.kind == "thinking"
        reasoning = _thinking_field(self._cues)
        field, other = (reasoning, "content") if thinks else ("content", reasoning)
        rest = {other: None} if self._profile.null_phases else {}
        for token in block.tokens:
            yield self._delta(index, {field: token, **rest}, tokens=1, thinking=int(thinks))

    def _calls(self, index: int, choice: Choice) -> Iterator[Frame]:
        calls = list(zip(_call_ids(choice, index, self._stamp, self._shapes), choice.calls(), strict=True))
        for delta in call_shapes.deltas(calls, self._shapes):
            yield self._delta(index, {"tool_calls": delta.calls}, tokens=delta.tokens)

    def _finish(self, index: int, choice: Choice) -> Frame:
        reports = self._report == "finish" and index + 1 == len(self._answer.choices)
        finish = self._cues.ended(_FINISH[choice.finish])
        document = {**self._envelope, "choices": [_piece(index, {}, finish)]}
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


def _usual_shapes(ask: Ask, profile: Profile) -> tuple[str, ...]:
    """Some providers stream arguments only to those who ask for it."""
    return ("whole",) if profile.tool_stream and not ask.streams_calls else ()


def _thinking_field(cues: Cues) -> str:
    return "reasoning" if cues.reasoning == "alias" else "reasoning_content"


def _message(choice: Choice, index: int, stamp: Stamp, cues: Cues) -> dict[str, Any]:
    text, thinking, calls = choice.joined("text"), choice.joined("thinking"), choice.calls()
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thinking:
        message[_thinking_field(cues)] = thinking
    if calls:
        ids = _call_ids(choice, index, stamp, cues.calls)
        message["tool_calls"] = [_call(block, call_id) for call_id, block in zip(ids, calls, strict=True)]
    return message


def _call(block: Block, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": block.name, "arguments": block.text}}


def _call_ids(choice: Choice, index: int, stamp: Stamp, shapes: Sequence[str]) -> list[str]:
    """One for each call of the choice. Some servers give the same to all."""
    places = [0 if "dupid" in shapes else place for place, _ in enumerate(choice.calls())]
    return [f"call_{index}{place:02}_{stamp.nonce}" for place in places]


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
