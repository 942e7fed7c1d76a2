"""The checks at the end of every fault scenario find what they are there to find."""

from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from deploy.demo.provider.journal import Record
from libs import ids, pricing
from libs.pricing import Usage
from tests.faults import moneycheck
from tests.faults.driver import Answer
from tests.faults.truths import Account, Charge, Rest, Truths
from tests.fixtures import samples

PRICE: Final = samples.price()
PRICE_ID: Final = pricing.version_of(PRICE)
COST: Final = pricing.cost(PRICE, samples.USAGE, samples.NOW_MS)
ORG: Final = 7
GIVEN: Final = 10 * pricing.NANO
SERVED, VOID, REFUSED = (samples.request_id(noise=number) for number in (1, 2, 3))
AT_REST: Final = Rest({}, {}, {}, [])


def answer(request_id: UUID, status: int = 200, **changes: Any) -> Answer:
    good = Answer(ORG, "deepseek-chat", "openai_chat", stream=False, request=ids.public(request_id), status=status)
    return msgspec.structs.replace(good, whole=True, **changes)


def charge(request_id: UUID = SERVED, **changes: Any) -> Charge:
    good = Charge(
        request_id, ORG, "usage", "complete", PRICE_ID, samples.USAGE, samples.NOW_MS, COST, COST, 0, 0, 10_000_000
    )
    return good._replace(**changes)


def void(request_id: UUID = VOID) -> Charge:
    return charge(request_id, outcome="void", reason="upstream", usage=Usage(), cost=0, cash=0)


def record(request_id: UUID, usage: Usage | None) -> Record:
    return Record(
        event="ended",
        at=samples.NOW_MS,
        request=ids.public(request_id),
        answer="",
        provider="deepseek",
        protocol="openai_chat",
        path="",
        model="deepseek-chat",
        stream=False,
        headers=(),
        credential="",
        usage=usage,
    )


# One request served, one that its provider failed, one refused at the door.
GOOD: Final = Truths(
    answers=[answer(SERVED), answer(VOID, 502), answer(REFUSED, 402)],
    served=[record(SERVED, samples.USAGE), record(VOID, None)],
    credited={ORG: GIVEN},
    charges=[charge(), void()],
    accounts={ORG: Account(GIVEN - COST, 0, GIVEN - COST, 0)},
    prices={PRICE_ID: PRICE},
    odd={},
)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert moneycheck.differences(GOOD, {}) == []
    assert moneycheck.unrest(AT_REST) == []


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("C2", {"credited": {ORG: GIVEN + 1}}),
        ("C2", {"accounts": {ORG: Account(GIVEN - COST + 1, 0, 0, 0)}}),
        ("C2", {"accounts": {}}),
        ("C3", {"charges": [charge()]}),  # the provider was called for the other one
        ("C3", {"charges": [void()], "served": [], "credited": {ORG: GIVEN - COST}}),
        ("C3", {"charges": [charge(), void(), void(samples.request_id(noise=9))]}),
        ("C3", {"answers": [answer(SERVED), answer(VOID), answer(REFUSED, 402)]}),
        ("C3", {"answers": [answer(SERVED, 402), answer(VOID, 502)]}),
        ("C4", {"served": [record(SERVED, Usage(input=1)), record(VOID, None)]}),
        ("C4", {"served": [record(VOID, None)]}),
        ("C4", {"charges": [charge(outcome="estimated", usage=Usage(output=5)), void()]}),
        ("C4", {"charges": [charge(cost=COST + 1, absorbed=1), void()]}),
        ("C6", {"accounts": {ORG: Account(GIVEN - COST, 0, -1, 0)}}),
        ("C6", {"accounts": {ORG: Account(GIVEN - COST, 0, 0, -1)}}),
        ("C7", {"charges": [charge(held=COST - 1), void()]}),
        ("C7", {"charges": [charge(absorbed=1), void()]}),
        ("C10", {"odd": {"same id, other payload": 1}}),
    ],
)
def test_every_difference_is_found(check: str, changes: dict[str, Any]) -> None:
    found = moneycheck.differences(GOOD._replace(**changes), {})
    assert any(line.startswith(f"{check} ") for line in found), found


def test_an_answer_without_headers_explains_one_row_and_no_more() -> None:
    lost = msgspec.structs.replace(answer(SERVED), request="", status=0, whole=False)
    one = GOOD._replace(answers=[lost, answer(VOID, 502)])
    assert moneycheck.differences(one, {}) == []
    two = one._replace(charges=[*one.charges, void(samples.request_id(noise=9))])
    assert moneycheck.differences(two, {})[0].startswith("C3 org 7: 2 rows")


def test_what_a_scenario_did_itself_is_expected_exactly() -> None:
    odd = GOOD._replace(odd={"parked: bad signature": 1, "parked: malformed": 2})
    assert moneycheck.differences(odd, {"parked: ": 3}) == []
    assert moneycheck.differences(odd, {"parked: ": 4}) == ["C10 parked: : 3 times, expected 4"]
    assert moneycheck.differences(GOOD, {"parked: ": 1}) == ["C10 parked: : 0 times, expected 1"]


@pytest.mark.parametrize(
    "rest",
    [
        AT_REST._replace(held={"to:{7}:lease": 5}),
        AT_REST._replace(holds={"to:{7}:holds": ["00"]}),
        AT_REST._replace(spooled={"spool": 1}),
        AT_REST._replace(doubt=[(7, 1)]),
    ],
)
def test_whatever_is_left_is_found(rest: Rest) -> None:
    assert len(moneycheck.unrest(rest)) == 1


def test_the_first_few_are_told_and_the_others_counted() -> None:
    found = moneycheck.unrest(AT_REST._replace(doubt=[(7, epoch) for epoch in range(10)]))
    assert len(found) == moneycheck.MOST + 1
    assert found[-1] == f"C8 … and {10 - moneycheck.MOST} more"
