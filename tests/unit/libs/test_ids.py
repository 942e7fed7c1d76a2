"""Request ids: what is inside them and how they are written."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import ids
from tests.fixtures.strategies import quick

MILLISECONDS = st.integers(0, (1 << 48) - 2)
NOISE = st.binary(min_size=10, max_size=10)


@given(MILLISECONDS, NOISE)
@quick
def test_an_id_is_a_version_7_uuid_that_knows_its_millisecond(unix_ms: int, noise: bytes) -> None:
    made = ids.uuid7(unix_ms, noise)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert ids.millisecond_of(made) == unix_ms


@given(MILLISECONDS, NOISE, NOISE)
@quick
def test_ids_order_by_time_and_lie_above_the_first_of_their_millisecond(unix_ms: int, a: bytes, b: bytes) -> None:
    assert ids.first_of(unix_ms) < ids.uuid7(unix_ms, a) < ids.first_of(unix_ms + 1)
    if unix_ms:
        assert ids.uuid7(unix_ms - 1, a) < ids.uuid7(unix_ms, b)


def test_all_74_random_bits_are_kept() -> None:
    seen = {ids.uuid7(0, (1 << bit).to_bytes(10, "big")) for bit in range(80)}
    assert len(seen) == 74 + 1  # six bits have no place


def test_the_example_of_the_standard() -> None:
    random = (0xCC3 << 68 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert ids.uuid7(0x017F22E279B0, random) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@pytest.mark.parametrize("unix_ms", [-1, 1 << 48])
def test_a_time_that_does_not_fit_is_refused(unix_ms: int) -> None:
    with pytest.raises(ValueError, match="48-bit"):
        ids.uuid7(unix_ms, bytes(10))


@pytest.mark.parametrize("length", [0, 9, 11])
def test_another_amount_of_randomness_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="random bytes"):
        ids.uuid7(0, bytes(length))


@given(MILLISECONDS, NOISE)
@quick
def test_the_public_form_is_read_back(unix_ms: int, noise: bytes) -> None:
    made = ids.uuid7(unix_ms, noise)
    text = ids.public(made)
    assert len(text) == 36
    assert text.startswith("req_")
    assert {ids.parse_public(text), ids.parse_public(str(made)), ids.parse_public(made.hex)} == {made}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "req_",
        "req_123",
        "req_" + "g" * 32,
        "req_" + "0" * 33,
        "REQ_" + "0" * 32,
        "req_req_" + "0" * 32,
        "+" + "a" * 31,
        "0x" + "a" * 30,
        "a_" * 15 + "aa",
        " " + "a" * 31,
        "٣" * 32,
        "{" + "a" * 32 + "}--",
        "urn:" + "a" * 32,
        "\ud800" * 32,
        "9" * 5000,
    ],
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert ids.parse_public(text) is None


@given(st.text(max_size=40))
@quick
def test_no_text_at_all_makes_the_parser_raise(text: str) -> None:
    found = ids.parse_public(text)
    assert found is None or found.hex in text.replace("-", "").lower()
