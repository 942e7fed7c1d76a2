"""One exception tree, rendered in the caller's protocol."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from libs import errors, sse
from libs.errors import GatewayError
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol


class Row(NamedTuple):
    kind: type[GatewayError]
    openai_status: int
    anthropic_status: int
    openai_type: str
    code: str | None
    anthropic_type: str
    should_retry: bool | None = None


BAD = "invalid_request_error"
TABLE = [
    Row(errors.InternalError, 500, 500, "server_error", "internal_error", "api_error"),
    Row(errors.InvalidRequest, 400, 400, BAD, None, BAD),
    Row(errors.ModelNotFound, 400, 400, BAD, "model_not_found", BAD),
    Row(errors.UnsupportedParameter, 400, 400, BAD, "unsupported_parameter", BAD),
    Row(errors.ContextTooLong, 400, 400, BAD, "context_length_exceeded", BAD),
    Row(errors.AuthenticationFailed, 401, 401, BAD, "invalid_api_key", "authentication_error", should_retry=False),
    *(
        Row(kind, 402, 402, "insufficient_quota", code, "billing_error", should_retry=False)
        for kind, code in (
            (errors.InsufficientBalance, "insufficient_balance"),
            (errors.KeyCapExceeded, "key_cap_exceeded"),
            (errors.BalanceNegative, "balance_negative"),
            (errors.AccountFrozen, "account_frozen"),
        )
    ),
    Row(
        errors.PermissionDenied,
        403,
        403,
        "permission_error",
        "permission_denied",
        "permission_error",
        should_retry=False,
    ),
    Row(errors.NotFound, 404, 404, BAD, "not_found", "not_found_error"),
    Row(errors.MethodNotAllowed, 405, 405, BAD, "method_not_allowed", BAD),
    Row(errors.RequestTooLarge, 413, 413, BAD, "request_too_large", "request_too_large"),
    Row(errors.RateLimited, 429, 429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"),
    Row(errors.UpstreamFailed, 502, 502, "server_error", "upstream_error", "api_error"),
    Row(errors.UpstreamUnavailable, 502, 502, "server_error", "upstream_unavailable", "api_error", should_retry=False),
    Row(errors.NotServed, 502, 502, "server_error", "upstream_unavailable", "api_error", should_retry=False),
    Row(
        errors.ProviderAccountRefused, 502, 502, "server_error", "upstream_unavailable", "api_error", should_retry=False
    ),
    Row(errors.UpstreamTimeout, 504, 504, "server_error", "upstream_timeout", "timeout_error"),
    Row(errors.Unavailable, 503, 503, "server_error", "unavailable", "overloaded_error"),
    Row(errors.BillingRecovering, 503, 503, "server_error", "billing_recovering", "overloaded_error"),
    Row(errors.Overloaded, 503, 529, "server_error", "overloaded", "overloaded_error"),
    Row(errors.CandidateBusy, 503, 529, "server_error", "overloaded", "overloaded_error"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.kind.__name__)
def test_each_error_has_its_status_type_and_code(row: Row) -> None:
    error = row.kind("A sentence.", param="model")
    assert errors.status_of(error, OPENAI_CHAT) == row.openai_status
    assert errors.status_of(error, ANTHROPIC_MESSAGES) == row.anthropic_status
    assert json.loads(errors.body_of(error, OPENAI_CHAT, "req_1")) == {
        "error": {"message": "A sentence.", "type": row.openai_type, "param": "model", "code": row.code}
    }
    assert json.loads(errors.body_of(error, ANTHROPIC_MESSAGES, "req_1")) == {
        "type": "error",
        "error": {"type": row.anthropic_type, "message": "A sentence."},
        "request_id": "req_1",
    }
    hints = {} if row.should_retry is None else {"x-should-retry": "false"}
    assert errors.headers_of(error) == hints


def test_the_table_leaves_no_error_out() -> None:
    assert {row.kind for row in TABLE} == set(_below(GatewayError))


def test_402_is_only_money_and_429_only_a_rate() -> None:
    by_status = {(row.openai_status, row.kind) for row in TABLE if row.openai_status in (402, 429)}
    money = {errors.InsufficientBalance, *_below(errors.InsufficientBalance)}
    assert by_status == {*((402, kind) for kind in money), (429, errors.RateLimited)}


def test_retry_after_travels_as_a_header_even_when_it_is_zero() -> None:
    assert errors.headers_of(errors.RateLimited("Slower.", retry_after=7)) == {"retry-after": "7"}
    assert errors.headers_of(errors.RateLimited("Slower.", retry_after=0)) == {"retry-after": "0"}


def test_extra_numbers_stand_beside_the_message_in_both_shapes() -> None:
    error = errors.InsufficientBalance("No.", extra={"required": "0.5"})
    for protocol in PROTOCOLS:
        assert json.loads(errors.body_of(error, protocol, "r"))["error"]["required"] == "0.5"


def test_an_error_does_not_share_its_extra_with_the_caller() -> None:
    extra = {"a": 1}
    error = errors.InsufficientBalance("No.", extra=extra)
    extra["a"] = 2
    assert error.extra == {"a": 1}


def test_a_provider_s_code_is_shown_to_openai_callers_and_kept_nowhere_else() -> None:
    error = errors.InvalidRequest("No.", provider_code="1210")
    assert json.loads(errors.body_of(error, OPENAI_CHAT, "r"))["error"]["code"] == "1210"
    assert b"1210" not in errors.body_of(error, ANTHROPIC_MESSAGES, "r")
    assert error.code is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_last_event_of_a_broken_stream_is_the_error_and_no_end(protocol: Protocol) -> None:
    error = errors.UpstreamFailed('It "broke"\noff.')
    raw = errors.last_event_of(error, protocol, "req_1")
    reader = sse.Reader()
    (event,) = [*reader.feed(raw), *reader.finish()]
    assert event.data == errors.body_of(error, protocol, "req_1")
    assert event.name == ("error" if protocol == ANTHROPIC_MESSAGES else "")
    assert b"[DONE]" not in raw
    assert b"message_stop" not in raw


def test_an_error_says_its_sentence_when_it_is_logged() -> None:
    assert str(errors.UpstreamFailed("It broke.")) == "It broke."


def _below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for child in kind.__subclasses__():
        if child.__module__ == "libs.errors":
            yield child
            yield from _below(child)
