"""Sealed secrets open with the right key in the right place, and never otherwise."""

import base64
import os
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.sealing import BadKeys, KeyRing, NotOpened, key_of, key_ring
from tests.fixtures.strategies import quick

OLD: Final = bytes(range(32))
NEW: Final = bytes(range(32, 64))
CONTEXT: Final = "credential/acme/second"
SECRET: Final = "sk-live-0123456789"
KEPT_FROM_THE_FIRST_RELEASE: Final = "AQNvbGRgB5vkX6dOaf_OioXg3O9VzJCRv7SCeioIEfsoAqN2X-3ATcKM9oRFI-jnpA2w"


def written(key: bytes) -> str:
    return base64.b64encode(key).decode()


def ring(*named: tuple[str, bytes]) -> KeyRing:
    return key_ring(",".join(f"{name}:{written(key)}" for name, key in named))


RING: Final = ring(("old", OLD))


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
@quick
def test_what_was_sealed_opens_in_its_place(plain: str, context: str) -> None:
    assert RING.open(RING.seal(plain, context), context) == plain


def test_the_secret_is_not_in_what_is_sealed_and_no_two_are_alike() -> None:
    first, second = RING.seal(SECRET, CONTEXT), RING.seal(SECRET, CONTEXT)
    assert first != second
    assert SECRET.encode() not in base64.urlsafe_b64decode(first)


def test_it_opens_nowhere_else() -> None:
    sealed = RING.seal(SECRET, CONTEXT)
    for elsewhere in ("credential/acme/first", "credential/other/second", "", CONTEXT + "/"):
        with pytest.raises(NotOpened):
            RING.open(sealed, elsewhere)


def test_another_key_does_not_open_it_under_either_id() -> None:
    sealed = RING.seal(SECRET, CONTEXT)
    for other in (ring(("new", NEW)), ring(("old", NEW)), ring(("new", OLD))):
        with pytest.raises(NotOpened):
            other.open(sealed, CONTEXT)


@given(st.data())
@quick
def test_a_changed_byte_is_seen_wherever_it_is(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(KEPT_FROM_THE_FIRST_RELEASE))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotOpened):
        RING.open(base64.urlsafe_b64encode(bytes(raw)).decode(), CONTEXT)


@given(st.data())
@quick
def test_a_changed_character_is_seen_wherever_it_is(data: st.DataObject) -> None:
    sealed = KEPT_FROM_THE_FIRST_RELEASE
    at = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.characters(exclude_characters=sealed[at]))
    with pytest.raises(NotOpened):
        RING.open(sealed[:at] + other + sealed[at + 1 :], CONTEXT)


def test_there_is_one_way_to_write_what_was_sealed() -> None:
    sealed = RING.seal(SECRET[1:], CONTEXT)
    last = sealed.rstrip("=")[-1]
    alike = sealed.rstrip("=")[:-1] + chr(ord(last) + 1) + "=" * sealed.count("=")
    assert base64.urlsafe_b64decode(alike) == base64.urlsafe_b64decode(sealed)
    for other in (alike, sealed.rstrip("="), sealed + "=", f" {sealed}"):
        with pytest.raises(NotOpened):
            RING.open(other, CONTEXT)


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
@quick
def test_rubbish_raises_the_one_exception(rubbish: str) -> None:
    with pytest.raises(NotOpened):
        RING.open(rubbish, CONTEXT)
    with pytest.raises(NotOpened):
        key_of(rubbish)
    with pytest.raises(NotOpened):
        RING.resealed(rubbish, CONTEXT)


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_text_that_was_cut_off_does_not_open(length: int) -> None:
    with pytest.raises(NotOpened):
        RING.open(RING.seal(SECRET, CONTEXT)[:length], CONTEXT)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    both = ring(("new", NEW), ("old", OLD))
    old, new = RING.seal(SECRET, CONTEXT), both.seal(SECRET, CONTEXT)
    assert (both.first, key_of(old), key_of(new)) == ("new", "old", "new")
    assert both.open(old, CONTEXT) == both.open(new, CONTEXT) == SECRET


def test_resealing_moves_a_secret_to_the_first_key_once() -> None:
    both = ring(("new", NEW), ("old", OLD))
    moved = both.resealed(RING.seal(SECRET, CONTEXT), CONTEXT)
    assert key_of(moved) == "new"
    assert ring(("new", NEW)).open(moved, CONTEXT) == SECRET
    assert both.resealed(moved, CONTEXT) == moved


def test_resealing_does_not_bless_what_does_not_open() -> None:
    both = ring(("new", NEW), ("old", OLD))
    for sealed in (RING.seal(SECRET, "elsewhere"), both.seal(SECRET, "elsewhere")):
        with pytest.raises(NotOpened):
            both.resealed(sealed, CONTEXT)


def test_keys_may_be_written_in_either_alphabet_and_without_padding() -> None:
    key = b"\xfb\xff" * 16
    plain, safe = base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()
    assert plain != safe
    sealed = key_ring(f"k:{plain}").seal(SECRET, CONTEXT)
    for way in (plain, safe, plain.rstrip("="), safe.rstrip("=")):
        assert key_ring(f" k:{way} ").open(sealed, CONTEXT) == SECRET


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "key 1 is not written ID:KEY"),
        ("k", "key 1 is not written ID:KEY"),
        (f":{written(OLD)}", "key 1 is not written ID:KEY"),
        (f"k k:{written(OLD)}", "key 1 is not written ID:KEY"),
        (f"{'k' * 33}:{written(OLD)}", "key 1 is not written ID:KEY"),
        (f"k:{written(OLD)},", "key 2 is not written ID:KEY"),
        ("k:", "key 1 is not 32 bytes long"),
        (f"k:{written(OLD[:16])}", "key 1 is not 32 bytes long"),
        (f"k:{written(OLD + b'x')}", "key 1 is not 32 bytes long"),
        ("k:secret words", "key 1 is not base64"),
        ("k:sécret", "key 1 is not base64"),
        (f"k:{written(OLD)},k:{written(NEW)}", "key 2 has the id of another one"),
        (f"k:{written(OLD)},l:{written(OLD)}", "two keys are the same"),
    ],
)
def test_a_ring_that_is_none_is_refused_without_a_word_of_it(text: str, reason: str) -> None:
    with pytest.raises(BadKeys, match=reason) as caught:
        key_ring(text)
    assert written(OLD)[:8] not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_ring_does_not_show_its_keys() -> None:
    assert repr(ring(("new", NEW), ("old", OLD))) == "KeyRing(new, old)"


def test_a_text_of_an_earlier_release_opens_for_ever() -> None:
    assert RING.open(KEPT_FROM_THE_FIRST_RELEASE, CONTEXT) == SECRET


def test_each_seal_has_a_nonce_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noise(size: int, real: Callable[[int], bytes] = os.urandom) -> bytes:
        asked.append(size)
        return real(size)

    monkeypatch.setattr(os, "urandom", noise)
    assert RING.seal(SECRET, CONTEXT) != RING.seal(SECRET, CONTEXT)
    assert asked == [12, 12]
