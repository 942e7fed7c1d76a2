"""API keys: made, checked, shown and stored."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.edge import keys
from tests.fixtures.strategies import quick, thorough

RANDOM = st.binary(min_size=32, max_size=32)
KEY = keys.mint(bytes(range(32)))


@given(RANDOM)
@example(bytes(32))
@example(b"\xff" * 32)
@quick
def test_a_key_is_well_formed_and_of_one_length(random: bytes) -> None:
    made = keys.mint(random)
    assert keys.well_formed(made)
    assert (made[:6], len(made), made[6:].isalnum()) == ("sk-to-", 55, True)


@given(RANDOM, RANDOM)
@quick
def test_other_randomness_is_another_key(one: bytes, other: bytes) -> None:
    assert (keys.mint(one) == keys.mint(other)) is (one == other)


def test_keys_that_customers_have_stay_valid() -> None:
    assert KEY == "sk-to-003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf1Yo7hP"
    assert keys.well_formed(KEY)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_takes_256_bits(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        keys.mint(bytes(length))


@given(RANDOM, st.data())
@thorough
def test_every_single_wrong_character_is_noticed(random: bytes, data: st.DataObject) -> None:
    good = keys.mint(random)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.one_of(st.sampled_from(keys.ALPHABET), st.characters()).filter(lambda c: c != good[place]))
    assert not keys.well_formed(good[:place] + other + good[place + 1 :])


def test_every_single_wrong_digit_of_one_key_is_noticed() -> None:
    typos = {KEY[:i] + c + KEY[i + 1 :] for i in range(len(KEY)) for c in keys.ALPHABET} - {KEY}
    assert len(typos) > 3000
    assert not [typo for typo in typos if keys.well_formed(typo)]


def test_two_neighbours_in_the_wrong_order_are_noticed() -> None:
    swapped = {KEY[:i] + KEY[i + 1] + KEY[i] + KEY[i + 2 :] for i in range(len(KEY) - 1)} - {KEY}
    assert swapped
    assert not [typo for typo in swapped if keys.well_formed(typo)]


@pytest.mark.parametrize("text", [KEY[:-1], KEY + "0", KEY[1:], " " + KEY, KEY + " ", KEY + "\n", KEY.upper()])
def test_a_key_that_was_copied_badly_is_noticed(text: str) -> None:
    assert not keys.well_formed(text)


@given(st.text(st.characters(), max_size=80))
@example("\ud800" * 55)
@example("sk-to-" + "\udc80" * 43 + "000000")
@example("sk-to-" + "é" * 43 + "000000")
@example("sk-to-")
@example("")
@thorough
def test_hostile_text_is_no_key_and_no_crash(text: str) -> None:
    assert not keys.well_formed(text)
    assert not keys.well_formed("sk-to-" + text)
    keys.hint(text)
    keys.from_headers(text, text)


def test_a_very_long_text_is_no_key() -> None:
    assert not keys.well_formed("sk-to-" + "0" * 10_000_000)


def test_a_key_is_stored_as_a_keyed_digest() -> None:
    assert keys.digest(KEY, b"pepper") == hmac.new(b"pepper", KEY.encode(), hashlib.sha256).digest()
    assert keys.digest(KEY, b"pepper") != keys.digest(KEY, b"other")


def test_four_characters_may_be_shown() -> None:
    assert keys.hint(KEY) == f"sk-to-…{KEY[-4:]}"


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "found"),
    [
        (None, None, None),
        ("", "", None),
        ("Bearer abc", None, "abc"),
        ("bearer abc", None, "abc"),
        ("BEARER  abc ", None, "abc"),
        ("Bearer abc", "xyz", "xyz"),
        ("Bearer abc", "  ", "abc"),
        ("Bearer", "xyz", "xyz"),
        ("Bearer   ", "xyz", "xyz"),
        ("Basic dXNlcg==", "xyz", "xyz"),
        ("Basic dXNlcg==", None, None),
        ("abc", None, None),
        (None, "xyz", "xyz"),
        (None, " xyz ", "xyz"),
        (None, "  ", None),
    ],
)
def test_a_key_comes_as_bearer_or_in_its_own_header(
    authorization: str | None, x_api_key: str | None, found: str | None
) -> None:
    assert keys.from_headers(authorization, x_api_key) == found
