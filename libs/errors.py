"""The one exception tree, and its one rendering in the caller's protocol.

Statuses, types and codes follow the two protocols' own tables; 402 is only ever money and 429 only ever a rate.
A message is a public sentence that says what to do; nothing secret belongs in it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from libs.protocols import ANTHROPIC_MESSAGES, Protocol


class GatewayError(Exception):
    """Anything the gateway tells a caller instead of an answer."""

    status: ClassVar[int] = 500
    code: ClassVar[str | None] = "internal_error"
    openai_type: ClassVar[str] = "server_error"
    anthropic_type: ClassVar[str] = "api_error"
    should_retry: ClassVar[bool | None] = None  # SDKs obey `x-should-retry` before they look at the status

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        extra: Mapping[str, Any] | None = None,
        quotes_provider: bool = False,
        provider_code: str | None = None,
    ) -> None:
        """``quotes_provider``: it holds a provider's words, which may hold the caller's. It is never logged.
        ``provider_code``: what OpenAI callers see as the code; records and logs keep to ours."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.extra = dict(extra or {})
        self.quotes_provider = quotes_provider
        self.provider_code = provider_code


class InternalError(GatewayError):
    """A fault of ours; the caller learns only the request id."""


class InvalidRequest(GatewayError):
    """The request cannot be understood or is not allowed by its protocol."""

    status = 400
    code: ClassVar[str | None] = None
    openai_type = "invalid_request_error"
    anthropic_type = "invalid_request_error"


class ModelNotFound(InvalidRequest):
    """No such model is sold here."""

    code = "model_not_found"


class UnsupportedParameter(InvalidRequest):
    """The request asks for something this model cannot do."""

    code = "unsupported_parameter"


class ContextTooLong(InvalidRequest):
    """The conversation, or the conversation and the answer it asks for, is longer than the model's context."""

    code = "context_length_exceeded"


class AuthenticationFailed(GatewayError):
    """No key, or none that is known."""

    status = 401
    code = "invalid_api_key"
    openai_type = "invalid_request_error"
    anthropic_type = "authentication_error"
    should_retry = False


class InsufficientBalance(GatewayError):
    """The org's credit does not cover the request."""

    status = 402
    code = "insufficient_balance"
    openai_type = "insufficient_quota"
    anthropic_type = "billing_error"
    should_retry = False


class KeyCapExceeded(InsufficientBalance):
    """The key may not spend that much in its life, whatever its org has."""

    code = "key_cap_exceeded"


class BalanceNegative(InsufficientBalance):
    """The org owes money."""

    code = "balance_negative"


class AccountFrozen(InsufficientBalance):
    """The org has credit and may not spend it."""

    code = "account_frozen"


class PermissionDenied(GatewayError):
    """The key is known and may not do this."""

    status = 403
    code = "permission_denied"
    openai_type = "permission_error"
    anthropic_type = "permission_error"
    should_retry = False


class NotFound(GatewayError):
    """No such address or object."""

    status = 404
    code = "not_found"
    openai_type = "invalid_request_error"
    anthropic_type = "not_found_error"


class MethodNotAllowed(GatewayError):
    """The address exists and takes another method."""

    status = 405
    code = "method_not_allowed"
    openai_type = "invalid_request_error"
    anthropic_type = "invalid_request_error"


class RequestTooLarge(GatewayError):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"
    openai_type = "invalid_request_error"
    anthropic_type = "request_too_large"


class RateLimited(GatewayError):
    """Too many requests or tokens in a window."""

    status = 429
    code = "rate_limit_exceeded"
    openai_type = "rate_limit_error"
    anthropic_type = "rate_limit_error"


class UpstreamFailed(GatewayError):
    """The provider failed, refused our credential, or sent something that is no answer."""

    status = 502
    code = "upstream_error"
    anthropic_type = "api_error"


class UpstreamUnavailable(UpstreamFailed):
    """The provider cannot serve this account now; a retry would meet the same wall."""

    code = "upstream_unavailable"
    should_retry = False


class ProviderAccountRefused(UpstreamUnavailable):
    """The provider refused our account: its credential, or its balance there."""


class UpstreamTimeout(GatewayError):
    """The provider did not answer in time."""

    status = 504
    code = "upstream_timeout"
    anthropic_type = "timeout_error"


class Unavailable(GatewayError):
    """A part of the gateway is away; nothing was charged."""

    status = 503
    code = "unavailable"
    anthropic_type = "overloaded_error"


class BillingRecovering(Unavailable):
    """The org's credit is being recovered; it is neither lost nor missing."""

    code = "billing_recovering"


class Overloaded(Unavailable):
    """The provider is overloaded. Anthropic's own status for it is 529."""

    code = "overloaded"


class CandidateBusy(Overloaded):
    """Somebody else was quicker: the provider was not called."""


class NotServed(UpstreamUnavailable):
    """The provider does not know what the request names. Another may; and it may be the caller's own mistake."""


def status_of(error: GatewayError, protocol: Protocol) -> int:
    """The HTTP status, which differs by protocol for one error only."""
    if isinstance(error, Overloaded) and protocol == ANTHROPIC_MESSAGES:
        return 529
    return error.status


def headers_of(error: GatewayError) -> dict[str, str]:
    """Retry hints that go with the error."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


def body_of(error: GatewayError, protocol: Protocol, request_id: str) -> bytes:
    """The JSON body in the caller's protocol."""
    if protocol == ANTHROPIC_MESSAGES:
        inner = {"type": error.anthropic_type, "message": error.message, **error.extra}
        return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})
    inner = {
        "message": error.message,
        "type": error.openai_type,
        "param": error.param,
        "code": error.provider_code or error.code,
        **error.extra,
    }
    return msgspec.json.encode({"error": inner})


def last_event_of(error: GatewayError, protocol: Protocol, request_id: str) -> bytes:
    """The SSE event that ends a broken stream. Never followed by ``[DONE]`` or ``message_stop``:
    SDKs take a clean end after half an answer for success."""
    body = body_of(error, protocol, request_id)
    if protocol == ANTHROPIC_MESSAGES:
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"
