"""What a provider's refusal means to our caller. Pure.

A provider's 401 is our credential, not the caller's key: passing it on would make clients log out. Its 402 is our
account there, not the caller's balance.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from libs.contracts.profile import ErrorKind
from libs.errors import (
    ContextTooLong,
    GatewayError,
    InvalidRequest,
    NotServed,
    Overloaded,
    ProviderAccountRefused,
    RateLimited,
    RequestTooLarge,
    UpstreamFailed,
    UpstreamTimeout,
)
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.router import complaint, overflow
from services.router.complaint import Complaint

MAX_WAIT_DIGITS: Final = 5
SOON: Final = 2
OVERLOADED: Final = "The provider is overloaded; try again in a moment."
NO_REASON: Final = "no reason given"
UNEXPLAINED: Final = "The provider refused the request and gave no reason."
BUSY_FINISHES: Final = frozenset({"insufficient_system_resource"})  # DeepSeek's word
BROKEN_FINISHES: Final = BUSY_FINISHES | {"network_error", "error", "abort"}  # GLM's and two engines'
Codes = Mapping[str, ErrorKind]
NO_CODES: Final[Codes] = MappingProxyType({})
PROTOCOL_CODES: Final[Codes] = {
    "insufficient_quota": "account",
    "billing_error": "account",
    "overloaded_error": "overloaded",
    "rate_limit_error": "rate",
    **dict.fromkeys(overflow.CODES, "context"),
}
KINDS_OF_STATUS: Final[Mapping[int, ErrorKind]] = {
    400: "invalid",
    402: "account",
    422: "invalid",
    429: "rate",
    503: "overloaded",
    529: "overloaded",
}
CALLERS_OWN: Final = frozenset(
    {"invalid_request_error", "request_too_large"}
)  # both protocols' words for a bad request
CALLERS_OWN_STATUSES: Final = frozenset({405, 409, 411, 414, 415, 431, 451})
ROLE_REFUSED: Final = re.compile(
    r"messages\.\d+\.role\b|unexpected role|\brole\W{1,4}system\b|\bsystem\W{1,4}role\b", re.I
)
ROLE_REFUSED_AS_CLIENTS_KNOW_IT: Final = " (role 'system' in messages is not supported)"  # Claude Code looks for this


class Asked(NamedTuple):
    """Whom the error is for, and what was sent. ``context_tokens`` is the model's limit, ``prompt_tokens`` an
    estimate; 0 is unknown."""

    protocol: Protocol = OPENAI_CHAT
    context_tokens: int = 0
    prompt_tokens: int = 0


def refusal(
    status: int,
    body: bytes,
    retry_after: str | None = None,
    *,
    errors: Codes = NO_CODES,
    protocol: Protocol = OPENAI_CHAT,
    context_tokens: int = 0,
    prompt_tokens: int = 0,
) -> GatewayError:
    """The error for an upstream status of 400 or more, whatever shape its body has. ``errors`` are the provider's own
    codes, ``protocol`` is the caller's."""
    said, asked = complaint.read(body), Asked(protocol, context_tokens, prompt_tokens)
    kind = _kind(said, errors) or KINDS_OF_STATUS.get(status, "failed")
    if kind == "failed":
        return _by_status(status, said)
    return _of_kind(kind, said, _seconds(retry_after) or SOON, asked)


def declared(
    error: object,
    *,
    errors: Codes = NO_CODES,
    protocol: Protocol = OPENAI_CHAT,
    context_tokens: int = 0,
    prompt_tokens: int = 0,
) -> GatewayError:
    """The error for one that a provider declared inside an answer that began well."""
    said, asked = complaint.of_object(error), Asked(protocol, context_tokens, prompt_tokens)
    kind = _kind(said, errors)
    if kind is None and overflow.read(said.message) is not None:
        kind = "context"
    if kind is None and CALLERS_OWN.intersection(said.kinds):
        kind = "invalid"
    return _of_kind(kind or "failed", said, SOON, asked)


def broken_finish(word: str) -> GatewayError:
    """The error for an answer that ended for a reason of the provider's own."""
    if word in BUSY_FINISHES:
        return Overloaded(OVERLOADED, retry_after=SOON)
    return UpstreamFailed(f"The provider broke off: {complaint.clean(word)[:100] or NO_REASON}")


def _kind(said: Complaint, errors: Codes) -> ErrorKind | None:
    """The provider's own codes before those that everybody uses."""
    for codes in (errors, PROTOCOL_CODES):
        for word in said.kinds:
            if word in codes:
                return codes[word]
    return next((kind for words, kind in errors.items() if " " in words and words in said.message.lower()), None)


def _of_kind(kind: ErrorKind, said: Complaint, wait: int, asked: Asked) -> GatewayError:
    if kind == "account":
        return _our_account()
    if kind == "overloaded":
        return Overloaded(OVERLOADED, retry_after=wait)
    if kind == "rate":
        return _rate(wait)
    if kind == "context":
        return _too_long(overflow.figures(said.message), said, asked)
    if kind == "invalid":
        return _bad_request(said, asked)
    return UpstreamFailed(f"The provider broke off: {said.message or NO_REASON}", quotes_provider=True)


def _bad_request(said: Complaint, asked: Asked) -> GatewayError:
    """Claude Code sends system messages between the others, and takes them back only at words that it knows."""
    if (seen := overflow.read(said.message, said.kinds)) is not None:
        return _too_long(seen, said, asked)
    message = said.message or UNEXPLAINED
    if asked.protocol == ANTHROPIC_MESSAGES and ROLE_REFUSED.search(message):
        message += ROLE_REFUSED_AS_CLIENTS_KNOW_IT
    return InvalidRequest(message, param=said.param, extra=_extra(said), quotes_provider=True, provider_code=said.code)


def _too_long(seen: overflow.Overflow, said: Complaint, asked: Asked) -> GatewayError:
    sentence = overflow.sentence(seen, asked.protocol, asked.context_tokens, asked.prompt_tokens)
    return ContextTooLong(sentence, param="messages", extra=_extra(said))


def _by_status(status: int, said: Complaint) -> GatewayError:
    if status in (401, 403):
        return ProviderAccountRefused("The gateway's own account at the provider was refused; tell the operator.")
    if status == 404:
        return NotServed("The provider does not know this model; the operator has been told.")
    if status == 413:
        message = said.message or "The request is larger than the provider accepts."
        return RequestTooLarge(message, extra=_extra(said), quotes_provider=True)
    if status in CALLERS_OWN_STATUSES:
        return InvalidRequest(said.message or UNEXPLAINED, extra=_extra(said), quotes_provider=True)
    if status in (408, 504):
        return UpstreamTimeout("The provider did not answer in time.")
    return UpstreamFailed(f"The provider failed with status {status}.")


def _our_account() -> GatewayError:
    return ProviderAccountRefused("The provider cannot serve this model now; the operator has been told.")


def _rate(wait: int) -> GatewayError:
    """Without the provider's words: they name our account there and its limits."""
    return RateLimited("The provider's rate limit was reached; try again in a moment.", retry_after=wait)


def _extra(said: Complaint) -> dict[str, object]:
    return {} if said.details is None else {"details": said.details}


def _seconds(retry_after: str | None) -> int | None:
    if not retry_after or not retry_after.isdecimal() or len(retry_after) > MAX_WAIT_DIGITS:
        return None
    return int(retry_after)
