"""The form that an answer must have: a JSON schema. Pure."""

from typing import Any, Final

from msgspec import Raw

from libs.contracts.profile import Profile
from services.router.convert.to_chat import wire
from services.router.convert.to_chat.system import Prompt

NAME: Final = "output"
SENTENCE: Final = "Answer with one JSON object and nothing else. It must follow this JSON Schema:\n"


def response_format(given: Raw, prompt: Prompt, profile: Profile, field: str) -> dict[str, Any] | None:
    """The fields for it; None for a form that nobody knows. Never an error: Claude Code asks for a schema whenever it
    starts. Where the provider cannot hold the model to it, ``prompt`` asks the model."""
    form = wire.read(wire.fields, given, field)
    if bytes(form.get("type", b"")) != b'"json_schema"' or not wire.given(form.get("schema")):
        return None
    schema = form["schema"]
    if "json_schema" in profile.formats:
        asked = {"name": NAME, "schema": schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": asked}}
    prompt.add(SENTENCE + wire.compact(schema))
    return {"response_format": {"type": "json_object"}} if "json_object" in profile.formats else {}
