"""The caller's messages as turns: merged, results with their calls, system messages where the provider takes them.
Pure."""

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Raw

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.names import short
from services.router.convert.to_chat import content, results, system, wire
from services.router.convert.to_chat.sides import Asked, Call, Said, Side, Sides
from services.router.convert.to_chat.system import Prompt
from services.router.convert.to_chat.wire import Block, Turn

ROLES: Final = ("user", "assistant", "system")
CALL: Final = "call_"


class Turns:
    """Takes messages in order. What the system says before the first turn, and later where the profile hoists it, is
    added to ``prompt``."""

    def __init__(self, profile: Profile, prompt: Prompt) -> None:
        self._profile = profile
        self._text_only = msgspec.structs.replace(profile, vision=False, file_parts=False, cache_control=False)
        self._prompt = prompt
        self._sides = Sides()
        self._takers = {"user": self._ask, "assistant": self._say, "system": self._instruct}

    def take(self, turn: Turn) -> None:
        """Raises InvalidRequest for a role that the protocol does not have."""
        taker = self._takers.get(turn.role) if isinstance(turn.role, str) else None
        if taker is None:
            raise InvalidRequest(f"messages: role must be one of {', '.join(ROLES)}", param="messages")
        taker(turn)

    def sides(self) -> list[Side]:
        return self._sides.all()

    def _ask(self, turn: Turn) -> None:
        side = self._sides.asked()
        for block, raw in wire.blocks(turn.content, "messages"):
            if block.type == "tool_result":
                self._answer(side, block)
            else:
                side.pieces += content.parts(block, raw, self._profile)

    def _answer(self, side: Asked, block: Block) -> None:
        """Of two results for one call the later counts (1rgs/claude-code-proxy#86)."""
        call_id = _required(block.tool_use_id, "tool_use_id")
        found = results.result(block, self._profile)
        if call_id in side.calls:
            side.answers[call_id] = found
        else:
            side.pieces += results.orphan(call_id, found)

    def _say(self, turn: Turn) -> None:
        side = self._sides.said()
        for block, raw in wire.blocks(turn.content, "messages"):
            if block.type == "tool_use":
                self._call(side, block)
            elif block.type == "thinking":
                side.thoughts.append(content.spoken(block.thinking))
            else:
                side.texts += [part["text"] for part in content.parts(block, raw, self._text_only)]

    def _call(self, side: Said, block: Block) -> None:
        """A client that saw a block's end twice stores the call twice (BerriAI/litellm#37273): it counts once."""
        call_id = _required(block.id, "id")
        function = {"name": short(content.spoken(block.name)), "arguments": _arguments(block.input)}
        call: Call = {"id": self._sent(call_id), "type": "function", "function": function}
        side.calls.setdefault(call_id, call)

    def _sent(self, call_id: str) -> str:
        """The caller's own id, verbatim, unless it is too long for the provider."""
        if len(call_id) <= self._profile.tool_id_chars:
            return call_id
        return (CALL + hashlib.sha256(call_id.encode()).hexdigest())[: self._profile.tool_id_chars]

    def _instruct(self, turn: Turn) -> None:
        """Never between calls and their results: those come first in the user's turn, whatever else is in it."""
        text = system.joined(system.said(turn.content, self._text_only))
        if not text:
            return
        if not self._sides or self._profile.mid_system == "hoist":
            self._prompt.add(text)
        elif self._profile.mid_system == "keep":
            self._sides.asked().pieces.append({"role": "system", "content": text})
        else:
            self._sides.asked().pieces += content.text(f"<system-reminder>\n{text}\n</system-reminder>")


def _required(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"messages: {field}: Field required", param="messages")
    return value


def _arguments(given: Raw) -> str:
    """Compact JSON of an object: that is what every provider takes for arguments."""
    if not wire.given(given):
        return "{}"
    said = wire.compact(given)
    return said if said.startswith("{") else f'{{"value":{said}}}'
