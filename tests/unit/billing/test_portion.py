"""How much credit moves to Redis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.account import LeaseAnswer
from services.billing.leases import Warm, portion
from services.billing.store.accounts import Posted
from tests.fixtures.strategies import thorough

CHUNK = 100
NANO = st.integers(0, 1000)
THERE = st.builds(
    Posted, posted=st.integers(-100, 1000), leased=NANO, in_doubt=st.integers(0, 300), frozen=st.booleans()
)


def there(posted: int = 1000, leased: int = 0, in_doubt: int = 0, *, frozen: bool = False) -> Posted:
    return Posted(posted=posted, leased=leased, in_doubt=in_doubt, frozen=frozen)


@pytest.mark.parametrize(
    ("credit", "free", "need", "expected"),
    [
        (there(), 0, 10, 100),  # a chunk at least
        (there(), 0, 500, 500),  # what is needed when that is more
        (there(), 400, 500, 100),
        (there(), 499, 500, 100),
        (there(50), 0, 10, 50),  # never more than there is
        (there(1000, 950), 0, 50, 50),
        (there(1000, 950), 0, 51, LeaseAnswer("insufficient", 50)),
        (there(1000, 950), 20, 71, LeaseAnswer("insufficient", 70)),
        (there(1000, 950, 30), 0, 80, LeaseAnswer("recovering", 50)),
        (there(1000, 950, 30), 0, 81, LeaseAnswer("insufficient", 50)),
        (there(0), 0, 1, LeaseAnswer("insufficient", 0)),
        (there(-5), 0, 1, LeaseAnswer("insufficient", 0)),
        (there(10, 50), 0, 1, LeaseAnswer("insufficient", 0)),  # a refund took what was leased
        (there(frozen=True), 500, 1, LeaseAnswer("insufficient", 0)),
    ],
)
def test_portions_in_examples(credit: Posted, free: int, need: int, expected: LeaseAnswer | int) -> None:
    assert portion(credit, free, need, CHUNK) == expected


@given(THERE, NANO, NANO, st.integers(1, 500))
@thorough
def test_a_portion_covers_the_need_and_is_never_more_than_there_is(
    credit: Posted, free: int, need: int, chunk: int
) -> None:
    found = portion(credit, free, need, chunk)
    unleased = max(credit.posted - credit.leased, 0)
    if isinstance(found, LeaseAnswer):
        assert credit.frozen or free + unleased < need
        assert found.available <= free + unleased
        assert found.state in ("insufficient", "recovering")
        assert found.state == "insufficient" or need <= free + unleased + credit.in_doubt
    else:
        assert not credit.frozen
        assert 0 <= found <= unleased
        assert free + found >= need
        assert found <= max(need - free, chunk)


def test_what_is_free_in_a_lease() -> None:
    assert Warm(epoch=1, limit=100, used=30, held=20).free == 50
