"""What a provider says instead of an answer, in the body shape of the protocol and the provider."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from deploy.demo.provider.profiles import Profile
from libs.protocols import ANTHROPIC_MESSAGES, Protocol

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_SENTENCES: Final = {
    401: "Incorrect API key provided.",
    402: "Insufficient balance.",
    404: "There is nothing of that name here.",
    429: "Rate limit reached. Please slow down.",
    503: "The server is overloaded. Please try again later.",
    529: "Overloaded",
}


class Refusal(Exception):
    """The request gets an error and no answer. ``message`` and ``code`` default to what the provider usually says."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message or _SENTENCES.get(status, f"The request failed with status {status}.")
        super().__init__(self.message)
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.details = details


def body_of(refusal: Refusal, protocol: Protocol, profile: Profile, request_id: str) -> bytes:
    """The JSON body."""
    return msgspec.json.encode(_document(refusal, protocol, profile, request_id))


def _document(refusal: Refusal, protocol: Protocol, profile: Profile, request_id: str) -> dict[str, Any]:
    status = refusal.status
    if protocol == ANTHROPIC_MESSAGES:
        inner: dict[str, Any] = {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": refusal.message}
        if refusal.details is not None:
            inner["details"] = refusal.details
        return {"type": "error", "error": inner, "request_id": request_id}
    code = refusal.code or profile.codes.get(status)
    if profile.error_body == "numbered":
        return {"error": {"code": code or str(status), "message": refusal.message}}
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    document: dict[str, Any] = {
        "error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": code}
    }
    return document | ({"request_id": request_id} if profile.error_body == "with_request_id" else {})
