"""`ledger verify` on books where everything has happened: all checks pass, and each finds what it is there for."""
# ruff: noqa: S608 - statements made of this file's constants

import tracemalloc
from typing import Final

import msgspec
import pytest

from libs import ids
from libs.pricing import Usage
from services.billing.verify import CHECKS, Truth, verify
from tests.fixtures import samples
from tests.fixtures.books import CREDIT, Books
from tests.fixtures.busy_books import PLAN, Busy, busy, close_old_month, failing

USUAL: Final = [check.name for check in CHECKS if not check.resting]
REVENUE: Final = "(SELECT account_id FROM account WHERE kind = 'revenue' AND shard = 0)"
CASH: Final = "(SELECT account_id FROM account WHERE kind = 'cust_cash' AND org_id = 1002)"
PLAN_OF: Final = "(SELECT account_id FROM account WHERE kind = 'cust_plan')"
SUMS: Final = """
    UPDATE balance b SET debits = (SELECT coalesce(sum(amount), 0) FROM transfer t WHERE t.debit_id = b.account_id),
        credits = (SELECT coalesce(sum(amount), 0) FROM transfer t WHERE t.credit_id = b.account_id)
"""
SPENDING: Final = """
    DELETE FROM key_spend;
    INSERT INTO key_spend SELECT org_id, key_id, lease_epoch, sum(cash + plan) FROM charge
    GROUP BY 1, 2, 3 HAVING sum(cash + plan) > 0
"""
FORGED_CREDIT: Final = f"""
    INSERT INTO transfer (idem_key, kind, debit_id, credit_id, amount)
    SELECT 'adj:forged', 'adjustment', account_id, {CASH}, 5 FROM account WHERE kind = 'promo_expense';
    {SUMS}
"""

ALONE: Final = [
    ("C1", f"UPDATE balance SET credits = credits + 1 WHERE account_id = {REVENUE}"),
    ("C1", "DELETE FROM balance WHERE account_id = (SELECT account_id FROM account WHERE kind = 'promo_expense')"),
    ("C3", "UPDATE charge SET accepted_at = accepted_at + 60001 WHERE reason = 'upstream_error'"),
    ("C3", "UPDATE charge SET request_id = overlay(request_id::text PLACING '4' FROM 15)::uuid WHERE model = ''"),
    ("C3", "UPDATE charge SET request_id = overlay(request_id::text PLACING 'c' FROM 20)::uuid WHERE model = ''"),
    ("C3", "UPDATE charge SET tok_input = 1 WHERE reason = 'orphaned'"),
    ("C3", "UPDATE charge SET model = 'deepseek-chat' WHERE reason = 'orphaned'"),
    ("C3", "UPDATE charge SET reason = 'complete' WHERE reason = 'orphaned'"),
    (
        "C3",
        "ALTER TABLE charge DROP CONSTRAINT charge_pkey;"
        "INSERT INTO charge SELECT * FROM charge WHERE reason = 'upstream_error'",
    ),
    (
        "C3",
        "ALTER TABLE charge DROP CONSTRAINT charge_outcome_check;"
        "UPDATE charge SET outcome = 'maybe' WHERE reason = 'upstream_error'",
    ),
    ("C4", "UPDATE charge SET tok_output = tok_output + 1000 WHERE outcome = 'estimated'"),
    ("C4", "UPDATE charge SET tok_reasoning = tok_output + 1 WHERE outcome = 'estimated'"),
    ("C4", "UPDATE price_version SET content = jsonb_set(content, '{rates,output}', '1')"),
    ("C4", "UPDATE price_version SET content = content || '{\"discount\": 1}'"),
    ("C4", "DELETE FROM price_version"),
    ("C5", "UPDATE charge SET batch_id = batch_id + 1000 WHERE outcome = 'estimated'"),
    ("C5", "UPDATE charge SET batch_id = batch_id + 1000 WHERE plan > 0 AND absorbed > 0"),
    (
        "C6",
        f"UPDATE lease SET granted = granted + {CREDIT} WHERE org_id = 1002;"
        f"UPDATE balance SET leased = leased + {CREDIT} WHERE account_id = {CASH}",
    ),
    (
        "C6",
        f"UPDATE lease SET plan_granted = plan_granted + {PLAN} WHERE org_id = 1001;"
        f"UPDATE balance SET leased = leased + {PLAN} WHERE account_id = {PLAN_OF}",
    ),
    (
        "C7",
        "ALTER TABLE charge DROP CONSTRAINT charge_check1;"
        "UPDATE charge SET held = cash + plan - 1 WHERE outcome = 'estimated'",
    ),
    (
        "C7",
        "ALTER TABLE charge DROP CONSTRAINT charge_check; UPDATE charge SET cash = cash + CASE request_id WHEN"
        " (SELECT max(request_id::text)::uuid FROM charge WHERE org_id = 1001 AND plan = 0) THEN 1 ELSE -1 END"
        " WHERE org_id = 1001 AND plan = 0",
    ),
    ("C7", "UPDATE charge SET held = held + 1 WHERE absorbed > 0 AND plan > 0"),
    ("C7", "UPDATE lease SET state = 'doubt', doubt_at = now(), granted = 0 WHERE state = 'closed'"),
    ("I3", "UPDATE lease SET consumed = consumed - 1, granted = granted - 1 WHERE org_id = 1002"),
    ("I3", "UPDATE lease SET plan_consumed = plan_consumed - 1, plan_granted = plan_granted - 1 WHERE org_id = 1001"),
    ("I3", f"UPDATE charge SET lease_epoch = 2 WHERE outcome = 'estimated'; {SPENDING}"),
    ("K1", "UPDATE key_spend SET nano = nano - 1 WHERE org_id = 1002"),
    ("K1", "DELETE FROM key_spend WHERE org_id = 1001"),
    ("K1", "INSERT INTO key_spend VALUES (1003, 70, 1, 1)"),
    ("K1", "UPDATE charge SET key_id = 71 WHERE outcome = 'estimated'"),
    ("I1", f"UPDATE balance SET leased = leased - 1 WHERE account_id = {CASH}"),
    ("I1", f"UPDATE balance SET leased = leased - 1 WHERE account_id = {PLAN_OF}"),
    ("I1", f"UPDATE balance SET leased = 1 WHERE account_id = {REVENUE}"),
    ("I1", "INSERT INTO lease (org_id, epoch, shard, gen, granted) VALUES (5, 1, 'r0', 'g', 10)"),
    ("C9", "UPDATE transfer SET kind = 'gift' WHERE kind = 'adjustment'"),
    ("C9", "UPDATE transfer SET idem_key = 'forged' WHERE idem_key = 'start:1001'"),
    (
        "C9",
        "ALTER TABLE transfer DROP CONSTRAINT transfer_idem_key_key;"
        "UPDATE transfer SET idem_key = 'start:1001' WHERE idem_key = 'start:1002'",
    ),
    (
        "C9",
        "UPDATE transfer SET debit_id = (SELECT account_id FROM account WHERE kind = 'overrun_loss')"
        f" WHERE kind = 'adjustment'; {SUMS}",
    ),
    ("C10", "DELETE FROM anomaly WHERE kind = 'lease was closed'"),
    ("C10", "INSERT INTO anomaly (kind, request_id) VALUES ('odd', gen_random_uuid())"),
]


