"""`tokenoutput ledger …`, as an operator types it."""

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from typer.testing import CliRunner, Result

from libs import ids
from services.billing.verify import CHECKS
from services.cli import app
from tests.fixtures import samples
from tests.fixtures.books import CREDIT, Books
from tests.fixtures.busy_books import Busy, busy, close_old_month
from tests.fixtures.lending import Lender
from tests.fixtures.stores import Stores

USUAL: Final = [check.name for check in CHECKS if not check.resting]
UNKNOWN: Final = ids.public(samples.request_id())


@pytest.fixture
async def there(books: Books, stores: Stores, lender: Lender, monkeypatch: pytest.MonkeyPatch) -> Busy:
    """Busy books, and a Redis that has lent nothing."""
    for name, value in {
        "ENV": "dev",
        "BILLING_DATABASE_URL": books.billing_url,
        "BILLING_REDIS_URL": stores.billing_redis_url,
        "BILLING_AMQP_URL": stores.billing_amqp_url,
        "HOLD_SECRET": "hold-secret-of-the-tests",
        "INTERNAL_SECRET": "internal-secret-of-the-tests",
    }.items():
        monkeypatch.setenv(f"TOKENOUTPUT_{name}", value)
    return await busy(books)


async def ledger(*arguments: str, code: int = 0) -> Result:
    """The command in a thread, because it runs an event loop of its own."""
    result = await asyncio.to_thread(lambda: CliRunner().invoke(app, ["ledger", *arguments]))
    assert result.exit_code == code, (result.output, result.exception)
    return result


async def json_of(*arguments: str, code: int = 0) -> Any:
    result = await ledger(*arguments, "--json", code=code)
    assert result.stderr == ""
    return msgspec.json.decode(result.stdout)


async def test_verify_says_each_claim_and_what_waits(books: Books, there: Busy) -> None:
    lines = (await ledger("verify")).stdout.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == USUAL
    assert lines[-2] == "parked and undecided: 1; anomalies: 1 × lease was closed, 1 × same id, other payload"
    assert lines[-1] == "the books are right"
    answer = await json_of("verify")
    assert answer == {
        "ok": True,
        "passed": USUAL,
        "difference": None,
        "noted": {"parked": 1, "anomalies": {"lease was closed": 1, "same id, other payload": 1}},
    }


async def test_verify_exits_with_1_at_a_difference(books: Books, there: Busy) -> None:
    await books.tamper("UPDATE balance SET leased = leased - 1 WHERE leased > 0")
    answer = await json_of("verify", code=1)
    assert (answer["ok"], answer["difference"]["check"]) == (False, "I1")
    assert answer["passed"] == USUAL[: USUAL.index("I1")]
    assert "DIFFERENCE I1: org 1001" in (await ledger("verify", code=1)).stdout


async def test_one_check_can_be_made_alone(books: Books, there: Busy) -> None:
    await books.tamper("UPDATE balance SET leased = leased - 1 WHERE leased > 0")
    assert (await json_of("verify", "--check", "C5", "--check", "C1"))["passed"] == ["C1", "C5"]
    assert (await json_of("verify", "--check", "I1", code=1))["passed"] == []
    assert "there is no check 'C99'; there are C1, " in (await json_of("verify", "--check", "C99", code=1))["error"]
    assert "add --at-rest" in (await json_of("verify", "--check", "C8", code=1))["error"]


async def test_books_at_rest_are_held_against_what_is_known(books: Books, there: Busy, tmp_path: Path) -> None:
    answer = await json_of("verify", "--at-rest", code=1)
    assert answer["difference"] == {"check": "C10", "what": "1 parked events wait for a decision, 0 are known"}
    known = tmp_path / "truth.json"
    known.write_text('{"parked": 1, "anomalies": 2}')
    answer = await json_of("verify", "--at-rest", "--truth", str(known))
    assert answer["passed"] == [check.name for check in CHECKS]


@pytest.mark.parametrize("text", ["{", '{"credits": {}}', '{"admitted": ["x"]}', '{"parked": "1"}', "\\xff"])
async def test_a_truth_that_says_nothing_is_refused(there: Busy, tmp_path: Path, text: str) -> None:
    file = tmp_path / "truth.json"
    file.write_bytes(text.encode("latin-1"))
    assert str(file) in (await json_of("verify", "--truth", str(file), code=1))["error"]


