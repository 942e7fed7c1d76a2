"""Tool calls and what came of them: ids that the provider takes, and each call with its one result. Pure."""

import base64
import hashlib
import re
from typing import Any, Final

import msgspec

from services.router.convert.names import short
from services.router.convert.to_messages.fields import UNREADABLE
from services.router.convert.to_messages.wire import NOTHING

Block = dict[str, Any]
LONGEST_NAME: Final = 128
LEGAL_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
NO_RESULT: Final = "No result: the call was interrupted."
_text = msgspec.json.Decoder(str)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)


class Call:
    """One call: ``said`` is its id as the caller knows it, "" for a legacy `function_call`."""

    __slots__ = ("id", "name", "result", "said")

    def __init__(self, said: str, id_: str, name: str) -> None:
        self.said, self.id, self.name = said, id_, name
        self.result: Block | None = None

    def answered(self) -> Block:
        """Its result. Every call needs one, also where the caller has none."""
        if self.result is not None:
            return self.result
        return {"type": "tool_result", "tool_use_id": self.id, "content": NO_RESULT, "is_error": True}


class Ids:
    """The calls' ids in one request: legal, and no two the same. Some providers count anew in every turn."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._given: set[str] = set()

    def of(self, said: str) -> str:
        legal = said if len(said) <= self._longest and LEGAL_ID.fullmatch(said) else _hashed(said)
        given = _hashed(f"{len(self._given)}:{said}") if legal in self._given else legal
        self._given.add(given)
        return given

    def legacy(self) -> str:
        """For a `function_call`, which has none."""
        return self.of(f"call_fn_{len(self._given)}")


def use(call: Call, input_: object) -> Block:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": input_}


def name_for_provider(name: str) -> str:
    return short(name, LONGEST_NAME)


def input_of(arguments: msgspec.Raw) -> object:
    """The input for a call's arguments, which are JSON in a string; some callers send the object itself."""
    if not memoryview(arguments).nbytes:
        return {}
    text = _as_text(arguments)
    if text is None:
        return _value(arguments)
    if not text or text.isspace():
        return {}
    try:
        return _value(_any.decode(text))
    except UNREADABLE:
        return {"_raw": text}


def custom_input(said: msgspec.Raw) -> object:
    """A custom tool takes text, which has to stand in an object."""
    text = _as_text(said) if said is not NOTHING else ""
    return {"input": text or ""}


def _as_text(raw: msgspec.Raw) -> str | None:
    """None for what is no string."""
    try:
        return _text.decode(raw)
    except UNREADABLE:
        return None


def _value(raw: msgspec.Raw) -> object:
    """JSON as an input, which has to be an object. It keeps its own bytes."""
    if bytes(raw).strip() == b"null":
        return {}
    try:
        _object.decode(raw)
    except UNREADABLE:
        return {"value": raw}
    return raw


def _hashed(said: str) -> str:
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
    return "t_" + base64.b32encode(digest).decode("ascii")[:24]
