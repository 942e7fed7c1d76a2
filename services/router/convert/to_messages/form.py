"""The form that the answer shall have: a JSON schema where the provider takes one, else a sentence. Pure."""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from services.router.convert.to_messages.fields import Fields
from services.router.convert.to_messages.wire import NOTHING

JSON_ONLY: Final = "Answer with one JSON object only."
BY_SCHEMA: Final = "Answer with one JSON object only. It must be valid against this JSON schema:\n"


class Schema(msgspec.Struct):
    schema: msgspec.Raw = NOTHING


class ResponseFormat(msgspec.Struct):
    type: Any = None
    json_schema: Schema | None = None


class Form(msgspec.Struct, frozen=True):
    """``format`` is a field of `output_config`, ``sentence`` belongs into the system prompt."""

    format: dict[str, Any] | None = None
    sentence: str = ""


_response_format = msgspec.json.Decoder(ResponseFormat)


def read(fields: Fields, profile: Profile) -> Form:
    """Raises InvalidRequest."""
    said = fields.read("response_format", _response_format)
    if said is None or said.type == "text":
        return Form()
    schema = said.json_schema.schema if said.json_schema is not None else NOTHING
    if said.type == "json_schema" and bytes(schema).startswith(b"{"):
        return _by_schema(fields, schema, profile)
    if said.type in ("json_object", "json_schema"):
        return Form(sentence=JSON_ONLY)
    fields.drop("response_format")
    return Form()


def _by_schema(fields: Fields, schema: msgspec.Raw, profile: Profile) -> Form:
    if "json_schema" in profile.formats:
        return Form(format={"type": "json_schema", "schema": schema})
    fields.drop("response_format")  # a sentence asks for it and nothing makes it so
    return Form(sentence=BY_SCHEMA + bytes(schema).decode())
