"""What charges do to the books: every nano-dollar that leaves one account arrives in another."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.dispatch import Hold
from services.billing import ledger
from services.billing.ledger import Charged, Consumed, House, NoAccount, Split, Transfer, Wallet
from tests.fixtures.samples import hold
from tests.fixtures.strategies import quick, thorough

REVENUE, LOSS = 1, 2
HOUSE = House(REVENUE, LOSS)
NANO = st.one_of(st.integers(0, 5), st.integers(0, 10**15))
HOLDS = st.builds(Hold, cash=NANO, plan=NANO, epoch=st.integers(1, 9), shard=st.just("r0"))
CHARGES = st.lists(
    st.builds(
        Charged,
        org=st.integers(1, 4),
        epoch=st.integers(1, 3),
        key=st.integers(70, 72),
        split=st.builds(Split, NANO, NANO, NANO),
    ),
    max_size=12,
)
CASH_OF = {org: 100 + org for org in range(1, 5)}
PLAN_OF = {org: 200 + org for org in range(1, 5)}
WALLETS = {org: Wallet(cash=CASH_OF[org], plan=PLAN_OF[org]) for org in range(1, 5)}


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
    found = ledger.post(9, charges, WALLETS, HOUSE)
    by_kind = {kind: sum(getattr(c.split, kind) for c in charges) for kind in ("plan", "cash", "absorbed")}
    assert sum(found.debits().values()) == sum(found.credits().values()) == total(found.transfers)
    assert total(found.transfers) == sum(by_kind.values())
    assert set(found.credits()) <= {REVENUE}
    for org in WALLETS:
        assert found.debits().get(CASH_OF[org], 0) == sum(c.split.cash for c in charges if c.org == org)
        assert found.debits().get(PLAN_OF[org], 0) == sum(c.split.plan for c in charges if c.org == org)
    assert found.debits().get(LOSS, 0) == by_kind["absorbed"]


@given(CHARGES)
@thorough
def test_what_leaves_an_account_leaves_its_leased_credit_and_nothing_else_does(charges: list[Charged]) -> None:
    found = ledger.post(9, charges, WALLETS, HOUSE)
    assert found.released == {account: paid for account, paid in found.debits().items() if account != LOSS}


@given(CHARGES)
@thorough
def test_what_a_lease_gave_is_counted_per_epoch_and_bucket(charges: list[Charged]) -> None:
    found = ledger.post(9, charges, WALLETS, HOUSE)
    plan: Counter[tuple[int, int]] = Counter()
    cash: Counter[tuple[int, int]] = Counter()
    for charge in charges:
        plan[charge.org, charge.epoch] += charge.split.plan
        cash[charge.org, charge.epoch] += charge.split.cash
    both = {key: Consumed(plan[key], cash[key]) for key in plan}
    assert found.consumed == {key: taken for key, taken in both.items() if taken != Consumed(0, 0)}


@given(CHARGES)
@thorough
def test_what_a_key_spent_is_what_its_org_paid_for_it_and_comes_in_order(charges: list[Charged]) -> None:
    found = ledger.post(9, charges, WALLETS, HOUSE).spent
    paid: Counter[tuple[int, int, int]] = Counter()
    for charge in charges:
        paid[charge.org, charge.key, charge.epoch] += charge.split.plan + charge.split.cash
    assert found == {key: amount for key, amount in paid.items() if amount}
    assert list(found) == sorted(found)


@given(CHARGES)
@thorough
def test_there_is_one_line_per_account_and_none_of_nothing(charges: list[Charged]) -> None:
    lines = ledger.post(9, charges, WALLETS, HOUSE).transfers
    assert len({line.debit for line in lines}) == len({line.idem_key for line in lines}) == len(lines)
    assert all(line.amount > 0 and line.debit != line.credit for line in lines)


@given(CHARGES, st.randoms())
@thorough
def test_the_order_of_charges_makes_no_difference(charges: list[Charged], random: object) -> None:
    mixed = sorted(charges, key=lambda _: random.random())  # type: ignore[attr-defined] # hypothesis's own Random
    one, other = (ledger.post(9, some, WALLETS, HOUSE) for some in (charges, mixed))
    assert (one.transfers, one.consumed, one.spent) == (other.transfers, other.consumed, other.spent)


def test_a_batch_in_an_example() -> None:
    charges = [
        Charged(2, 1, 71, Split(plan=0, cash=5, absorbed=0)),
        Charged(1, 3, 70, Split(plan=7, cash=1, absorbed=2)),
        Charged(2, 2, 71, Split(plan=0, cash=4, absorbed=0)),
        Charged(3, 1, 72, Split(plan=9, cash=0, absorbed=0)),
    ]
    found = ledger.post(44, charges, WALLETS, HOUSE)
    assert found.transfers == (
        Transfer("usage:44:101", "usage", 101, REVENUE, 1),
        Transfer("usage:44:102", "usage", 102, REVENUE, 9),
        Transfer("usage:44:201", "usage", 201, REVENUE, 7),
        Transfer("usage:44:203", "usage", 203, REVENUE, 9),
        Transfer("absorbed:44", "absorbed", LOSS, REVENUE, 2),
    )
    assert found.consumed == {
        (1, 3): Consumed(7, 1),
        (2, 1): Consumed(0, 5),
        (2, 2): Consumed(0, 4),
        (3, 1): Consumed(9, 0),
    }
    assert found.spent == {(1, 70, 3): 8, (2, 71, 1): 5, (2, 71, 2): 4, (3, 72, 1): 9}
    assert (found.debits(), found.credits()) == ({101: 1, 102: 9, 201: 7, 203: 9, LOSS: 2}, {REVENUE: 28})


def test_a_batch_of_nothing_changes_nothing() -> None:
    found = ledger.post(1, [Charged(1, 1, 70, Split(0, 0, 0))], WALLETS, HOUSE)
    assert (found.transfers, found.consumed, found.spent) == ((), {}, {})


def test_another_batch_has_other_keys() -> None:
    charges = [Charged(1, 1, 70, Split(0, 1, 1))]
    keys = [{t.idem_key for t in ledger.post(batch, charges, WALLETS, HOUSE).transfers} for batch in (1, 11)]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("wallet", "split", "means"),
    [
        (Wallet(cash=101), Split(plan=0, cash=1, absorbed=1), {101: 1, LOSS: 1}),
        (Wallet(plan=201), Split(plan=1, cash=0, absorbed=1), {201: 1, LOSS: 1}),
        (Wallet(), Split(plan=0, cash=0, absorbed=1), {LOSS: 1}),
    ],
)
def test_an_org_needs_no_account_that_nothing_is_taken_from(
    wallet: Wallet, split: Split, means: dict[int, int]
) -> None:
    assert ledger.post(1, [Charged(1, 1, 70, split)], {1: wallet}, HOUSE).debits() == means


@pytest.mark.parametrize(
    ("wallet", "split"),
    [(Wallet(cash=101), Split(1, 1, 0)), (Wallet(plan=201), Split(1, 1, 0)), (Wallet(), Split(0, 1, 0))],
)
def test_an_org_without_the_account_that_should_pay_stops_the_batch(wallet: Wallet, split: Split) -> None:
    with pytest.raises(NoAccount):
        ledger.post(1, [Charged(1, 1, 70, split)], {1: wallet}, HOUSE)


@given(NANO)
@quick
def test_a_late_charge_takes_nothing_from_the_org(cost: int) -> None:
    found = ledger.post(1, [Charged(1, 1, 70, ledger.split_late(cost))], WALLETS, HOUSE)
    assert (found.released, found.consumed, found.spent) == ({}, {}, {})
    assert found.debits() == ({LOSS: cost} if cost else {})
