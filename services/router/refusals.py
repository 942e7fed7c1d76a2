"""What a provider's refusal means to our caller. Pure.

A provider's 401 is our credential, not the caller's key: passing it on would make clients log out. Its 402 is our
account there, not the caller's balance.
"""

import re
from typing import Any, Final

import msgspec

from libs import errors

MAX_MESSAGE: Final = 2000
MAX_WAIT_DIGITS: Final = 5
SCRUB: Final = re.compile(
    r"(?i:https?://)\S+|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:com|cn|ai|net|org|io)\b|\borg-\w{4,}|\bsk-[\w-]{6,}|\b(?i:bearer)\s+\S+|\b[0-9a-f]{32}\.[A-Za-z0-9]{16}\b",
)
OUR_ACCOUNT_CODES: Final = frozenset({"1113", "Arrearage", "insufficient_balance", "insufficient_quota"})
OVERLOADED_CODES: Final = frozenset({"1305", "overloaded_error"})
RATE_CODES: Final = frozenset({"1302", "rate_limit_error"})
SOON: Final = 2
OVERLOADED: Final = "The provider is overloaded; try again in a moment."
NO_REASON: Final = "no reason given"


def refusal(status: int, body: bytes, retry_after: str | None = None) -> errors.GatewayError:
    """The error for an upstream status of 400 or more, whatever shape its body has."""
    message, code = read(body)
    wait = _seconds(retry_after) or SOON
    if (known := _by_code(code, wait)) is not None:
        return known
    if status == 402:
        return _our_account()
    if status in (503, 529):
        return errors.Overloaded(OVERLOADED, retry_after=wait)
    if status == 429:
        return _rate(wait)
    return _by_status(status, message)


def declared(error: object) -> errors.GatewayError:
    """The error for one that a provider declared inside an answer that began well."""
    message, code = _of_object(error)
    known = _by_code(code, SOON)
    return known or errors.UpstreamFailed(f"The provider broke off: {message or NO_REASON}", quotes_provider=True)


def read(body: bytes) -> tuple[str, str]:
    """Message and code of an error body, "" where there is none: OpenAI's, Anthropic's, DashScope's, GLM's, FastAPI's,
    text or HTML."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "" if body.lstrip().startswith(b"<") else _clean(body.decode("utf-8", "replace")), ""
    inner = value.get("error") if isinstance(value, dict) else None
    return _of_object(inner if isinstance(inner, dict) else value)


def _of_object(error: Any) -> tuple[str, str]:
    if not isinstance(error, dict):
        return _clean(_text(error)), ""
    said = (_text(error.get(name)) for name in ("message", "detail", "error"))
    code = error.get("code") or error.get("type") or ""
    return _clean(next(filter(None, said), "")), str(code)


def _text(value: object) -> str:
    """A sentence, or the sentences of FastAPI's list of mistakes."""
    if isinstance(value, list):
        return "; ".join(item["msg"] for item in value if isinstance(item, dict) and isinstance(item.get("msg"), str))
    return value if isinstance(value, str) else ""


def _by_code(code: str, wait: int) -> errors.GatewayError | None:
    if code in OUR_ACCOUNT_CODES:
        return _our_account()
    if code in OVERLOADED_CODES:
        return errors.Overloaded(OVERLOADED, retry_after=wait)
    return _rate(wait) if code in RATE_CODES else None


def _by_status(status: int, message: str) -> errors.GatewayError:
    if status in (400, 422):
        return errors.InvalidRequest(
            message or "The provider refused the request and gave no reason.", quotes_provider=True
        )
    if status in (401, 403):
        return errors.UpstreamUnavailable("The gateway's own account at the provider was refused; tell the operator.")
    if status == 404:
        return errors.UpstreamUnavailable("The provider does not know this model; the operator has been told.")
    if status == 413:
        return errors.RequestTooLarge(
            message or "The request is larger than the provider accepts.", quotes_provider=True
        )
    if status in (408, 504):
        return errors.UpstreamTimeout("The provider did not answer in time.")
    return errors.UpstreamFailed(f"The provider failed with status {status}.")


def _our_account() -> errors.GatewayError:
    return errors.UpstreamUnavailable("The provider cannot serve this model now; the operator has been told.")


def _rate(wait: int) -> errors.GatewayError:
    """Without the provider's words: they name our account there and its limits."""
    return errors.RateLimited("The provider's rate limit was reached; try again in a moment.", retry_after=wait)


def _seconds(retry_after: str | None) -> int | None:
    if not retry_after or not retry_after.isdecimal() or len(retry_after) > MAX_WAIT_DIGITS:
        return None
    return int(retry_after)


def _clean(text: str) -> str:
    """Cut before it is searched as well: the search for host names takes time that grows with the square."""
    whole = text.strip()[: 2 * MAX_MESSAGE].encode("utf-8", "replace").decode()  # half a surrogate pair is none
    return SCRUB.sub("[removed]", whole)[:MAX_MESSAGE]
