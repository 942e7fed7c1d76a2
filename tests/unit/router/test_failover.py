"""Who is to blame for a failed attempt, and whether another candidate could do better."""

import pytest

from libs import errors
from libs.contracts.usage import Attempt
from services.router import failover, refusals


@pytest.mark.parametrize(
    ("status", "body", "who"),
    [
        (400, b"{}", "caller"),
        (422, b"{}", "caller"),
        (413, b"{}", "caller"),
        (400, b'{"error":{"message":"maximum context length is 5 tokens"}}', "caller"),
        (401, b"{}", "credential"),
        (402, b"{}", "credential"),
        (403, b"{}", "credential"),
        (429, b'{"error":{"code":"insufficient_quota"}}', "credential"),
        (429, b"{}", "rate"),
        (404, b"{}", "another"),
        (415, b"{}", "caller"),
        (451, b"{}", "caller"),
        (408, b"{}", "offer"),
        (500, b"", "offer"),
        (502, b"<html>", "offer"),
        (503, b"{}", "offer"),
        (504, b"", "offer"),
        (529, b"{}", "offer"),
    ],
)
def test_who_is_to_blame_for_a_refusal(status: int, body: bytes, who: str) -> None:
    error = refusals.refusal(status, body)
    assert failover.blame(error) == who
    assert failover.may_go_on(error) == (who != "caller")


@pytest.mark.parametrize("status", [400, 403, 429, 500])
def test_a_provider_s_own_code_says_whose_fault_it_is(status: int) -> None:
    """GLM answers an empty account with 429: read by its status alone it would look like a rate for ever."""
    error = refusals.refusal(status, b'{"error":{"code":"1113","message":"x"}}', errors={"1113": "account"})
    assert failover.blame(error) == "credential"


def test_a_phrase_of_the_profile_says_whose_fault_it_is() -> None:
    """Anthropic tells an empty account with a 400 and the kind of a bad request."""
    said = b'{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low."}}'
    error = refusals.refusal(400, said, errors={"credit balance is too low": "account"})
    assert failover.blame(error) == "credential"


@pytest.mark.parametrize("kind", ["invalid_request_error", "request_too_large"])
def test_a_bad_request_told_inside_an_answer_is_the_caller_s(kind: str) -> None:
    assert failover.blame(refusals.declared({"type": kind, "message": "x"})) == "caller"


def test_what_is_ours_is_nobody_s_fault_and_not_tried_elsewhere() -> None:
    for error in (errors.Unavailable("x"), errors.InternalError("x"), errors.InsufficientBalance("x")):
        assert failover.blame(error) == "nobody"
        assert not failover.may_go_on(error)


def test_attempts_are_told_in_order() -> None:
    tried = (Attempt("a@one", 503, "overloaded", 12), Attempt("a@two", 200, "serving", 3))
    assert failover.explained(tried) == "a@one;status=503;reason=overloaded;ms=12, a@two;status=200;reason=serving;ms=3"
