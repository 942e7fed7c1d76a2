"""Calls to the simulator's pure part, and a look at what it plans to send."""

from typing import Any, Final

import msgspec

from deploy.demo.provider.caller import Call, respond
from deploy.demo.provider.frames import Stamp
from deploy.demo.provider.plan import Plan
from libs.sse import Event, Reader

CHAT: Final = "/deepseek/chat/completions"
QWEN: Final = "/qwen/v1/chat/completions"
GLM: Final = "/zhipu/chat/completions"
PLAIN: Final = "/somebody/v1/chat/completions"
MESSAGES: Final = "/anthropic/v1/messages"
BOTH: Final = (CHAT, MESSAGES)
HEADERS: Final = {
    "authorization": "Bearer a-key",
    "content-type": "application/json",
    "anthropic-version": "2023-06-01",
}
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "days"],
}
WITH_USAGE: Final[dict[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}
_STAMP: Final = Stamp("0123456789abcdef", 1_800_000_000)


def request_for(path: str, said: str, **fields: Any) -> dict[str, Any]:
    """A small valid request in the protocol of ``path``."""
    needed = {"max_tokens": 500} if path.endswith("/messages") else {}
    return {"model": "a-model", "messages": [{"role": "user", "content": said}], **needed, **fields}


def tools_for(path: str, *names: str) -> list[dict[str, Any]]:
    """Tools of one schema, declared as the protocol of ``path`` has it."""
    if path.endswith("/messages"):
        return [{"name": name, "input_schema": SCHEMA} for name in names]
    return [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]


def plan_of(path: str, body: bytes, headers: dict[str, str] = HEADERS) -> Plan:
    return respond(Call(path, headers, body), _STAMP)[1]


def planned(path: str, said: str = "Hello", **fields: Any) -> Plan:
    return plan_of(path, msgspec.json.encode(request_for(path, said, **fields)))


def sent(plan: Plan) -> bytes:
    return b"".join(step.data for step in plan.steps)


def document(plan: Plan) -> Any:
    return msgspec.json.decode(sent(plan))


def events(plan: Plan) -> list[Event]:
    reader = Reader()
    return [event for step in plan.steps for event in reader.feed(step.data)] + list(reader.finish())


def documents(plan: Plan) -> list[Any]:
    """The events' JSON, without ``[DONE]``."""
    return [msgspec.json.decode(event.data) for event in events(plan) if event.data != b"[DONE]"]
