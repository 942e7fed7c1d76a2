"""Services prove to each other who they are, and nobody else can."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.runtime import identity
from libs.runtime.identity import Identity, NotTrusted
from tests.fixtures.strategies import json_values, quick, thorough

SECRET = b"a-secret-of-the-unit-tests-0123456789"
HEADER = {"alg": "HS256"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, secret: bytes = SECRET) -> str:
    """A token of any header and claims, with a right signature."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def claims(clock: Clock, **changes: Any) -> dict[str, Any]:
    good = {"iss": "edge", "aud": "router", "exp": int(clock.now) + 60, "jti": "1"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def refused(token: str | None, clock: Clock | None = None) -> str:
    router = Identity("router", SECRET, clock or Clock())
    with pytest.raises(NotTrusted) as caught:
        router.caller(token if token is None else f"Bearer {token}")
    return str(caught.value)


def test_a_service_is_known_by_its_token() -> None:
    clock = Clock()
    edge, router = Identity("edge", SECRET, clock), Identity("router", SECRET, clock)
    header = edge.authorization("router")["authorization"]
    assert header.startswith("Bearer ")
    assert router.caller(header) == "edge"
    assert router.caller(header) == "edge"


def test_a_token_is_for_one_audience() -> None:
    clock = Clock()
    header = Identity("edge", SECRET, clock).authorization("billing")["authorization"]
    with pytest.raises(NotTrusted, match="somebody else"):
        Identity("router", SECRET, clock).caller(header)


def test_a_token_expires_even_when_it_was_seen_before() -> None:
    clock = Clock()
    router = Identity("router", SECRET, clock)
    header = Identity("edge", SECRET, clock).authorization("router")["authorization"]
    assert router.caller(header) == "edge"
    clock.now += identity.LIFETIME_SECONDS + identity.LEEWAY_SECONDS - 1
    assert router.caller(header) == "edge"
    clock.now += 1
    with pytest.raises(NotTrusted, match="expired"):
        router.caller(header)


def test_a_token_is_made_again_well_before_it_expires() -> None:
    clock = Clock()
    edge = Identity("edge", SECRET, clock)
    first = edge.authorization("router")
    clock.now += identity.REMINT_SECONDS - 1
    assert edge.authorization("router") == first
    clock.now += 1
    second = edge.authorization("router")
    assert second != first
    assert Identity("router", SECRET, clock).caller(second["authorization"]) == "edge"


def test_another_secret_is_refused() -> None:
    clock = Clock()
    assert "forged" in refused(signed(HEADER, claims(clock), b"another-secret-0123456789-0123456789"), clock)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": {}},
        {"alg": None},
        {"alg": 5},
        {},
        [],
        "HS256",
        None,
        {"alg": "HS256", "crit": ["x"]},
        {"alg": "HS256", "crit": "x"},
        {"alg": "HS256", "b64": False, "crit": ["b64"]},
    ],
)
def test_another_algorithm_or_header_is_refused(header: Any) -> None:
    clock = Clock()
    token = signed(header, claims(clock))
    refused(token, clock)
    refused(token.rpartition(".")[0] + ".", clock)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": None},
        {"aud": ["router", "billing"]},
        {"aud": ["router"]},
        {"aud": ""},
        {"iss": None},
        {"iss": 5},
        {"iss": ["edge"]},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": 0},
        {"exp": -1},
        {"exp": True},
        {"exp": [1]},
    ],
)
def test_claims_that_are_missing_or_of_another_kind_are_refused(changes: dict[str, Any]) -> None:
    clock = Clock()
    assert refused(signed(HEADER, claims(clock, **changes)), clock)


@pytest.mark.parametrize("payload", [[], "x", 5, None, True])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    assert refused(signed(HEADER, payload))


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer a", "Bearer a.b.c", "Bearer ..", "Basic eDp5", "Bearer é.ü.ö", "\ud800"],
)
def test_a_header_that_is_no_token_is_refused(header: str | None) -> None:
    with pytest.raises(NotTrusted):
        Identity("router", SECRET, Clock()).caller(header)


@given(json_values(), json_values())
@thorough
def test_nothing_but_a_refusal_comes_of_strange_tokens(header: Any, payload: Any) -> None:
    refused(signed(header, payload))
    refused(signed(HEADER, payload))
    refused(signed(header, claims(Clock()), b"another-secret-0123456789-0123456789"))


@given(st.text(max_size=60))
@quick
def test_nothing_but_a_refusal_comes_of_strange_headers(text: str) -> None:
    refused(text)


@given(st.data())
@quick
def test_no_character_of_a_token_can_be_changed(data: st.DataObject) -> None:
    clock = Clock()
    token = signed(HEADER, claims(clock))
    place = data.draw(st.integers(0, len(token) - 2))  # the last one's low bits are padding
    other = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda c: c != token[place]))
    refused(token[:place] + other + token[place + 1 :], clock)


def test_the_memory_for_tokens_seen_is_bounded() -> None:
    clock = Clock()
    router = Identity("router", SECRET, clock)
    for number in range(identity.MAX_CACHED + 10):
        assert router.caller("Bearer " + signed(HEADER, claims(clock, jti=str(number)))) == "edge"
        assert len(router._seen) <= identity.MAX_CACHED
