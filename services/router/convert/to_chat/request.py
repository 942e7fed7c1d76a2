"""The whole request: which field becomes which, and which were left out. Pure."""

import hashlib
import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.convert.names import Names
from services.router.convert.terms import Converted, Terms
from services.router.convert.to_chat import form, sampling, system, thinking, tools, wire
from services.router.convert.to_chat.messages import Message, messages
from services.router.convert.to_chat.system import Prompt
from services.router.convert.to_chat.turns import Turns

T = TypeVar("T")
Fields = dict[str, Raw]

REFUSED: Final = ("mcp_servers", "container", "thread")
THREAD_REFUSED: Final = {"details": {"error_code": "thread_unsupported_request"}}
READ: Final = frozenset(
    {"model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "thinking", "output_config"}
    | {"output_format", "metadata", *REFUSED, *sampling.KNOWN}
)
CONFIG: Final = frozenset({"effort", "format"})
RENAMED: Final = {
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "enable_thinking": "thinking",
    "thinking_budget": "thinking",
}
SPEAKABLE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
MOST_NAMED: Final = 32


def convert(body: bytes, terms: Terms) -> Converted:
    """Raises InvalidRequest for what the protocol does not allow, UnsupportedParameter for what this model cannot."""
    fields = wire.body(body)
    _check_cap(fields)
    _refuse(fields)
    return _Request(fields, terms).converted()


class _Request:
    """One request on its way: ``out`` is what is sent, ``dropped`` what is not, by the caller's names."""

    def __init__(self, fields: Fields, terms: Terms) -> None:
        self.fields = fields
        self.terms = terms
        self.profile = terms.profile
        self.out: dict[str, Any] = {}
        config = _value(fields, "output_config", wire.optional_fields)
        self.config = config or {}
        self.dropped = _unread(fields, READ) + _unread(self.config, CONFIG, "output_config.")

    def converted(self) -> Converted:
        self._frame()
        wish, thinks = self._think()
        names = self._arm(thinks=thinks)
        self._sample()
        self._identify()
        self._withhold()
        stops = tuple(self.out.get("stop", ()))
        return Converted(
            body=self.out, dropped=self._named(), names=names, stops=stops, thinking_hidden=wish.state == "off"
        )

    def _frame(self) -> None:
        """The system prompt comes last, because turns and the answer's form may add to it."""
        prompt = system.prompt(self.fields.get("system"), self.profile)
        said = _conversation(self.fields.get("messages"), prompt, self.terms)
        shape = self._form(prompt)
        self.out = {
            "model": self.terms.upstream_model,
            "messages": [*prompt.message(), *said],
            self.profile.cap_field: self.terms.output_cap,
            "stream": self.terms.upstream_stream,
            **shape,
        }
        if self.terms.upstream_stream:
            self.out["stream_options"] = {"include_usage": True}

    def _form(self, prompt: Prompt) -> dict[str, Any]:
        """`output_format` is the older name of `output_config.format`."""
        asked = {"output_config.format": self.config.get("format"), "output_format": self.fields.get("output_format")}
        for path, raw in asked.items():
            if raw is None or not wire.given(raw):
                continue
            shape = form.response_format(raw, prompt, self.profile, path.partition(".")[0])
            if shape is not None:
                return shape
            self.dropped.append(path)
        return {}

    def _think(self) -> tuple[thinking.Wish, bool]:
        wish = thinking.wish(
            _value(self.fields, "thinking", wire.objects), _value(self.config, "effort", wire.anything)
        )
        found = thinking.switch(wish, self.profile)
        self.out |= found.fields
        self.dropped += found.dropped
        return wish, found.thinks

    def _arm(self, *, thinks: bool) -> Names:
        found = tools.tooling(self.fields.get("tools"), self.fields.get("tool_choice"), self.profile, thinks=thinks)
        self.out |= found.fields
        self.dropped += found.dropped
        if found.names and self.profile.tool_stream and self.terms.upstream_stream:
            self.out["tool_stream"] = True
        return Names(found.names)

    def _sample(self) -> None:
        found = sampling.sampling(self.fields, self.profile)
        self.out |= found.fields
        self.dropped += found.dropped

    def _identify(self) -> None:
        """A user id is the caller's own business, and at most its hash goes further."""
        user = (_value(self.fields, "metadata", wire.objects) or {}).get("user_id")
        if not isinstance(user, str):
            return
        if self.profile.user_field:
            self.out["user"] = hashlib.sha256(user.encode()).hexdigest()
        else:
            self.dropped.append("metadata.user_id")

    def _withhold(self) -> None:
        for name in self.profile.drop_fields:
            said = RENAMED.get(name, name)
            if self.out.pop(name, None) is not None and said.partition(".")[0] in self.fields:
                self.dropped.append(said)

    def _named(self) -> tuple[str, ...]:
        """Fit for a header: names that hold anything but plain signs are the caller's own, and are not repeated."""
        place = {name: at for at, name in enumerate(self.fields)}
        named = [path for path in dict.fromkeys(self.dropped) if SPEAKABLE.fullmatch(path)]
        named.sort(key=lambda path: place.get(path, place.get(path.partition(".")[0], 0)))
        return tuple(named[:MOST_NAMED])


def _conversation(raw: Raw | None, prompt: Prompt, terms: Terms) -> list[Message]:
    if raw is None:
        raise InvalidRequest("messages: Field required", param="messages")
    turns = Turns(terms.profile, prompt)
    for turn in wire.read(wire.turns, raw, "messages"):
        turns.take(turn)
    said = messages(turns.sides(), terms.profile)
    if not said:
        raise InvalidRequest("messages: at least one message with content is required", param="messages")
    return said


def _check_cap(fields: Fields) -> None:
    """The number itself was weighed when the money was held: `output_cap` is what is left of it."""
    cap = _value(fields, "max_tokens", wire.anything)
    if not isinstance(cap, int) or isinstance(cap, bool):
        raise InvalidRequest("max_tokens: Field required", param="max_tokens")
    if cap == 0:
        raise UnsupportedParameter("max_tokens: 0 is not supported by this model", param="max_tokens")
    if cap < 0:
        raise InvalidRequest("max_tokens: Input should be greater than 0", param="max_tokens")


def _refuse(fields: Fields) -> None:
    """`thread`: Anthropic's tool runner asks for one and falls back on an answer with exactly this detail."""
    for name in REFUSED:
        raw = fields.get(name)
        if raw is None or bytes(raw).translate(None, b" \t\r\n") in (b"null", b"[]"):
            continue
        extra = THREAD_REFUSED if name == "thread" else None
        raise UnsupportedParameter(f"{name} is not supported by this model", param=name, extra=extra)


def _unread(fields: Fields, known: frozenset[str], above: str = "") -> list[str]:
    return [above + name for name, raw in fields.items() if name not in known and wire.given(raw)]


def _value(fields: Fields, name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    raw = fields.get(name)
    return None if raw is None else wire.read(decoder, raw, name)
