"""The start record and the terminal record of one request."""

import msgspec
import pytest
from hypothesis import given

from libs.contracts import usage
from libs.contracts.dispatch import Dispatch, sign_hold
from libs.contracts.usage import Attempt, Outcome
from libs.pricing import Price, Usage, cost, version_of
from services.billing.verdict import Judge, honest
from services.router import record
from services.router.choose import choose
from services.router.record import End
from tests.fixtures.samples import HOLD_SECRET, NOW_MS, USAGE, hold, order, price, shelf
from tests.fixtures.strategies import prices, quick, usages

CHOSEN = choose(shelf(), "deepseek-chat", lambda _: "key", "")


def ended(outcome: Outcome = "usage", used: Usage = USAGE, sold: Price | None = None) -> usage.UsageEvent:
    asked = asked_of(sold or price())
    return record.end(record.start(asked, CHOSEN, NOW_MS + 5), asked, end_of(outcome, used))


def asked_of(sold: Price) -> Dispatch:
    """An order whose hold an edge has signed."""
    asked = order(price=sold, price_id=version_of(sold))
    signed = sign_hold(asked.request_id, asked.org, asked.key, asked.price_id, asked.hold, secret=HOLD_SECRET)
    return msgspec.structs.replace(asked, hold_sig=signed)


def end_of(outcome: Outcome, used: Usage) -> End:
    return End(
        outcome=outcome,
        reason="complete",
        usage=used,
        ended_at=NOW_MS + 900,
        first_token_at=NOW_MS + 50,
        upstream_id="chatcmpl-1",
        client_gone=True,
        attempts=(Attempt("deepseek-chat@deepseek", 200, "complete", 895),),
    )


def test_a_start_record_owes_nothing() -> None:
    found = record.start(order(), CHOSEN, NOW_MS + 5)
    assert (found.outcome, found.reason, found.cost, found.usage) == ("void", "router_lost", 0, Usage())
    assert (found.accepted_at, found.started_at, found.ended_at) == (NOW_MS, NOW_MS + 5, NOW_MS + 5)
    assert (found.org, found.key, found.model, found.hold, found.sig) == (7, 70, "deepseek-chat", hold(), "0" * 64)
    assert (found.offer, found.provider_model) == ("deepseek-chat@deepseek", "deepseek-chat")
    assert found.provider == "deepseek"
    assert (found.attempts, found.stream) == ((), True)


def test_a_terminal_record_says_how_it_ended_and_keeps_who_it_was() -> None:
    found = ended()
    assert (found.outcome, found.reason, found.usage, found.cost) == ("usage", "complete", USAGE, 614_000)
    assert (found.ended_at, found.first_token_at, found.client_gone) == (NOW_MS + 900, NOW_MS + 50, True)
    assert found.provider_request_id == "chatcmpl-1"
    assert found.attempts == (Attempt("deepseek-chat@deepseek", 200, "complete", 895),)
    start = record.start(order(), CHOSEN, NOW_MS + 5)
    same = ("request_id", "org", "key", "model", "offer", "hold", "accepted_at", "started_at", "stream")
    assert [getattr(found, name) for name in same] == [getattr(start, name) for name in same]


@given(prices(), usages())
@quick
def test_the_cost_is_the_price_of_the_start_even_above_the_hold(sold: Price, used: Usage) -> None:
    assert ended(used=used, sold=sold).cost == cost(sold, used, NOW_MS + 5)


@pytest.mark.parametrize(("outcome", "used"), [("usage", USAGE), ("estimated", USAGE), ("void", Usage())])
def test_what_the_router_records_billing_accepts(outcome: Outcome, used: Usage) -> None:
    assert judged(ended(outcome, used)).outcome == outcome


def judged(event: usage.UsageEvent) -> usage.UsageEvent:
    """The event as billing has it. Raises Refused."""
    raw, prices = usage.encode_event(event), {version_of(price()): price()}
    envelope = usage.Envelope(usage.SCHEMA, "router-0", NOW_MS, prices, [msgspec.Raw(raw)])
    return Judge(HOLD_SECRET, {}).judge(raw, envelope, honest(prices), NOW_MS).event


@pytest.mark.parametrize("outcome", ["usage", "estimated"])
def test_a_checkpoint_is_an_estimate_of_a_router_that_was_lost_and_billing_accepts_it(outcome: Outcome) -> None:
    asked, how = asked_of(price()), end_of(outcome, USAGE)
    found = record.checkpoint(record.start(asked, CHOSEN, NOW_MS + 5), asked, how)
    assert (found.outcome, found.reason, found.usage, found.cost) == ("estimated", "router_lost", USAGE, 614_000)
    assert (found.first_token_at, found.provider_request_id) == (NOW_MS + 50, "chatcmpl-1")
    assert judged(found) == found