async def test_a_database_that_is_away_is_one_sentence(there: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_BILLING_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    result = await ledger("verify", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("a store is away: ")
    assert result.stderr.count("\n") == 1


async def test_explain_is_for_people_and_for_programs(books: Books, there: Busy) -> None:
    name = ids.public(there.shared)
    assert (await ledger("explain", name)).stdout.startswith(f"{name}\n  usage (complete), org {there.both}, key 70\n")
    answer = await json_of("explain", str(there.shared))
    assert (answer["request_id"], answer["right"], len(answer["transfers"])) == (name, True, 3)
    assert answer["arithmetic"]["cost"] == answer["charge"]["cost"]


async def test_explain_says_where_an_unknown_request_may_be(there: Busy) -> None:
    assert "every router is done with requests of" in (await ledger("explain", UNKNOWN, code=1)).stdout
    assert (await json_of("explain", UNKNOWN, code=1))["charge"] is None
    assert "is not a request id" in (await json_of("explain", "req_1", code=1))["error"]


async def test_reprice_reproduces_or_lists(books: Books, there: Busy) -> None:
    period = ("--from", "2026-01-01", "--to", "2100-01-01")
    count = await books.value("SELECT count(*) FROM charge")
    assert (await ledger("reprice", *period)).stdout.startswith(f"{count} charges, $")
    assert (await json_of("reprice", *period, "--org", str(there.cash)))["charges"] < count
    await books.tamper("UPDATE charge SET cost = cost + 1, absorbed = absorbed + 1 WHERE absorbed > 0")
    text = (await ledger("reprice", *period, code=1)).stdout
    differing = await books.value("SELECT count(*) FROM charge WHERE absorbed > 0")
    assert text.endswith(f": {differing} DIFFER\n")
    assert f"{ids.public(there.late)} of org {there.closed}: cost " in text
    answer = await json_of("reprice", *period, code=1)
    assert answer["booked"] == answer["computed"] + answer["differing"]
    backwards = ("--from", "2026-01-02", "--to", "2026-01-02")
    assert "ends before it begins" in (await json_of("reprice", *backwards, code=1))["error"]
    await books.tamper("UPDATE price_version SET content = '{}'")
    assert "price pr_" in (await json_of("reprice", *period, code=1))["error"]


async def test_a_month_is_closed_and_shown(books: Books, there: Busy) -> None:
    await books.tamper("UPDATE transfer SET posted_at = '2020-01-15Z'")
    assert "2020-01 has to be closed first" in (await json_of("close-month", "2020-02", code=1))["error"]
    made = (await json_of("close-month", "2020-01"))["statements"]
    assert made == await books.value("SELECT count(*) FROM statement")
    again = {"month": "2020-01", "statements": 0, "state": "closed before"}
    assert await json_of("close-month", "2020-01") == again
    assert (await ledger("close-month", "2020-01")).stdout == "2020-01 was closed before\n"
    assert "2019-12 is older than the books" in (await json_of("close-month", "2019-12", code=1))["error"]
    assert (await ledger("close-month", "2020-02")).stdout == f"2020-02 is closed: {made} statements\n"
    shown = await json_of("statement", str(there.cash), "2020-01")
    [cash] = shown["buckets"]
    assert (cash["opening"], cash["movements"][0]["amount"]) == (0, CREDIT)
    assert len(cash["digest"]) == 64
    text = (await ledger("statement", str(there.both), "2020-02")).stdout
    assert f"org {there.both}, cash, 2020-02 (closed)" in text
    assert f"org {there.both}, plan, 2020-02 (closed)" in text


async def test_what_is_no_month_and_who_is_no_org_is_refused(there: Busy) -> None:
    assert "is not a month" in (await json_of("close-month", "2026-13", code=1))["error"]
    assert "is not over" in (await json_of("close-month", "2099-01", code=1))["error"]
    assert "is not a month" in (await json_of("statement", "7", "october", code=1))["error"]
    assert (await json_of("statement", "7", "2026-10", code=1))["error"] == "org 7 has no account"
    assert (await json_of("statement", str(there.cash), "2099-01", code=1))["error"] == "2099-01 has not begun"
    period = ("--from", "2026-01-01", "--to", "2026-02-01")
    assert (await json_of("reprice", *period, "--org", "7", code=1))["error"] == "org 7 has no account"


async def test_what_no_book_can_hold_is_refused(there: Busy) -> None:
    early = ("--from", "1900-01-01", "--to", "2026-02-01")
    assert "count time from 1970-01-01 on" in (await json_of("reprice", *early, code=1))["error"]
    assert (await json_of("reprice", "--from", "1970-01-01", "--to", "1970-01-02"))["charges"] == 0
    for org in ("0", str(2**63)):
        assert "Invalid value" in (await ledger("statement", org, "2026-10", code=2)).stderr
        assert "Invalid value" in (await ledger("reprice", *early, "--org", org, code=2)).stderr
    assert "has no account" in (await json_of("statement", str(2**63 - 1), "2026-10", code=1))["error"]


async def test_a_month_before_anything_moved_is_not_closed(books: Books, there: Busy) -> None:
    assert "2020-01 is older than the books" in (await json_of("close-month", "2020-01", code=1))["error"]
    assert await books.value("SELECT count(*) FROM statement") == 0


async def test_tampering_with_a_closed_month_is_told(books: Books, there: Busy) -> None:
    await close_old_month(books)
    await books.tamper("UPDATE transfer SET reason = 'x' WHERE idem_key = 'start:1001'")
    difference = (await json_of("verify", code=1))["difference"]
    assert difference["check"] == "C11"
    assert "(cust_cash of org 1001), 2026-08: its transfers" in difference["what"]
