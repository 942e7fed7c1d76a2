"""How much credit moves to Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.account import LeaseAnswer
from services.billing.portion import MOST_LEASED, NOTHING, Amounts, Bucket, Pace, Posted, Warm, chunk, pace, portion
from tests.fixtures.strategies import thorough

CHUNK = 100
SMALL = st.integers(0, 1000)
BUCKETS = st.builds(Bucket, posted=st.integers(-100, 1000), leased=SMALL, in_doubt=st.integers(0, 300))
THERE = st.builds(Posted, cash=BUCKETS, plan=BUCKETS, frozen=st.booleans())
AMOUNTS = st.builds(Amounts, SMALL, SMALL)


def there(posted: int = 1000, leased: int = 0, in_doubt: int = 0, *, frozen: bool = False) -> Posted:
    return Posted(cash=Bucket(posted, leased, in_doubt), frozen=frozen)


def both(cash: int, plan: int, leased: int = 0, plan_leased: int = 0) -> Posted:
    return Posted(cash=Bucket(cash, leased), plan=Bucket(plan, plan_leased))


@pytest.mark.parametrize(
    ("credit", "free", "need", "expected"),
    [
        (there(), 0, 10, Amounts(100)),  # a chunk at least
        (there(), 0, 500, Amounts(500)),  # what is needed when that is more
        (there(), 400, 500, Amounts(100)),
        (there(), 499, 500, Amounts(100)),
        (there(50), 0, 10, Amounts(50)),  # never more than there is
        (there(1000, 950), 0, 50, Amounts(50)),
        (there(1000, 950), 0, 51, LeaseAnswer("insufficient", 50)),
        (there(1000, 950), 20, 71, LeaseAnswer("insufficient", 70)),
        (there(1000, 950, 30), 0, 80, LeaseAnswer("recovering", 50)),
        (there(1000, 950, 30), 0, 81, LeaseAnswer("insufficient", 50)),
        (there(0), 0, 1, LeaseAnswer("insufficient", 0)),
        (there(-5), 0, 1, LeaseAnswer("insufficient", -5)),  # a debt
        (there(-5), 50, 1, LeaseAnswer("insufficient", -5)),
        (there(10, 50), 0, 1, LeaseAnswer("insufficient", 0)),  # a refund took what was leased
        (there(frozen=True), 500, 1, LeaseAnswer("frozen", 0)),
        (there(-7, frozen=True), 500, 1, LeaseAnswer("frozen", -7)),
        (both(1000, 30), 0, 10, Amounts(70, 30)),  # the plan's first
        (both(1000, 500), 0, 10, Amounts(0, 100)),
        (both(40, 50), 0, 90, Amounts(40, 50)),
        (both(40, 50), 0, 91, LeaseAnswer("insufficient", 90)),
        (both(100, 60, plan_leased=60), 0, 10, Amounts(100, 0)),
        (both(-20, 60), 0, 10, Amounts(0, 60)),  # a debt of one is no claim on the other
    ],
)
def test_portions_in_examples(credit: Posted, free: int, need: int, expected: LeaseAnswer | Amounts) -> None:
    assert portion(credit, Amounts(free), Amounts(free), need, CHUNK) == expected


@given(THERE, AMOUNTS, SMALL, st.integers(1, 500))
@thorough
def test_a_portion_covers_the_need_and_is_never_more_than_there_is(
    credit: Posted, free: Amounts, need: int, size: int
) -> None:
    found = portion(credit, free, free, need, size)
    unleased = credit.unleased
    if isinstance(found, LeaseAnswer):
        assert credit.frozen or credit.posted < 0 or free.total + unleased.total < need
        assert found.available <= free.total + unleased.total
        assert found.state != "ready"
        assert found.state != "recovering" or need <= free.total + unleased.total + credit.in_doubt
        return
    assert not credit.frozen
    assert 0 <= found.cash <= unleased.cash
    assert 0 <= found.plan <= unleased.plan
    assert found.cash == 0 or found.plan == unleased.plan, "cash is leased when the plan is used up"
    assert free.total + found.total >= need
    assert found.total <= max(need - free.total, size)


@given(st.integers(0, MOST_LEASED), st.integers(1, 10**17))
@thorough
def test_a_lease_never_grows_past_what_is_counted_exactly(limit: int, need: int) -> None:
    found = portion(there(10**18), Amounts(limit), NOTHING, need, CHUNK)
    if isinstance(found, LeaseAnswer):
        assert found.state == "insufficient"
        assert limit + need > MOST_LEASED
    else:
        assert limit + found.total <= MOST_LEASED


@pytest.mark.parametrize(
    ("spent", "ms", "expected"),
    [
        (0, 60_000, 250),  # the least
        (1000, 60_000, 1000),  # a minute's
        (1000, 30_000, 2000),
        (1000, 120_000, 500),
        (1000, 0, 25_000),  # a moment is too short to tell: taken for a second, and the most
        (-5, 1000, 250),
    ],
)
def test_a_chunk_is_a_minute_of_spending_within_bounds(spent: int, ms: int, expected: int) -> None:
    assert chunk(Pace(1, 5000, 70), 1, 5000 + ms, 70 + spent, least=250, most=25_000) == expected


def test_nothing_is_known_of_a_lease_that_was_not_seen_before() -> None:
    assert chunk(None, 1, 5000, 10**9, least=250, most=25_000) == 250
    assert chunk(Pace(1, 5000, 0), 2, 6000, 10**9, least=250, most=25_000) == 250


def test_pace_is_measured_from_one_moment_for_a_minute() -> None:
    first = pace(None, 1, 5000, 70)
    assert first == Pace(1, 5000, 70)
    assert pace(first, 1, 65_000, 900) is first
    assert pace(first, 1, 65_001, 900) == Pace(1, 65_001, 900)
    assert pace(first, 2, 6000, 0) == Pace(2, 6000, 0)
    assert pace(first, 1, 4000, 80) == Pace(1, 4000, 80), "a clock that was set back"


def test_what_is_free_in_a_lease() -> None:
    warm = Warm(epoch=1, now=0, revocations=0, limit=Amounts(100, 50), used=Amounts(30, 50), held=Amounts(20, 0))
    assert warm.free == Amounts(50, 0)
