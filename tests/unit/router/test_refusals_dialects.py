"""A refusal in both dialects, what of the provider's words is kept, and what the catalog's codes change."""

import json
import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.contracts.profile import ErrorKind
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS, Protocol
from services.router import refusals
from tests.fixtures.samples import VENDOR_CODES
from tests.fixtures.strategies import json_values, thorough

BAD = "invalid_request_error"
NO_RETRY = {"x-should-retry": "false"}


class Row(NamedTuple):
    situation: str
    status: int
    body: bytes
    openai: tuple[int, str, str | None]
    anthropic: tuple[int, str]
    headers: dict[str, str]


def said(message: str, **fields: Any) -> bytes:
    return json.dumps({"error": {"message": message, **fields}}).encode()


TABLE = [
    Row("upstream 400", 400, said("Bad n", code="E"), (400, BAD, "E"), (400, BAD), {}),
    Row("upstream 422", 422, said("Bad n"), (400, BAD, None), (400, BAD), {}),
    Row(
        "context too long",
        400,
        said("prompt is too long"),
        (400, BAD, "context_length_exceeded"),
        (400, BAD),
        {},
    ),
    Row("upstream 401", 401, said("No"), (502, "server_error", "upstream_unavailable"), (502, "api_error"), NO_RETRY),
    Row("upstream 403", 403, said("No"), (502, "server_error", "upstream_unavailable"), (502, "api_error"), NO_RETRY),
    Row("upstream 402", 402, said("No"), (502, "server_error", "upstream_unavailable"), (502, "api_error"), NO_RETRY),
    Row(
        "quota",
        429,
        said("No", code="insufficient_quota"),
        (502, "server_error", "upstream_unavailable"),
        (502, "api_error"),
        NO_RETRY,
    ),
    Row(
        "arrears",
        400,
        b'{"code":"Arrearage"}',
        (502, "server_error", "upstream_unavailable"),
        (502, "api_error"),
        NO_RETRY,
    ),
    Row("upstream 404", 404, said("No"), (502, "server_error", "upstream_unavailable"), (502, "api_error"), NO_RETRY),
    Row("upstream 408", 408, b"", (504, "server_error", "upstream_timeout"), (504, "timeout_error"), {}),
    Row("upstream 504", 504, b"", (504, "server_error", "upstream_timeout"), (504, "timeout_error"), {}),
    Row("upstream 413", 413, b"", (413, BAD, "request_too_large"), (413, "request_too_large"), {}),
    Row(
        "upstream 429",
        429,
        b"",
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (429, "rate_limit_error"),
        {"retry-after": "7"},
    ),
    Row("upstream 500", 500, b"", (502, "server_error", "upstream_error"), (502, "api_error"), {}),
    Row("HTML", 502, b"<html>", (502, "server_error", "upstream_error"), (502, "api_error"), {}),
    Row(
        "upstream 503",
        503,
        b"",
        (503, "server_error", "overloaded"),
        (529, "overloaded_error"),
        {"retry-after": "7"},
    ),
    Row(
        "upstream 529",
        529,
        b"",
        (503, "server_error", "overloaded"),
        (529, "overloaded_error"),
        {"retry-after": "7"},
    ),
    Row(
        "overloaded by its code",
        400,
        said("busy", code="1305"),
        (503, "server_error", "overloaded"),
        (529, "overloaded_error"),
        {"retry-after": "7"},
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_error_table_of_what_providers_refuse(row: Row) -> None:
    for protocol in PROTOCOLS:
        expected = row.openai if protocol == OPENAI_CHAT else row.anthropic
        found = refusals.refusal(row.status, row.body, "7", errors=VENDOR_CODES, protocol=protocol, context_tokens=9)
        body = json.loads(errors.body_of(found, protocol, "req_1"))
        inner = body["error"]
        shown = (errors.status_of(found, protocol), inner["type"], *([inner["code"]] if len(expected) == 3 else []))
        assert shown == expected
        assert errors.headers_of(found) == row.headers
        assert inner["message"]


def test_quota_of_our_account_is_not_retried() -> None:
    for code in ("insufficient_quota", "insufficient_balance", "Arrearage", "1113", 1113, "billing_error"):
        for found in (
            refusals.refusal(429, said("x", code=code), "9", errors=VENDOR_CODES),
            refusals.declared({"code": code}, errors=VENDOR_CODES),
        ):
            assert errors.headers_of(found) == NO_RETRY
            assert errors.status_of(found, OPENAI_CHAT) == 502


def test_the_type_tells_the_kind_when_the_code_does_not() -> None:
    assert type(refusals.refusal(400, said("x", code=429, type="rate_limit_error"))) is errors.RateLimited
    assert type(refusals.refusal(400, said("x", code=True, type=["a"]))) is errors.InvalidRequest


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("account", errors.ProviderAccountRefused),
        ("overloaded", errors.Overloaded),
        ("rate", errors.RateLimited),
        ("context", errors.ContextTooLong),
        ("invalid", errors.InvalidRequest),
        ("failed", errors.UpstreamFailed),
    ],
)
def test_a_code_of_the_catalog_decides(kind: ErrorKind, expected: type[errors.GatewayError]) -> None:
    body = said("Words", code="E9")
    for status in (400, 500, 418):
        assert type(refusals.refusal(status, body, errors={"E9": kind}, context_tokens=9)) is expected
    assert type(refusals.declared({"code": "E9"}, errors={"E9": kind}, context_tokens=9)) is expected


