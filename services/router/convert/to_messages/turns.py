"""The messages as turns that alternate, and every call answered in the turn after it. Pure."""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.replay import Recall
from services.router.convert.to_messages import content
from services.router.convert.to_messages.calls import Call, name_for_provider
from services.router.convert.to_messages.fields import decoded
from services.router.convert.to_messages.speech import Listener, Speech
from services.router.convert.to_messages.wire import NOTHING, Content, Message
from services.router.convert.to_messages.wire import content as content_decoder

Block = dict[str, Any]
START: Final = "(conversation start)"


class Step(msgspec.Struct, frozen=True):
    """One turn of the assistant. ``lost``: it had thinking that cannot go back to the provider."""

    calls: bool
    thinks: bool
    lost: bool


class History(msgspec.Struct, frozen=True):
    system: list[Block]
    messages: list[Block]
    steps: list[Step]


def read(messages: list[Message], profile: Profile, recall: Recall) -> History:
    """Raises InvalidRequest that names the message."""
    turns = Turns(profile, recall)
    for number, message in enumerate(messages):
        turns.take(message, f"messages[{number}]")
    return turns.finish()


class Turns:
    """The assistant's turn that is open, and what the user has said since."""

    def __init__(self, profile: Profile, recall: Recall) -> None:
        self._profile = profile
        self._listener = Listener(profile, recall)
        self._history = History([], [], [])
        self._begun = False
        self._speech = Speech()
        self._said: list[Block] = []

    def take(self, message: Message, at: str) -> None:
        if message.role in ("system", "developer"):
            self._instruct(content.texts(message.content, self._profile, f"{at}.content"))
            return
        self._begun = True
        if message.role == "user":
            self._hear_user(message, at)
        elif message.role == "assistant":
            self._hear_assistant(message, at)
        elif message.role in ("tool", "function"):
            self._answer(self._call_of(message.tool_call_id, message.name), message.tool_call_id, message.content, at)
        else:
            raise InvalidRequest(f"{at}.role {message.role[:60]!r} is not known.", param=f"{at}.role")

    def finish(self) -> History:
        self._close()
        messages = self._history.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, {"role": "user", "content": content.text(START)})
        return self._history

    def _instruct(self, blocks: list[Block]) -> None:
        if not self._begun or self._profile.mid_system == "hoist":
            self._history.system.extend(blocks)
        else:  # also where the role is known: only a beta of the caller's own admits it, and an OpenAI caller has none
            self._said += _reminder(blocks)

    def _hear_user(self, message: Message, at: str) -> None:
        for part, raw, where in content.parts(message.content, f"{at}.content"):
            if part.type == "tool_result":
                inner = decoded(part.content, content_decoder, f"{where}.content") if part.content != NOTHING else None
                call = self._call_of(part.tool_use_id, None)
                self._answer(call, part.tool_use_id, inner, where, failed=part.is_error is True)
            else:
                self._said += content.of_part(part, raw, self._profile, where)

    def _hear_assistant(self, message: Message, at: str) -> None:
        speech = self._listener.hear(message, at)
        if not speech.blocks:
            return  # a turn may not be empty, nor end in thinking
        if self._said or any(call.result for call in self._speech.calls):
            self._close()
        self._speech.join(speech)

    def _call_of(self, said: object, name: object) -> Call | None:
        """The call of the last turn that a result is for. Without an id it is the next one, of that name if it has one.
        A second result for one call replaces the first."""
        calls = self._speech.calls
        if said and isinstance(said, str):
            calls = [call for call in calls if call.said == said]
            return next((call for call in calls if call.result is None), calls[-1] if calls else None)
        wanted = name_for_provider(name) if isinstance(name, str) and name else None
        waiting = (call for call in calls if call.result is None and wanted in (None, call.name))
        return next(waiting, None)

    def _answer(self, call: Call | None, said: object, of: Content, at: str, *, failed: bool = False) -> None:
        blocks = content.blocks(of, self._profile, f"{at}.content")
        if call is None:
            called = said if isinstance(said, str) else "no id"
            self._said += [*content.text(f"Tool result ({called}):"), *blocks]
        else:
            call.result = _result(call.id, of, blocks, failed=failed)

    def _close(self) -> None:
        """Both open turns are over."""
        speech, messages = self._speech, self._history.messages
        if speech.blocks:
            messages.append({"role": "assistant", "content": speech.thinking + speech.blocks})
            self._history.steps.append(Step(bool(speech.calls), bool(speech.thinking), speech.lost))
        said = [call.answered() for call in speech.calls] + self._said
        if said:
            messages.append({"role": "user", "content": said})
        self._speech, self._said = Speech(), []


def _result(call_id: str, of: Content, blocks: list[Block], *, failed: bool) -> Block:
    """Text stays text. One without content has no `content`: Anthropic refuses empty text."""
    result: Block = {"type": "tool_result", "tool_use_id": call_id}
    for block in blocks:
        if "cache_control" in block:
            result["cache_control"] = block.pop("cache_control")
    if blocks:
        result["content"] = of if isinstance(of, str) else blocks
    return {**result, "is_error": True} if failed else result


def _reminder(blocks: list[Block]) -> list[Block]:
    if not blocks:
        return []
    said = "\n\n".join(block["text"] for block in blocks)
    return content.text(f"<system-reminder>\n{said}\n</system-reminder>")
