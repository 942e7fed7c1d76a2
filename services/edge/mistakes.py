"""What is wrong with a body, as a sentence that names the field. Pure."""

import re
from typing import Final, TypeVar

import msgspec

from libs.errors import InvalidRequest
from libs.protocols import ANTHROPIC_MESSAGES, Protocol

T = TypeVar("T")
MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def read(decoder: "msgspec.json.Decoder[T]", body: bytes, protocol: Protocol) -> T:
    """The body as what ``decoder`` makes of it. Raises InvalidRequest naming the field that is missing or wrong."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error), protocol) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error


def missing(path: str, protocol: Protocol) -> InvalidRequest:
    """In the words of the protocol: Anthropic's own are `max_tokens: Field required`."""
    if protocol == ANTHROPIC_MESSAGES:
        return InvalidRequest(f"{path}: Field required", param=path)
    return InvalidRequest(f"Missing required field: {path}.", param=path)


def _wrong_field(text: str, protocol: Protocol) -> InvalidRequest:
    """msgspec's ``Expected `str`, got `int` - at `$.model``` as a sentence with its field."""
    what, _, where = text.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if match := MISSING.fullmatch(what):
        return missing(f"{path}.{match[1]}".lstrip("."), protocol)
    if not path:
        return InvalidRequest(f"The body must be a JSON object: {what}.")
    return InvalidRequest(f"Invalid value for {path}: {what[0].lower()}{what[1:]}.", param=path)