def test_a_code_of_the_catalog_comes_before_those_that_everybody_uses() -> None:
    body = said("x", code="insufficient_quota")
    assert type(refusals.refusal(429, body, errors={"insufficient_quota": "rate"})) is errors.RateLimited


@pytest.mark.parametrize(
    "text",
    [
        "messages.1.role: Input should be 'user' or 'assistant'",
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter',
        "role 'system' is not allowed here",
        "The system role must come first",
        "Invalid role: system",
    ],
)
def test_mid_system_refused_by_an_a_upstream_is_told_so_that_claude_code_takes_it_back(text: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": BAD, "message": text}}).encode()
    found = refusals.refusal(400, body, protocol=ANTHROPIC_MESSAGES)
    assert found.message == f"{text} (role 'system' in messages is not supported)"
    assert "not supported" in found.message
    assert re.search(r"role .{0,2}system", found.message, re.IGNORECASE)
    assert refusals.refusal(400, body, protocol=OPENAI_CHAT).message == text


@pytest.mark.parametrize("text", ["temperature: Input should be less than 1", "tools.0.custom.name: too long", ""])
def test_another_mistake_is_not_blamed_on_the_role(text: str) -> None:
    found = refusals.refusal(400, said(text), protocol=ANTHROPIC_MESSAGES)
    assert "role" not in found.message


@pytest.mark.parametrize("status", [400, 422, 413])
def test_details_of_a_provider_s_error_are_kept(status: int) -> None:
    """Anthropic's SDK falls back to whole conversations at `thread_unsupported_request`."""
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thinking"], "n": 1, "x": None, "y": True}
    found = refusals.refusal(status, said("No threads", details=details))
    for protocol in PROTOCOLS:
        assert json.loads(errors.body_of(found, protocol, "r"))["error"]["details"] == details


@pytest.mark.parametrize(
    "details",
    [None, {}, [], "x", 5, {"a": "x" * 2048}, ["x"]],
)
def test_details_that_are_large_or_no_object_are_not(details: object) -> None:
    assert refusals.refusal(400, said("x", details=details)).extra == {}


def test_details_do_not_tell_what_is_not_to_be_told() -> None:
    details = {"url": "see https://internal.example/x", "sk-3f8a9b7c": {"k": ["Bearer abc"]}}
    found = refusals.refusal(400, said("x", details=details)).extra["details"]
    assert found == {"url": "see [removed]", "[removed]": {"k": ["[removed]"]}}
    assert refusals.refusal(401, said("x", details={"error_code": "y"})).extra == {}
    assert refusals.refusal(500, said("x", details={"error_code": "y"})).extra == {}


def test_details_with_half_a_character_are_not_kept() -> None:
    error = {"code": "E", "message": "x", "details": {"a": "\ud800"}}
    found = refusals.declared(error, errors={"E": "invalid"})
    assert (found.message, found.extra) == ("x", {})


def test_details_are_kept_six_levels_deep() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": deep}
    found = json.dumps(refusals.refusal(400, said("x", details=deep)).extra["details"])
    assert found.count("a") == 6


@pytest.mark.parametrize(
    ("code", "param", "kept"),
    [
        ("invalid_parameter_error", "messages[0].content", ("invalid_parameter_error", "messages[0].content")),
        (1210, 5, (None, None)),
        ("a b", "a b", (None, None)),
        ("x" * 200, "", (None, None)),
        ("sk-3f8a9b7c6d", "x.example.com", (None, None)),
        ("", None, (None, None)),
    ],
)
def test_code_and_param_are_kept_for_openai_callers(
    code: object, param: object, kept: tuple[str | None, str | None]
) -> None:
    found = refusals.refusal(400, said("x", code=code, param=param))
    inner = json.loads(errors.body_of(found, OPENAI_CHAT, "r"))["error"]
    assert (inner["code"], inner["param"]) == kept


@pytest.mark.parametrize(
    ("word", "statuses", "message"),
    [
        ("insufficient_system_resource", (503, 529), refusals.OVERLOADED),
        ("network_error", (502, 502), "The provider broke off: network_error"),
        ("error", (502, 502), "The provider broke off: error"),
        ("abort", (502, 502), "The provider broke off: abort"),
        ("", (502, 502), "The provider broke off: no reason given"),
        ("x" * 5000, (502, 502), "The provider broke off: " + "x" * 100),
    ],
)
def test_broken_finish_reasons_are_errors(word: str, statuses: tuple[int, int], message: str) -> None:
    found = refusals.broken_finish(word)
    assert tuple(errors.status_of(found, protocol) for protocol in PROTOCOLS) == statuses
    assert found.message == message


@given(json_values(), st.sampled_from(PROTOCOLS), st.integers(400, 599))
@thorough
def test_whatever_stands_in_an_error_can_be_answered(value: Any, protocol: Protocol, status: int) -> None:
    error = {"message": "x", "code": value, "type": value, "param": value, "details": {"a": value}}
    for found in (
        refusals.refusal(status, json.dumps({"error": error}).encode(), protocol=protocol),
        refusals.declared(error, protocol=protocol),
        refusals.declared({**error, "message": value}, protocol=protocol),
    ):
        assert json.loads(errors.body_of(found, protocol, "r"))["error"]["message"]