@pytest.fixture
async def there(books: Books) -> Busy:
    """Busy books, found right before each test."""
    made = await busy(books)
    assert await failing(books) == set()
    return made


async def test_busy_books_pass_every_check(books: Books, there: Busy) -> None:
    assert await close_old_month(books) > 10
    async with books.pool.acquire() as connection:
        seen = [(check.name, difference) async for check, difference in verify(connection)]
    assert seen == [(name, None) for name in USUAL]


async def test_new_books_pass_every_check_also_at_rest(books: Books) -> None:
    assert await failing(books, at_rest=True) == set()


@pytest.mark.parametrize(("check", "statement"), ALONE)
async def test_what_is_changed_behind_its_back_is_found_by_the_check_for_it(
    books: Books, there: Busy, check: str, statement: str
) -> None:
    await books.tamper(statement)
    assert await failing(books) == {check}


@pytest.mark.parametrize(
    ("checks", "statement"),
    [
        ({"C1", "C5"}, "UPDATE transfer SET amount = amount + 1 WHERE kind = 'usage'"),
        ({"C2", "C5", "I3", "K1", "C10"}, "DELETE FROM charge"),
        ({"C2", "C5", "I3"}, "UPDATE charge SET org_id = 1002 WHERE org_id = 1001"),
        ({"C2", "C5", "I3"}, "UPDATE charge SET org_id = 999 WHERE org_id = 1001"),
        ({"C4", "C5"}, "UPDATE charge SET cost = cost + 1, absorbed = absorbed + 1, held = cash + plan"),
        ({"C2", "C5"}, f"DELETE FROM transfer WHERE kind = 'usage'; {SUMS}"),
    ],
)
async def test_money_that_goes_missing_is_found_from_both_ends(
    books: Books, there: Busy, checks: set[str], statement: str
) -> None:
    await books.tamper(statement)
    assert await failing(books) >= checks


async def test_a_difference_ends_the_run_and_is_told_in_words(books: Books, there: Busy) -> None:
    await books.tamper(f"UPDATE balance SET leased = leased - 1 WHERE account_id = {CASH}")
    async with books.pool.acquire() as connection:
        seen = [(check.name, difference) async for check, difference in verify(connection)]
    name, difference = seen[-1]
    assert [name for name, _ in seen] == USUAL[: USUAL.index("I1") + 1]
    assert difference is not None
    assert (name, difference.check) == ("I1", "I1")
    assert "org 1002, cust_cash" in difference.what


async def test_an_org_below_zero_is_no_difference_once_it_is_frozen(books: Books, there: Busy) -> None:
    await books.tamper(
        f"UPDATE transfer SET amount = 1 WHERE idem_key = 'start:1002'; {SUMS};"
        f"UPDATE balance SET frozen = TRUE WHERE account_id = {CASH}"
    )
    assert await failing(books) == set()
    await books.tamper("UPDATE balance SET frozen = FALSE")
    assert await failing(books) == {"C6"}


