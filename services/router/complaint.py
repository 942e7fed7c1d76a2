"""What a provider says is wrong, in whatever shape it says it. Pure.

Its words are passed on without the addresses, account names and secrets that may stand in them.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

MAX_MESSAGE: Final = 2000
MAX_DETAILS: Final = 2048
MAX_DEPTH: Final = 6
SCRUB: Final = re.compile(
    r"(?i:https?://)\S+|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:com|cn|ai|net|org|io)\b|\borg-\w{4,}|\bsk-[\w-]{6,}|\b(?i:bearer)\s+\S+|\b[0-9a-f]{32}\.[A-Za-z0-9]{16}\b",
)
WORD: Final = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)
NOT_JSON: Final = (ValueError, RecursionError)


class Complaint(NamedTuple):
    """``message`` is "" where there is none; ``kinds`` are its code and its type, as far as given; ``details`` are the
    small object that says the same to programs."""

    message: str = ""
    kinds: tuple[str, ...] = ()
    code: str | None = None
    param: str | None = None
    details: dict[str, Any] | None = None


def read(body: bytes) -> Complaint:
    """Of an error body: OpenAI's, Anthropic's, DashScope's, GLM's, FastAPI's, text or HTML."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Complaint() if body.lstrip().startswith(b"<") else Complaint(clean(body.decode("utf-8", "replace")))
    inner = value.get("error") if isinstance(value, dict) else None
    return of_object(inner if isinstance(inner, dict) else value)


def of_object(error: Any) -> Complaint:
    """Of the error itself."""
    if not isinstance(error, dict):
        return Complaint(clean(_text(error)))
    said = (_text(error.get(name)) for name in ("message", "detail", "error"))
    return Complaint(
        message=clean(next(filter(None, said), "")),
        kinds=tuple(str(error[name]) for name in ("code", "type") if isinstance(error.get(name), str | int)),
        code=_word(error.get("code")),
        param=_word(error.get("param")),
        details=_details(error.get("details")),
    )


def clean(text: str) -> str:
    """Cut before it is searched as well: the search for host names takes time that grows with the square."""
    whole = text.strip()[: 2 * MAX_MESSAGE].encode("utf-8", "replace").decode()  # half a surrogate pair is none
    return SCRUB.sub("[removed]", whole)[:MAX_MESSAGE]


def _text(value: object) -> str:
    """A sentence, or the sentences of FastAPI's list of mistakes."""
    if isinstance(value, list):
        return "; ".join(item["msg"] for item in value if isinstance(item, dict) and isinstance(item.get("msg"), str))
    return value if isinstance(value, str) else ""


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and WORD.fullmatch(value) and clean(value) == value else None


def _details(value: object) -> dict[str, Any] | None:
    """What Anthropic's SDK reads of an error beside its type; too large is none."""
    if not isinstance(value, dict) or not value:
        return None
    try:
        size = len(msgspec.json.encode(value))
    except NOT_JSON:
        return None
    return _scrubbed(value, MAX_DEPTH) if size <= MAX_DETAILS else None


def _scrubbed(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _scrubbed(item, depth - 1) for name, item in value.items()} if depth else {}
    if isinstance(value, list):
        return [_scrubbed(item, depth - 1) for item in value] if depth else []
    return value
