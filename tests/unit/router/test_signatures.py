"""What is remembered of thinking: for a while, for one owner, and never too much."""

from hypothesis import given
from hypothesis import strategies as st

from services.router.convert.replay import Signed
from services.router.signatures import OVERHEAD_BYTES, Signatures
from tests.fixtures.strategies import quick

DAY = 86_400.0
SIGNED = (Signed(5, "signature"),)
ONE = 2 * OVERHEAD_BYTES + len("signature")


def store(ttl: float = DAY, max_entries: int = 100, max_bytes: int = 1_000_000) -> Signatures:
    return Signatures(ttl=ttl, max_entries=max_entries, max_bytes=max_bytes)


def test_it_is_found_under_every_key() -> None:
    signatures = store()
    signatures.remember(1, ("a", "b"), SIGNED, 0.0)
    assert signatures.recall(1, "a", 1.0) == signatures.recall(1, "b", 1.0) == SIGNED
    assert signatures.recall(1, "c", 1.0) is None


def test_nobody_finds_what_another_left() -> None:
    signatures = store()
    signatures.remember(1, ("a",), SIGNED, 0.0)
    assert signatures.recall(2, "a", 1.0) is None


def test_it_is_forgotten_after_its_time() -> None:
    signatures = store()
    signatures.remember(1, ("a",), SIGNED, 10.0)
    assert signatures.recall(1, "a", 10.0 + DAY - 1) == SIGNED
    assert signatures.recall(1, "a", 10.0 + DAY) is None


def test_what_is_over_makes_room_with_the_next_one() -> None:
    signatures = store()
    signatures.remember(1, ("a", "b"), SIGNED, 0.0)
    signatures.remember(1, ("c",), SIGNED, DAY)
    assert (len(signatures), signatures.size) == (1, ONE)


def test_the_oldest_goes_first_when_there_are_too_many() -> None:
    signatures = store(max_entries=2)
    for key in "abc":
        signatures.remember(1, (key,), SIGNED, 0.0)
    assert [signatures.recall(1, key, 1.0) for key in "abc"] == [None, SIGNED, SIGNED]


def test_the_oldest_goes_first_when_there_is_too_much() -> None:
    signatures = store(max_bytes=2 * ONE)
    for key in "abc":
        signatures.remember(1, (key,), SIGNED, 0.0)
    assert [signatures.recall(1, key, 1.0) for key in "abc"] == [None, SIGNED, SIGNED]


def test_what_is_remembered_again_is_new() -> None:
    signatures, newer = store(max_entries=2), (Signed(6, "newer"),)
    for key, signed in (("a", SIGNED), ("b", SIGNED), ("a", newer), ("c", SIGNED)):
        signatures.remember(1, (key,), signed, 0.0)
    assert signatures.recall(1, "a", 1.0) == newer
    assert signatures.recall(1, "b", 1.0) is None


def test_what_is_larger_than_everything_drives_nothing_out() -> None:
    signatures = store(max_bytes=2 * ONE)
    signatures.remember(1, ("a",), SIGNED, 0.0)
    signatures.remember(1, ("b",), (Signed(5, "x" * 2 * ONE),), 0.0)
    assert signatures.recall(1, "a", 1.0) == SIGNED
    assert signatures.recall(1, "b", 1.0) is None


KEYS = st.lists(st.sampled_from("abcdefgh"), max_size=4)
SIGNATURES = st.builds(lambda size: (Signed(1, "s" * size),), st.integers(0, 900))


@quick
@given(st.lists(st.tuples(st.integers(1, 2), KEYS, SIGNATURES, st.floats(0, 40)), max_size=30))
def test_no_bound_is_ever_passed(left: list[tuple[int, list[str], tuple[Signed, ...], float]]) -> None:
    signatures, now = store(ttl=60.0, max_entries=5, max_bytes=3000), 0.0
    for owner, keys, signed, later in left:
        now += later
        signatures.remember(owner, keys, signed, now)
        assert len(signatures) <= 5
        assert 0 <= signatures.size <= 3000
    assert (signatures.size == 0) == (len(signatures) == 0)
