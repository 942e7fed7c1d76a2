"""What an operator types, and where days, weeks and months begin."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import ids
from services.billing.api import since
from services.billing.commands import BadAmount, nano_of
from tests.fixtures.strategies import quick, thorough


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("10", 10_000_000_000),
        ("0.5", 500_000_000),
        ("0.000000001", 1),
        ("9.50", 9_500_000_000),
        ("1000000", 10**15),
        ("1000000.000000000", 10**15),
        ("007", 7_000_000_000),
    ],
)
def test_dollars_are_exact(text: str, nano: int) -> None:
    assert nano_of(text) == nano


@given(st.integers(1, 10**15))
@quick
def test_every_nano_dollar_up_to_a_million_dollars_can_be_typed(nano: int) -> None:
    assert nano_of(f"{Decimal(nano).scaleb(-9):f}") == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0.000000000",
        "-1",
        "+1",
        "1000000.000000001",
        "1000001",
        "0.0000000001",
        "1.0000000000000000000000000000001",
        "0.00000000999999999999999999999999999999",
        "1e3",
        "1E+999999",
        "1e-999999",
        "1e999999999999",
        "1E+999990",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1_000",
        " 10 ",
        "10\n",
        "１０",
        "٣",
        "$10",
        "10 USD",
        "1,5",
        "0x10",
        ".",
        "1.",
        ".5",
        "9" * 5000,
    ],
)
def test_an_amount_that_is_not_plain_and_exact_is_refused(text: str) -> None:
    with pytest.raises(BadAmount):
        nano_of(text)


@given(st.text(max_size=12) | st.from_regex(r"[0-9.eE+-]{1,12}", fullmatch=True))
@thorough
def test_nothing_but_a_bad_amount_comes_of_strange_text(text: str) -> None:
    try:
        nano = nano_of(text)
    except BadAmount:
        return
    assert 0 < nano <= 10**15
    assert Decimal(text) * 10**9 == nano


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "starts"),
    [
        ("2026-05-28T20:26:40", ("2026-05-28", "2026-05-25", "2026-05-01")),  # a Thursday
        ("2026-05-25T00:00:00", ("2026-05-25", "2026-05-25", "2026-05-01")),  # a Monday, its first moment
        ("2026-05-24T23:59:59", ("2026-05-24", "2026-05-18", "2026-05-01")),  # a Sunday, its last
        ("2026-03-01T12:00:00", ("2026-03-01", "2026-02-23", "2026-03-01")),  # a week that began last month
        ("2027-01-01T00:00:01", ("2027-01-01", "2026-12-28", "2027-01-01")),  # and last year
        ("2028-02-29T12:00:00", ("2028-02-29", "2028-02-28", "2028-02-01")),
    ],
)
def test_days_weeks_and_months_begin_at_midnight_utc(now: str, starts: tuple[str, str, str]) -> None:
    expected = tuple(ids.first_of(int(at(start).timestamp()) * 1000) for start in starts)
    assert since(at(now)) == expected


@given(st.datetimes(datetime(1970, 2, 1), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - zone is beside
@quick
def test_a_request_of_this_moment_is_in_all_three(now: datetime) -> None:
    this = ids.uuid7(int((now - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)), bytes(10))
    today, week, month = since(now)
    assert week <= today <= this
    assert month <= today