async def truth(books: Books, there: Busy) -> Truth:
    """What honest witnesses say of these books."""
    rows = await books.pool.fetch("SELECT request_id FROM charge")
    return Truth(
        credited={there.both: CREDIT + PLAN, there.cash: CREDIT, there.closed: CREDIT},
        admitted=tuple(ids.public(row["request_id"]) for row in rows),
        served={ids.public(there.shared): samples.USAGE, ids.public(there.late): samples.USAGE},
        parked=1,
        anomalies=2,
    )


async def test_what_witnesses_say_is_what_the_books_say(books: Books, there: Busy) -> None:
    assert await failing(books, await truth(books, there)) == set()


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("C2", {"credited": {1001: CREDIT + PLAN, 1002: CREDIT, 1003: CREDIT + 1}}),
        ("C2", {"credited": {1001: CREDIT + PLAN, 1002: CREDIT}}),
        ("C2", {"credited": {1001: CREDIT + PLAN, 1002: CREDIT, 1003: CREDIT, 1004: 5}}),
        ("C3", {"admitted": ()}),
        ("C10", {"parked": 0}),
        ("C10", {"anomalies": 3}),
    ],
)
async def test_a_witness_who_says_otherwise_is_heard(
    books: Books, there: Busy, check: str, change: dict[str, object]
) -> None:
    said = msgspec.structs.replace(await truth(books, there), **change)
    assert await failing(books, said) == {check}


async def test_a_request_that_was_admitted_and_is_not_charged_is_found(books: Books, there: Busy) -> None:
    said = await truth(books, there)
    missing = ids.public(samples.request_id(noise=99))
    more = msgspec.structs.replace(said, admitted=(*(said.admitted or ()), missing))
    async with books.pool.acquire() as connection:
        [(_, difference)] = [each async for each in verify(connection, more, only=["C3"])]
    assert difference is not None
    assert difference.what == f"request {missing}: admitted, and not charged"


async def test_a_provider_that_served_something_else_is_heard(books: Books, there: Busy) -> None:
    said = Truth(served={ids.public(there.shared): Usage(input=1)})
    assert await failing(books, said) == {"C4"}


async def test_credit_that_nobody_gave_is_found_when_givers_are_asked(books: Books, there: Busy) -> None:
    said = await truth(books, there)
    await books.tamper(FORGED_CREDIT)
    assert await failing(books) == set(), "the books alone cannot know"
    assert await failing(books, said) == {"C2"}


async def test_at_rest_nothing_is_undecided_or_in_doubt(books: Books, there: Busy) -> None:
    assert await failing(books, at_rest=True) == {"C10"}
    known = Truth(parked=1, anomalies=2)
    assert await failing(books, known, at_rest=True) == set()
    await books.pool.execute("UPDATE lease SET state = 'doubt', doubt_at = now() WHERE org_id = $1", there.cash)
    assert await failing(books, known, at_rest=True) == {"C8"}
    assert await failing(books, known) == set()


async def test_at_rest_what_was_replayed_is_charged(books: Books, there: Busy) -> None:
    known = Truth(parked=1, anomalies=2)
    await books.tamper("UPDATE parked SET state = 'replayed' WHERE request_id IS NOT NULL")
    assert await failing(books, known, at_rest=True) == set()
    await books.tamper("UPDATE parked SET request_id = gen_random_uuid() WHERE request_id IS NOT NULL")
    assert await failing(books, known, at_rest=True) == {"C10"}
    assert await failing(books, known) == set()


def test_a_truth_names_requests_as_customers_do() -> None:
    with pytest.raises(msgspec.ValidationError, match="is not a request id"):
        msgspec.json.decode(b'{"admitted": ["req_1"]}', type=Truth)
    with pytest.raises(msgspec.ValidationError, match="is not a request id"):
        msgspec.json.decode(b'{"served": {"x": {}}}', type=Truth)
    read = msgspec.json.decode(b'{"credited": {"7": 5}, "parked": 1}', type=Truth)
    assert read == Truth(credited={7: 5}, parked=1)


async def test_books_are_read_in_pieces_however_long_they_are(books: Books, there: Busy) -> None:
    """Forty thousand charges as rows of Python would be tens of megabytes."""
    await books.tamper(
        """
        INSERT INTO charge
        SELECT overlay(request_id::text PLACING lpad(to_hex(i), 12, '0') FROM 25)::uuid, org_id, key_id, outcome,
            reason, model, offer, provider, provider_model, provider_request_id, price_id, tok_input, tok_cache_read,
            tok_cache_write, tok_cache_write_1h, tok_output, tok_reasoning, cost, cash, plan, absorbed, held,
            lease_epoch, stream, client_gone, accepted_at, started_at, first_token_at, ended_at, attempts, batch_id,
            ev_hash, charged_at, producer
        FROM charge, generate_series(100000, 140000) i WHERE reason = 'upstream_error'
        """
    )
    tracemalloc.start()
    try:
        assert await failing(books) == set()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
