"""`ledger explain` from real rows: what it says is what the books hold."""

import time

import pytest

from libs import ids
from services.billing import explain_text
from services.billing.explain import Explanation, explain
from services.billing.store import findings
from tests.fixtures import samples
from tests.fixtures.books import Books
from tests.fixtures.busy_books import Busy, busy


@pytest.fixture
async def there(books: Books) -> Busy:
    return await busy(books)


async def told(books: Books, request_id: object) -> Explanation:
    parsed = ids.parse_public(str(request_id))
    assert parsed is not None
    async with books.pool.acquire() as connection:
        return explain(await findings.find(connection, parsed))


async def test_a_request_that_plan_cash_and_house_paid_for(books: Books, there: Busy) -> None:
    said = await told(books, there.shared)
    assert said.charge is not None
    assert said.right
    assert min(said.charge.plan, said.charge.cash, said.charge.absorbed) > 0
    batch = said.charge.batch
    keys = {each.idem_key.rsplit(":", 1)[0] for each in said.transfers}
    assert keys == {f"usage:{batch}", "absorbed"}
    payers = {each.debit.split("(")[1] for each in said.transfers}
    assert payers == {f"cust_cash of org {there.both})", f"cust_plan of org {there.both})", "overrun_loss)"}
    for each in said.transfers:
        row = await books.pool.fetchrow(
            "SELECT idem_key, amount FROM transfer WHERE transfer_id = $1", each.transfer_id
        )
        assert row is not None
        assert (each.idem_key, each.amount) == tuple(row)
    text = explain_text.text(said)
    assert "their id chatcmpl-1" in text
    assert "attempt: deepseek-chat@other, 503, overloaded, 12 ms" in text
    assert "lease 1 in r0, open" in text
    assert f"paid by plan {said.charge.plan}, by cash {said.charge.cash}, by the house {said.charge.absorbed}" in text


async def test_a_late_request_shows_its_closed_lease_and_its_anomaly(books: Books, there: Busy) -> None:
    said = await told(books, there.late)
    assert said.lease is not None
    assert said.lease.state == "closed"
    assert [each.kind for each in said.anomalies] == ["lease was closed"]
    assert [each.debit.split("(")[1] for each in said.transfers] == ["overrun_loss)"]


async def test_a_hold_that_nobody_charged(books: Books, there: Busy) -> None:
    said = await told(books, there.orphan)
    assert said.charge is not None
    assert (said.charge.reason, said.arithmetic, said.right, said.transfers) == ("orphaned", None, True, ())
    assert [each.state for each in said.parked] == ["void"]
    assert "no price: nobody served it" in explain_text.text(said)


async def test_a_cost_that_was_changed_is_not_right(books: Books, there: Busy) -> None:
    await books.tamper("UPDATE charge SET cost = cost + 1, absorbed = absorbed + 1 WHERE absorbed > 0")
    said = await told(books, there.late)
    assert not said.right
    assert "THE BOOKS SAY" in explain_text.text(said)


async def test_an_unknown_request_may_be_parked_or_in_a_spool(books: Books, there: Busy) -> None:
    now = time.time_ns() // 1_000_000
    missing = samples.request_id(now, noise=77)
    assert (await told(books, missing)).where[0].startswith("every router is done with requests of ")
    await books.pool.execute(
        """
        INSERT INTO router (spool, instance, state, watermark, unbooked)
        VALUES ('behind', 'router-1', 'serving', $1, 3), ('ahead', 'router-2', 'serving', $2, 0)
        """,
        now - 1,
        now + 120_000,
    )
    [said] = (await told(books, missing)).where
    assert "spool behind of router-1" in said
    await books.pool.execute(
        "INSERT INTO parked (digest, reason, request_id, body) VALUES (sha256('x'), 'bad signature', $1, 'x')", missing
    )
    parked, _ = (await told(books, missing)).where
    assert "is parked as" in parked
    assert "bad signature" in parked
    assert (await told(books, missing)).charge is None
