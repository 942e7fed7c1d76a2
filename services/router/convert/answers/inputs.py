"""A tool's input as text: openai_chat has it as JSON inside a string. Pure."""

import json
from typing import Any, Final

import msgspec

from libs.errors import UpstreamFailed
from services.router.convert.surrogates import mended

TOO_DEEP: Final = "The provider sent something that is nested too deeply."


def arguments_of(given: Any) -> str:
    """The text of a JSON object, "" for none. Some servers send that text in the object's place. Raises UpstreamFailed
    for what is nested too deeply."""
    if isinstance(given, str):
        return mended(given)
    return compact(given) if given else ""


def compact(value: Any) -> str:
    """Its JSON, also where it holds half an emoji. Raises UpstreamFailed for what is nested too deeply."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError as error:
        raise UpstreamFailed(TOO_DEEP) from error
