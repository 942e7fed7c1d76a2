"""What may be given back: decisions over what was seen."""

from itertools import product
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

from services.billing.evidence import (
    Held,
    Reading,
    Router,
    Rules,
    fate,
    given_back_before,
    is_fresh,
    low_mark,
    read_hold,
    reading,
    skew_of_report,
    widest,
)

NOW: Final = 1_780_000_000_000
RULES: Final = Rules(lag_ms=15_000, margin_ms=5_000, skew_ms=2_000, idle_ms=600_000)
REQUEST: Final = UUID(int=7)
HELD: Final = Held(org=1, request_id=REQUEST, cash=90, plan=10, epoch=3, authorized_at=NOW, key=70)


def router(watermark: int = NOW - 15_000, **changes: Any) -> Router:
    known = Router("spool", "router-0", "serving", watermark, 0, 0, NOW - 3_600_000, NOW)
    return msgspec.structs.replace(known, **changes)


def test_the_low_mark_is_the_lowest_promise_of_all_who_serve() -> None:
    routers = [router(NOW - 20_000), router(NOW - 90_000), router(NOW - 16_000)]
    assert low_mark(routers, NOW, RULES) == NOW - 90_000


def test_nobody_waits_for_those_who_left_or_are_lost() -> None:
    routers = [router(NOW - 20_000), router(1, state="gone"), router(2, state="lost")]
    assert low_mark(routers, NOW, RULES) == NOW - 20_000
    assert low_mark(routers[1:], NOW, RULES) == NOW - 15_000


@pytest.mark.parametrize("ahead", [0, 1, 14_999, 600_000])
def test_a_promise_of_the_future_counts_as_one_of_a_little_ago(ahead: int) -> None:
    assert low_mark([router(NOW + ahead)], NOW, RULES) == NOW - 15_000


def test_without_any_router_there_is_no_low_mark() -> None:
    assert low_mark([], NOW, RULES) is None


def test_a_router_that_registers_is_above_everything_that_may_have_been_given_back() -> None:
    """Whatever was given back before somebody registered, with the clocks of PostgreSQL and Redis as far apart as they
    may be, is below the lowest watermark with which he may begin."""
    lowest = next(at for at in range(NOW - 60_000, NOW) if is_fresh(at, NOW, RULES))
    low = low_mark([router(NOW, state="gone")], NOW, RULES)
    assert low is not None
    assert lowest >= given_back_before(low, RULES) + RULES.skew_ms
    assert not is_fresh(0, NOW, RULES)
    assert is_fresh(NOW - 15_000, NOW, RULES), "one that has just started and has nothing to do"


@pytest.mark.parametrize(("charged", "parked", "age"), [*product([None, 0, 60], [False, True], [-1, 0, 1])])
def test_the_fate_of_a_hold(charged: int | None, parked: bool, age: int) -> None:
    """``age``: how far it is below what may be given back."""
    expected = "settle" if charged is not None else "void" if age > 0 and not parked else "leave"
    assert fate(HELD, NOW + age, charged, parked=parked) == expected


def test_without_a_low_mark_only_what_is_booked_ends() -> None:
    assert fate(HELD, None, None, parked=False) == "leave"
    assert fate(HELD, None, 5, parked=False) == "settle"


def test_a_hold_is_read_as_the_script_wrote_it() -> None:
    assert read_hold(1, REQUEST.hex, f"90:10:3:{NOW}:70") == HELD
    assert HELD.amount == 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (REQUEST.hex, ""),
        (REQUEST.hex, "100:3:70"),
        (REQUEST.hex, "90:10:3:70"),
        (REQUEST.hex, f"90:10:3:{NOW}:70:1"),
        (REQUEST.hex, f"90:ten:3:{NOW}:70"),
        ("no id", f"90:10:3:{NOW}:70"),
    ],
)
def test_what_is_no_hold_is_not_taken_for_one(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_hold(1, field, value)


def test_a_clock_is_read_no_more_exactly_than_it_was_asked() -> None:
    assert reading(NOW, NOW + 50, NOW + 100) == Reading(0, 50)
    assert reading(NOW, NOW + 5000, NOW + 1) == Reading(5000, 1)
    assert reading(NOW, NOW - 5000, NOW + 7) == Reading(-5003, 4)


@pytest.mark.parametrize(
    ("sent", "skew"), [(0, 0), (-500, 0), (-1000, 0), (-1001, 1), (-600_000, 599_000), (1, 1), (600_000, 600_000)]
)
def test_a_report_may_have_been_under_way_and_cannot_come_from_the_future(sent: int, skew: int) -> None:
    assert skew_of_report(NOW + sent, NOW) == skew


def test_the_two_clocks_that_are_farthest_apart_are_named() -> None:
    readings = {"postgresql": Reading(1500, 0), "redis": Reading(-1500, 0)}
    assert widest(readings, [router()], NOW) == ("postgresql and redis", 3000)
    assert widest({"redis": Reading(2500, 400)}, [], NOW) == ("billing and redis", 2100)
    assert widest({"redis": Reading(-300, 400)}, [], NOW).ms == 0


def test_routers_count_as_long_as_somebody_waits_for_them() -> None:
    wrong = router(skew_ms=9000, instance="r-2")
    assert widest({}, [router(), wrong], NOW) == ("billing and router r-2", 9000)
    for state in ("gone", "lost"):
        assert widest({}, [router(), msgspec.structs.replace(wrong, state=state)], NOW).ms == 0


def test_a_postgresql_that_is_behind_what_it_wrote_down_was_set_back() -> None:
    assert widest({}, [router(heard_at=NOW + 60_000, state="lost")], NOW).ms == 60_000
    assert widest({}, [router(heard_at=NOW - 60_000)], NOW).ms == 0
