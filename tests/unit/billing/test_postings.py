"""What charges do to the books: every nano-dollar that leaves one account arrives in another."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.dispatch import Hold
from services.billing import ledger
from services.billing.ledger import Charged, Split, Transfer
from tests.fixtures.samples import hold
from tests.fixtures.strategies import thorough

REVENUE, LOSS = 1, 2
NANO = st.one_of(st.integers(0, 5), st.integers(0, 10**15))
HOLDS = st.builds(Hold, cash=NANO, plan=NANO, epoch=st.integers(1, 9), shard=st.just("r0"))
CHARGES = st.lists(
    st.builds(Charged, org=st.integers(1, 4), epoch=st.integers(1, 3), split=st.builds(Split, NANO, NANO, NANO)),
    max_size=12,
)
CASH_OF = {org: 100 + org for org in range(1, 5)}


def total(lines: tuple[Transfer, ...]) -> int:
    return sum(line.amount for line in lines)


@given(NANO, HOLDS)
@thorough
def test_a_cost_is_split_without_a_rest_and_never_above_the_hold(cost: int, held: Hold) -> None:
    found = ledger.split(cost, held)
    assert found.plan + found.cash + found.absorbed == cost
    assert 0 <= found.plan <= held.plan
    assert 0 <= found.cash <= held.cash
    assert found.absorbed == max(0, cost - held.amount)
    assert found.cash == 0 or found.plan == held.plan, "plan comes before cash"


@pytest.mark.parametrize(
    ("cost", "plan", "cash", "means"),
    [
        (0, 5, 5, Split(0, 0, 0)),
        (4, 5, 5, Split(4, 0, 0)),
        (5, 5, 5, Split(5, 0, 0)),
        (6, 5, 5, Split(5, 1, 0)),
        (10, 5, 5, Split(5, 5, 0)),
        (11, 5, 5, Split(5, 5, 1)),
        (7, 0, 0, Split(0, 0, 7)),
    ],
)
def test_the_plan_pays_first_and_the_house_takes_the_rest(cost: int, plan: int, cash: int, means: Split) -> None:
    assert ledger.split(cost, hold(plan=plan, cash=cash)) == means


@given(CHARGES)
@thorough
def test_nothing_is_lost_and_nothing_is_made(charges: list[Charged]) -> None:
    found = ledger.post(9, charges, CASH_OF, REVENUE, LOSS)
    cash = sum(charge.split.cash for charge in charges)
    absorbed = sum(charge.split.absorbed for charge in charges)
    assert sum(found.debits().values()) == sum(found.credits().values()) == total(found.transfers) == cash + absorbed
    assert set(found.credits()) <= {REVENUE}
    for org, account in CASH_OF.items():
        paid = sum(charge.split.cash for charge in charges if charge.org == org)
        assert found.debits().get(account, 0) == paid
    assert found.debits().get(LOSS, 0) == absorbed


@given(CHARGES)
@thorough
def test_what_a_lease_gave_is_counted_per_epoch(charges: list[Charged]) -> None:
    found = ledger.post(9, charges, CASH_OF, REVENUE, LOSS)
    expected: Counter[tuple[int, int]] = Counter()
    for charge in charges:
        expected[charge.org, charge.epoch] += charge.split.cash
    assert found.consumed == {key: amount for key, amount in expected.items() if amount}


@given(CHARGES)
@thorough
def test_there_is_one_line_per_account_and_none_of_nothing(charges: list[Charged]) -> None:
    lines = ledger.post(9, charges, CASH_OF, REVENUE, LOSS).transfers
    assert len({line.debit for line in lines}) == len({line.idem_key for line in lines}) == len(lines)
    assert all(line.amount > 0 and line.debit != line.credit for line in lines)


@given(CHARGES, st.randoms())
@thorough
def test_the_order_of_charges_makes_no_difference(charges: list[Charged], random: object) -> None:
    mixed = sorted(charges, key=lambda _: random.random())  # type: ignore[attr-defined] # hypothesis's own Random
    one, other = (ledger.post(9, some, CASH_OF, REVENUE, LOSS) for some in (charges, mixed))
    assert (one.transfers, one.consumed) == (other.transfers, other.consumed)


def test_a_batch_in_an_example() -> None:
    charges = [
        Charged(2, 1, Split(plan=0, cash=5, absorbed=0)),
        Charged(1, 3, Split(plan=7, cash=1, absorbed=2)),
        Charged(2, 2, Split(plan=0, cash=4, absorbed=0)),
        Charged(3, 1, Split(plan=9, cash=0, absorbed=0)),
    ]
    found = ledger.post(44, charges, CASH_OF, REVENUE, LOSS)
    assert found.transfers == (
        Transfer("usage:44:101", "usage", 101, REVENUE, 1),
        Transfer("usage:44:102", "usage", 102, REVENUE, 9),
        Transfer("absorbed:44", "absorbed", LOSS, REVENUE, 2),
    )
    assert found.consumed == {(2, 1): 5, (2, 2): 4, (1, 3): 1}
    assert (found.debits(), found.credits()) == ({101: 1, 102: 9, LOSS: 2}, {REVENUE: 12})


def test_a_batch_of_nothing_changes_nothing() -> None:
    found = ledger.post(1, [Charged(1, 1, Split(0, 0, 0))], CASH_OF, REVENUE, LOSS)
    assert (found.transfers, found.consumed) == ((), {})


def test_another_batch_has_other_keys() -> None:
    charges = [Charged(1, 1, Split(0, 1, 1))]
    keys = [{t.idem_key for t in ledger.post(batch, charges, CASH_OF, REVENUE, LOSS).transfers} for batch in (1, 11)]
    assert not keys[0] & keys[1]


def test_an_org_without_an_account_stops_the_batch() -> None:
    with pytest.raises(KeyError):
        ledger.post(1, [Charged(99, 1, Split(0, 1, 0))], CASH_OF, REVENUE, LOSS)
