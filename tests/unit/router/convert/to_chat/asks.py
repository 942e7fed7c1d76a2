"""Requests of anthropic_messages callers, and what is sent to the provider for them."""

import json
from typing import Any

import msgspec

from libs.contracts.profile import Profile
from services.router.convert.terms import Converted, Terms
from services.router.convert.to_chat.request import convert
from tests.fixtures.profiles import GENERIC_CHAT
from tests.fixtures.strict_chat_request import faults

Json = dict[str, Any]

HELLO: Json = {"role": "user", "content": "Hello"}
WEATHER: Json = {"name": "weather", "description": "Of a city", "input_schema": {"type": "object", "properties": {}}}


def variant(profile: Profile, **changes: Any) -> Profile:
    return msgspec.structs.replace(profile, **changes)


def terms(profile: Profile = GENERIC_CHAT, *, cap: int = 1000, streamed: bool = True) -> Terms:
    return Terms(upstream_model="deepseek-v4", output_cap=cap, upstream_stream=streamed, profile=profile)


def converted(profile: Profile = GENERIC_CHAT, *, streamed: bool = True, **fields: Any) -> Converted:
    """Of a request that has every required field."""
    body = {"model": "house-model", "max_tokens": 4096, "messages": [HELLO], **fields}
    return convert(json.dumps(body).encode(), terms(profile, streamed=streamed))


def sent(profile: Profile = GENERIC_CHAT, *, streamed: bool = True, **fields: Any) -> Json:
    """The body that the provider gets. It is a good one, whatever the test looks at."""
    body: Json = json.loads(msgspec.json.encode(converted(profile, streamed=streamed, **fields).body))
    assert faults(body, profile) == []
    return body


def messages(*said: Json, profile: Profile = GENERIC_CHAT, **fields: Any) -> list[Json]:
    """The messages that the provider gets for these."""
    found: list[Json] = sent(profile, messages=list(said), **fields)["messages"]
    return found


def user(*content: Json | str) -> Json:
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": [text(block) if isinstance(block, str) else block for block in content]}


def assistant(*content: Json | str) -> Json:
    return {**user(*content), "role": "assistant"}


def system(*content: Json | str) -> Json:
    return {**user(*content), "role": "system"}


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said, **more}


def thinking(said: str) -> Json:
    return {"type": "thinking", "thinking": said, "signature": "c2ln"}


def use(call_id: str, name: str = "weather", **given: Any) -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str, content: Any = None, **more: Any) -> Json:
    said = {"type": "tool_result", "tool_use_id": call_id, **more}
    return said if content is None else {**said, "content": content}


def image(data: str = "aW1n", media_type: str = "image/png") -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def pdf(**more: Any) -> Json:
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}, **more}


def tool_message(call_id: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}
