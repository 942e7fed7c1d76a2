"""A month of an account: its sums, its digest, and when it may be closed."""

import hashlib
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from libs.contracts.statement import BucketStatement, Movement
from services.billing import statements
from services.billing.statements import GENESIS, Line, Tally

OCTOBER = date(2026, 10, 1)
CREDIT = Line(1, 1_790_000_000_000_000, "adj:a", "adjustment", 9, 17, 5000, "welcome")
USAGE = Line(4, 1_790_000_000_000_001, "usage:1:17", "usage", 17, 3, 2500, "")


def closed(*lines: Line, account: int = 17, opening: int = 100, before: bytes = GENESIS) -> statements.Statement:
    tally = Tally(account, OCTOBER, opening, before)
    for line in lines:
        tally.add(line)
    return tally.statement()


def test_a_month_is_the_sums_of_its_lines() -> None:
    made = closed(CREDIT, USAGE)
    assert (made.opening, made.credits, made.debits, made.closing, made.transfers) == (100, 5000, 2500, 2600, 2)


def test_the_digest_is_what_the_docstring_says() -> None:
    written = (
        bytes(32)
        + b'[17,"2026-10"]\n'
        + b'[1,1790000000000000,"adj:a","adjustment",9,17,5000,"welcome"]\n'
        + b'[4,1790000000000001,"usage:1:17","usage",17,3,2500,""]\n'
    )
    assert closed(CREDIT, USAGE).digest == hashlib.sha256(written).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"transfer_id": 5},
        {"posted_us": 1_790_000_000_000_002},
        {"idem_key": "usage:1:18"},
        {"kind": "adjustment"},
        {"debit": 18},
        {"credit": 4},
        {"amount": 2501},
        {"reason": "x"},
    ],
)
def test_every_field_of_a_line_is_in_the_digest(change: dict[str, Any]) -> None:
    assert closed(CREDIT, msgspec.structs.replace(USAGE, **change)).digest != closed(CREDIT, USAGE).digest


def test_the_digest_depends_on_order_account_and_the_month_before() -> None:
    plain = closed(CREDIT, USAGE).digest
    assert closed(USAGE, CREDIT).digest != plain
    assert closed(CREDIT, USAGE, account=18).digest != plain
    assert closed(CREDIT, USAGE, before=plain).digest != plain


@pytest.mark.parametrize("field", ["opening", "debits", "credits", "closing", "transfers"])
def test_a_difference_is_named(field: str) -> None:
    made = closed(CREDIT, USAGE)
    other = msgspec.structs.replace(made, **{field: getattr(made, field) + 1})
    assert statements.difference(made, made) is None
    assert str(statements.difference(other, made)).startswith(f"{field} {getattr(other, field)}, ")
    assert statements.difference(msgspec.structs.replace(made, digest=GENESIS), made) is not None


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "26-10", "2026-1", "2026-10-01", "2026-10\n", "", "٢٠٢٦-10"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(statements.BadMonth):
        statements.month_of(text)


def test_months_follow_one_another() -> None:
    december = statements.month_of("2026-12")
    assert statements.after(december) == date(2027, 1, 1)
    assert statements.before(date(2027, 1, 1)) == december
    assert statements.name_of(december) == "2026-12"
    for month in range(1, 13):
        assert statements.before(statements.after(date(2028, month, 1))) == date(2028, month, 1)


def test_a_month_is_over_a_day_after_its_end() -> None:
    assert not statements.is_over(OCTOBER, datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC))
    assert statements.is_over(OCTOBER, datetime(2026, 11, 2, tzinfo=UTC))


def test_a_statement_is_told_to_people() -> None:
    moved = (Movement("adjustment", 1, 5_000_000_000), Movement("usage", 12, -2_500_000))
    shown = BucketStatement("cash", "2026-10", 1_000_000_000, moved, 5_997_500_000, "ab" * 32)
    assert statements.text(7, shown) == "\n".join(
        [
            "org 7, cash, 2026-10 (closed)",
            "  opening                  1.000000000",
            "  adjustment               5.000000000  1 transfers",
            "  usage                   -0.002500000  12 transfers",
            "  closing                  5.997500000",
            "  digest " + "ab" * 32,
        ]
    )
    assert "not closed yet" in statements.text(7, msgspec.structs.replace(shown, digest=None))
