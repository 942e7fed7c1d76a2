"""The rules of openai_chat for messages: who speaks when, in which parts, and that every tool call is answered."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from deploy.demo.provider.chat_tools import is_name, name_refused
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ChatRules, fits

Message = dict[str, Any]
_IMAGES: Final = ("http://", "https://", "data:image/")


def check(messages: Sequence[Message], model: str, rules: ChatRules, *, thinking: bool) -> None:
    """Raises Refusal."""
    head = True
    for n, message in enumerate(messages):
        place, role = f"messages[{n}]", message["role"]
        if role not in rules.roles:
            roles = ", ".join(f"'{known}'" for known in rules.roles)
            raise _refused(place, "role", rules.say("role", place=place, role=role, roles=roles))
        head = head and role in ("system", "developer")
        if role == "system" and not head and not rules.mid_system:
            raise _refused(place, "role", rules.say("mid_system"))
        _Turn(place, message, model, rules, thinking=thinking).check()
    if rules.needs_user and all(message["role"] != "user" for message in messages):
        raise Refusal(400, "The messages must contain a message of the role 'user'.", param="messages")
    for place, wanted, answers in _answered(messages):
        _check_answers(place, wanted, answers, rules)


class _Turn:
    """One message."""

    def __init__(self, place: str, message: Message, model: str, rules: ChatRules, *, thinking: bool) -> None:
        self._place, self._message, self._model = place, message, model
        self._rules, self._thinking = rules, thinking
        self._role, self._content = message["role"], message.get("content")

    def check(self) -> None:
        if isinstance(self._content, list):
            self._check_parts(self._content)
        if self._role == "assistant":
            self._check_assistant()
        elif self._message.get("tool_calls") is not None:
            raise _refused(self._place, "tool_calls", "Only messages with role 'assistant' may have 'tool_calls'.")
        elif self._content is None or (self._role == "user" and not self._content):
            raise Refusal(400, f"A message with role '{self._role}' needs content.", param="messages")
        if self._role == "tool" and not self._message.get("tool_call_id"):
            raise Refusal(400, "A message with role 'tool' needs a tool_call_id.", param="messages")

    def _check_parts(self, parts: list[Message]) -> None:
        if not parts:
            raise _refused(self._place, "content", "Invalid 'content': empty array.")
        for part in parts:
            self._check_part(part)
        if self._rules.string_content and all(part["type"] == "text" for part in parts):
            raise _refused(self._place, "content", self._rules.say("sequence", place=self._place))

    def _check_part(self, part: Message) -> None:
        known = self._rules.parts if self._role == "user" else ("text", *(["refusal"] * (self._role == "assistant")))
        kind = part.get("type")
        if kind not in known:
            told = self._rules.say("part", place=self._place, part=kind, parts=", ".join(f"'{k}'" for k in known))
            raise Refusal(400, told, param="messages")
        if kind == "text" and not isinstance(part.get("text"), str):
            raise _refused(self._place, "content", "Invalid content part: expected a string as its 'text'.")
        if kind == "image_url":
            self._check_image(part.get("image_url"))
        if "cache_control" in part and not self._rules.cache_control:
            raise _refused(self._place, "content", "Unknown parameter: 'cache_control'.")

    def _check_image(self, image: Any) -> None:
        if not fits(self._rules.vision, self._model):
            raise Refusal(400, self._rules.say("vision"), param="messages")
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not url.startswith(_IMAGES):
            raise _refused(self._place, "content", "Invalid image_url: expected a 'url' or a data URL of an image.")

    def _check_assistant(self) -> None:
        calls = self._message.get("tool_calls")
        if calls is None:
            if not self._content:
                told = "Invalid assistant message: content or tool_calls must be set"
                raise Refusal(400, told, param="messages")
            return
        if not calls:
            raise _refused(self._place, "tool_calls", "[] is too short - 'tool_calls'")
        for n, call in enumerate(calls):
            _check_call(f"{self._place}.tool_calls[{n}]", call, self._rules)
        if self._rules.replay and self._thinking and not isinstance(self._message.get("reasoning_content"), str):
            raise Refusal(400, self._rules.say("replay"), param="messages")


def _check_call(place: str, call: Message, rules: ChatRules) -> None:
    call_id, function = call.get("id"), call.get("function")
    if not isinstance(call_id, str) or not 0 < len(call_id) <= rules.tool_id_chars:
        told = f"Expected a string with 1 to {rules.tool_id_chars} characters"
        raise Refusal(400, f"Invalid '{place}.id': {told}.", param=f"{place}.id")
    if call.get("type") != "function" or not isinstance(function, dict):
        raise Refusal(400, f"Invalid value for '{place}': expected a call of type 'function'.", param=place)
    if not is_name(function.get("name")):
        raise name_refused(f"{place}.function.name")
    if not _is_object(function.get("arguments")):
        told = "function.arguments must be a string that holds a JSON object"
        raise Refusal(400, f"Invalid '{place}': {told}.", param=f"{place}.function.arguments")


def _is_object(arguments: Any) -> bool:
    if not isinstance(arguments, str):
        return False
    try:
        return isinstance(msgspec.json.decode(arguments), dict)
    except msgspec.DecodeError:
        return False


def _answered(messages: Sequence[Message]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every message but the tools' own, with the ids of its calls and those of the tool messages right after it."""
    place = "messages"
    wanted: list[str] = []
    answers: list[str] = []
    for n, message in enumerate(messages):
        if message["role"] == "tool":
            answers.append(message["tool_call_id"])
        else:
            yield place, wanted, answers
            place, wanted, answers = f"messages[{n}]", [call["id"] for call in message.get("tool_calls") or ()], []
    yield place, wanted, answers


def _check_answers(place: str, wanted: list[str], answers: list[str], rules: ChatRules) -> None:
    for ids in (wanted, answers):
        if len(set(ids)) < len(ids):
            told = "Duplicate value for 'tool_call_id'"
            raise Refusal(400, f"{told} of '{max(ids, key=ids.count)}' in message or after it.", param=place)
    if set(answers) - set(wanted):
        raise Refusal(400, rules.say("orphan"), param=place)
    if missing := [call_id for call_id in wanted if call_id not in answers]:
        raise Refusal(400, rules.say("unanswered", ids=", ".join(missing)), param=place)


def _refused(place: str, field: str, told: str) -> Refusal:
    return Refusal(400, told, param=f"{place}.{field}")
