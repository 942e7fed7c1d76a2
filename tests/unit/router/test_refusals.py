"""What a provider's refusal becomes: the caller learns what to do and nothing about our account."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import errors
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, PROTOCOLS
from services.router import refusals
from tests.fixtures.samples import VENDOR_CODES
from tests.fixtures.strategies import json_values, thorough

OPENAI = b'{"error":{"message":"Bad thing","type":"invalid_request_error","param":null,"code":null}}'


@pytest.mark.parametrize(
    ("status", "kind", "openai", "anthropic"),
    [
        (400, errors.InvalidRequest, 400, 400),
        (422, errors.InvalidRequest, 400, 400),
        (401, errors.ProviderAccountRefused, 502, 502),
        (403, errors.ProviderAccountRefused, 502, 502),
        (402, errors.ProviderAccountRefused, 502, 502),
        (404, errors.NotServed, 502, 502),
        (408, errors.UpstreamTimeout, 504, 504),
        (504, errors.UpstreamTimeout, 504, 504),
        (413, errors.RequestTooLarge, 413, 413),
        (429, errors.RateLimited, 429, 429),
        (500, errors.UpstreamFailed, 502, 502),
        (501, errors.UpstreamFailed, 502, 502),
        (502, errors.UpstreamFailed, 502, 502),
        (503, errors.Overloaded, 503, 529),
        (529, errors.Overloaded, 503, 529),
        (301, errors.UpstreamFailed, 502, 502),
        (409, errors.InvalidRequest, 400, 400),
        (418, errors.UpstreamFailed, 502, 502),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[errors.GatewayError], openai: int, anthropic: int) -> None:
    found = refusals.refusal(status, OPENAI)
    assert type(found) is kind
    assert (errors.status_of(found, OPENAI_CHAT), errors.status_of(found, ANTHROPIC_MESSAGES)) == (openai, anthropic)


def test_no_status_blames_the_caller_s_key_or_balance() -> None:
    for status in range(300, 600):
        found = refusals.refusal(status, OPENAI)
        answered = {errors.status_of(found, protocol) for protocol in PROTOCOLS}
        assert not answered & {401, 402, 403}, status
        assert status < 500 or min(answered) >= 500, status


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"code":"1113","message":"Account in arrears"}}', errors.ProviderAccountRefused),
        (b'{"error":{"code":1113,"message":"Account in arrears"}}', errors.ProviderAccountRefused),
        (b'{"code":"Arrearage","message":"Access denied","request_id":"x"}', errors.ProviderAccountRefused),
        (b'{"error":{"message":"You exceeded","type":"insufficient_quota"}}', errors.ProviderAccountRefused),
        (b'{"error":{"code":"1305","message":"busy"}}', errors.Overloaded),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', errors.Overloaded),
        (b'{"error":{"code":"1302","message":"slower"}}', errors.RateLimited),
        (b'{"type":"error","error":{"type":"rate_limit_error","message":"slower"}}', errors.RateLimited),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_provider_s_own_code_says_more_than_its_status(
    status: int, body: bytes, kind: type[errors.GatewayError]
) -> None:
    assert type(refusals.refusal(status, body, errors=VENDOR_CODES)) is kind


def test_what_concerns_our_account_is_not_told_and_not_retried() -> None:
    for found in (
        refusals.refusal(402, b'{"error":{"message":"Insufficient Balance"}}'),
        refusals.refusal(401, b'{"error":{"message":"Incorrect API key provided: sk-12***cd"}}'),
        refusals.declared({"code": "insufficient_balance", "message": "Insufficient Balance"}, errors=VENDOR_CODES),
    ):
        assert errors.headers_of(found) == {"x-should-retry": "false"}
        assert "nsufficient" not in found.message
        assert "sk-" not in found.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OPENAI, "Bad thing"),
        (b'{"type":"error","error":{"type":"invalid_request_error","message":"Bad thing"}}', "Bad thing"),
        (b'{"code":"InvalidParameter","message":"Bad thing","request_id":"x"}', "Bad thing"),
        (b'{"error":{"code":"1210","message":"Bad thing"}}', "Bad thing"),
        (b'{"detail":"Bad thing"}', "Bad thing"),
        (b'{"detail":[{"loc":["body","n"],"msg":"not an int"},{"msg":"too long"},{}]}', "not an int; too long"),
        (b'{"error":"Bad thing"}', "Bad thing"),
        (b'{"error":"Bad Request","message":"Bad thing"}', "Bad thing"),
        (b'{"error":null,"message":"Bad thing"}', "Bad thing"),
        (b'"Bad thing"', "Bad thing"),
        (b"Bad thing\n", "Bad thing"),
        ('{"error":{"message":"日本"}}'.encode(), "日本"),
        (b'{"error":{"message":"', '{"error":{"message":"'),
        (b"caf\xe9", "caf\ufffd"),
    ],
)
def test_the_message_is_found_in_every_shape(body: bytes, message: str) -> None:
    assert refusals.refusal(400, body).message == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"null",
        b"17",
        b"[]",
        b"{}",
        b'""',
        b"<html><body>Bad Gateway</body></html>",
        b"\n <!DOCTYPE html>",
        b'{"error":null}',
        b'{"error":{}}',
        b'{"error":{"message":null}}',
        b'{"error":{"message":{"a":1}}}',
        b'{"error":[]}',
        b'{"detail":[1,{"msg":2}]}',
    ],
)
def test_without_a_message_there_still_is_a_sentence(body: bytes) -> None:
    assert refusals.refusal(400, body).message == "The provider refused the request and gave no reason."
    assert refusals.refusal(413, body).message == "The request is larger than the provider accepts."
    assert refusals.refusal(429, body).message == "The provider's rate limit was reached; try again in a moment."
    assert "None" not in refusals.refusal(500, body).message


@pytest.mark.parametrize(
    "secret",
    [
        "sk-3f8a9b7c6d5e4f3a",
        "sk-ant-api03-AbCd_Ef-01",
        "Bearer eyJhbGciOi.J9",
        "bearer   eyJhbGciOi.J9",
        "https://internal.example/admin?key=1",
        "HTTP://10.0.0.1:8080/v1",
        "0123456789abcdef0123456789abcdef.AbCdEf0123456789",
        "dashscope-intl.aliyuncs.com",
        "org-AbCd1234",
    ],
)
def test_secrets_and_addresses_are_taken_out(secret: str) -> None:
    for status in (400, 413):
        found = refusals.refusal(status, json.dumps({"error": {"message": f"No: {secret} is wrong"}}).encode())
        assert "No: [removed] is wrong" in found.message
    assert "[removed]" in refusals.declared({"message": f"({secret})"}).message
    assert refusals.refusal(400, f"text {secret}".encode()).message == "text [removed]"


def test_words_that_only_look_like_secrets_stay() -> None:
    assert refusals.refusal(400, b"the risk-management task-force bears it").message == (
        "the risk-management task-force bears it"
    )


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["a-", "a.", "org-", "sk-", "x", " ", "http://", "bearer "])
def test_a_long_message_is_cut_before_it_is_searched(unit: str) -> None:
    """A search over all of it would take this thread minutes."""
    assert len(refusals.refusal(400, unit.encode() * 500_000).message) <= 2000
    assert len(refusals.declared({"message": unit * 500_000}).message) <= 2100


def test_what_quotes_the_provider_says_so() -> None:
    """A provider's words may quote the prompt, so they are answered and never logged."""
    quoting = [refusals.refusal(status, OPENAI) for status in (400, 422, 413)] + [refusals.declared({"message": "x"})]
    ours = [refusals.refusal(status, OPENAI) for status in (401, 402, 404, 408, 429, 500, 503)]
    assert [error.quotes_provider for error in quoting] == [True] * 4
    assert not [error for error in ours if error.quotes_provider or "Bad thing" in error.message]


