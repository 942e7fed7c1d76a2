"""What the assistant said in one turn: thinking first, then text and tool calls. Pure."""

from typing import Any

from libs.contracts.profile import Profile
from services.router.convert.marks import is_foreign
from services.router.convert.replay import Recall, Restored, restored
from services.router.convert.to_messages import content
from services.router.convert.to_messages.calls import Call, Ids, custom_input, input_of, name_for_provider, use
from services.router.convert.to_messages.wire import Function, Message, Part

Block = dict[str, Any]


class Speech:
    """``lost``: there was thinking that cannot go back to the provider."""

    __slots__ = ("blocks", "calls", "lost", "thinking")

    def __init__(self) -> None:
        self.thinking: list[Block] = []
        self.blocks: list[Block] = []
        self.calls: list[Call] = []
        self.lost = False

    def join(self, other: "Speech") -> None:
        """Messages of the assistant that follow each other are one turn, and thinking may only begin it."""
        self.thinking += other.thinking
        self.blocks += other.blocks
        self.calls += other.calls
        self.lost = self.lost or other.lost


class Listener:
    """Hears the assistant's messages of one request."""

    def __init__(self, profile: Profile, recall: Recall) -> None:
        self._profile = profile
        self._recall = recall
        self._ids = Ids(profile.tool_id_chars)

    def hear(self, message: Message, at: str) -> Speech:
        """Raises InvalidRequest."""
        speech, unsigned = Speech(), ""
        for part, raw, where in content.parts(message.content, f"{at}.content"):
            if part.type == "tool_use":
                self._call(speech, part.id, part.name, input_of(part.input))
            elif part.type in ("thinking", "redacted_thinking"):
                unsigned += _foreign(speech, part)
            else:
                speech.blocks += content.spoken(part, raw, self._profile, where)
        speech.blocks += content.text(message.refusal)
        self._calls_of(message, speech)
        self._think(speech, _reasoning(message) or unsigned)
        return speech

    def _calls_of(self, message: Message, speech: Speech) -> None:
        for call in message.tool_calls or ():
            if call.custom is not None:
                self._call(speech, call.id, call.custom.name, custom_input(call.custom.input))
            elif call.function is not None:
                self._call(speech, call.id, call.function.name, input_of(call.function.arguments))
        if message.function_call is not None:
            self._legacy(speech, message.function_call)

    def _call(self, speech: Speech, id_: object, name: object, input_: object) -> None:
        """A call without a name is none: some providers send an empty one beside the real ones."""
        if not isinstance(name, str) or not name:
            return
        said = id_ if isinstance(id_, str) else ""
        call = Call(said, self._ids.of(said), name_for_provider(name))
        speech.calls.append(call)
        speech.blocks.append(use(call, input_))

    def _legacy(self, speech: Speech, function: Function) -> None:
        if not isinstance(function.name, str) or not function.name:
            return
        call = Call("", self._ids.legacy(), name_for_provider(function.name))
        speech.calls.append(call)
        speech.blocks.append(use(call, input_of(function.arguments)))

    def _think(self, speech: Speech, text: str) -> None:
        said = [call.said for call in speech.calls if call.said]
        found = Restored([]) if speech.thinking else restored(text, said, self._recall, self._profile)
        speech.thinking += found.blocks
        speech.lost = found.lost


def _foreign(speech: Speech, part: Part) -> str:
    """Thinking that came as a block of its own: one with its provider's signature stays what it is, of any other the
    text is returned."""
    if part.type == "redacted_thinking":
        if isinstance(part.data, str) and part.data:
            speech.thinking.append({"type": "redacted_thinking", "data": part.data})
        return ""
    text = part.thinking if isinstance(part.thinking, str) else ""
    if is_foreign(part.signature):
        return text
    speech.thinking.append({"type": "thinking", "thinking": text, "signature": part.signature})
    return ""


def _reasoning(message: Message) -> str:
    for said in (message.reasoning_content, message.reasoning):
        if isinstance(said, str) and said:
            return said
    return ""