def test_a_long_message_is_cut() -> None:
    assert len(refusals.refusal(400, b"x" * 100_000).message) == 2000
    assert len(refusals.refusal(400, json.dumps({"error": {"message": "é" * 9000}}).encode()).message) == 2000


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, 2),
        ("", 2),
        ("7", 7),
        ("0", 2),
        ("3600", 3600),
        ("-1", 2),
        ("1.5", 2),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 2),
        ("²", 2),
        ("9" * 5000, 2),
        ("99999", 99_999),
        ("100000", 2),
    ],
)
def test_the_provider_s_wait_is_passed_on_when_it_makes_sense(header: str | None, wait: int) -> None:
    for status in (429, 503, 529):
        assert refusals.refusal(status, OPENAI, header).retry_after == wait


def test_a_failure_has_no_wait() -> None:
    assert refusals.refusal(500, OPENAI, "7").retry_after is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, errors.Overloaded, refusals.OVERLOADED),
        ({"code": "overloaded_error"}, errors.Overloaded, refusals.OVERLOADED),
        ({"type": "api_error", "message": "It broke"}, errors.UpstreamFailed, "The provider broke off: It broke"),
        ("It broke", errors.UpstreamFailed, "The provider broke off: It broke"),
        (None, errors.UpstreamFailed, "The provider broke off: no reason given"),
        ({}, errors.UpstreamFailed, "The provider broke off: no reason given"),
        (True, errors.UpstreamFailed, "The provider broke off: no reason given"),
        ([1], errors.UpstreamFailed, "The provider broke off: no reason given"),
        (
            {"type": "rate_limit_error", "message": "slower"},
            errors.RateLimited,
            "The provider's rate limit was reached; try again in a moment.",
        ),
    ],
)
def test_an_error_inside_an_answer_has_its_meaning(
    error: object, kind: type[errors.GatewayError], message: str
) -> None:
    found = refusals.declared(error)
    assert (type(found), found.message) == (kind, message)


@given(json_values(), st.binary(max_size=50), st.integers(300, 599), st.none() | st.text(max_size=8))
@thorough
def test_no_body_at_all_makes_it_raise(value: Any, raw: bytes, status: int, wait: str | None) -> None:
    for body in (raw, json.dumps(value).encode(), json.dumps({"error": value, "message": value}).encode()):
        found = refusals.refusal(status, body, wait)
        assert found.message
        assert errors.body_of(found, OPENAI_CHAT, "r")
    assert refusals.declared(value).message


@pytest.mark.parametrize("opening", [b"[", b'{"error":'])
def test_endless_nesting_is_only_text(opening: bytes) -> None:
    assert len(refusals.refusal(400, opening * 100_000).message) == 2000
