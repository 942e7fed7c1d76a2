"""A request explained: the arithmetic is the price's own, and the text is what people were promised."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import pricing
from libs.contracts.usage import Attempt
from libs.pricing import Override, Price, Usage
from services.billing import explain
from services.billing.explain import Anomaly, Charge, Found, Lease, Parked, Posted, Router
from services.billing.explain_text import text
from tests.fixtures import samples
from tests.fixtures.samples import DEAR, NOW_MS, RATES

LATER = datetime(2026, 5, 28, 20, 26, 42, tzinfo=UTC)
PRICE = samples.price(
    Override(DEAR, above_prompt_tokens=1000, utc_start=18 * 60, utc_end=6 * 60, utc_days=(3, 4)),
    Override(RATES, above_prompt_tokens=100_000),
)
GOLDEN = """\
req_019e7044880070008000000000000001
  usage (complete), org 7, key 70
  deepseek-chat from deepseek-chat@deepseek (deepseek: deepseek-v3), their id chatcmpl-1
  accepted 2026-05-28 20:26:40.000Z, started 2026-05-28 20:26:40.005Z, first word 2026-05-28 20:26:40.300Z
  ended 2026-05-28 20:26:40.900Z, charged 2026-05-28 20:26:42.000Z in batch 42
  price PRICE, nano-USD per million tokens: override 1 of 2
    because 1200 prompt tokens are more than 1000
    because it started at 20:26 UTC, within 18:00-06:00
    because it is Thu, in a window that begins on Thu, Fri
    input                  1000 x      540000000 =             540000000000
    cache_read              200 x      140000000 =              28000000000
    output                  300 x     2200000000 =             660000000000  (100 of them reasoning)
    sum                                          =            1228000000000
    of a million, rounded up                     =                  1228000 nano-USD, $0.001228000
  held 1000000; paid by plan 400000, by cash 600000, by the house 228000
  transfer 5 (usage:42:17): 900000 for its batch from account 17 (cust_cash of org 7) to account 1 (revenue)
  transfer 6 (usage:42:18): 400000 for its batch from account 18 (cust_plan of org 7) to account 1 (revenue)
  transfer 7 (absorbed:42): 228000 for its batch from account 9 (overrun_loss) to account 1 (revenue)
  lease 3 in r0, open: 5000000 of 250000000 cash and 400000 of 400000 plan consumed
  attempt: deepseek-chat@other, 503, overloaded, 120 ms
  attempt: deepseek-chat@deepseek, 200, complete, 800 ms
  parked 4 (void) 2026-05-28 20:26:42.000Z: bad signature; ours
  anomaly 8 2026-05-28 20:26:42.000Z: same id, other payload {"cost": 1}"""


def charge(**changes: Any) -> Charge:
    good = Charge(
        org=7,
        key=70,
        outcome="usage",
        reason="complete",
        model="deepseek-chat",
        offer="deepseek-chat@deepseek",
        provider="deepseek",
        provider_model="deepseek-v3",
        provider_request_id="chatcmpl-1",
        producer="",
        price_id=pricing.version_of(PRICE),
        price=PRICE,
        usage=samples.USAGE,
        cost=1_228_000,
        cash=600_000,
        plan=400_000,
        absorbed=228_000,
        held=1_000_000,
        epoch=3,
        batch=42,
        accepted_at=NOW_MS,
        started_at=NOW_MS + 5,
        first_token_at=NOW_MS + 300,
        ended_at=NOW_MS + 900,
        charged_at=LATER,
        attempts=(
            Attempt("deepseek-chat@other", 503, "overloaded", 120),
            Attempt("deepseek-chat@deepseek", 200, "complete", 800),
        ),
    )
    return msgspec.structs.replace(good, **changes)


def found(**changes: Any) -> Found:
    cash, plan = "account 17 (cust_cash of org 7)", "account 18 (cust_plan of org 7)"
    good = Found(
        request_id=samples.request_id(),
        charge=charge(),
        transfers=(
            Posted(5, "usage:42:17", cash, "account 1 (revenue)", 900_000),
            Posted(6, "usage:42:18", plan, "account 1 (revenue)", 400_000),
            Posted(7, "absorbed:42", "account 9 (overrun_loss)", "account 1 (revenue)", 228_000),
        ),
        lease=Lease(3, "r0", "open", 250_000_000, 5_000_000, 400_000, 400_000),
        anomalies=(Anomaly(8, "same id, other payload", '{"cost": 1}', LATER),),
        parked=(Parked(4, "void", "bad signature", LATER, "ours"),),
    )
    return msgspec.structs.replace(good, **changes)


def told(**changes: Any) -> str:
    return text(explain.explain(found(**changes)))


def test_the_whole_story_word_for_word() -> None:
    assert told().replace(pricing.version_of(PRICE), "PRICE") == GOLDEN


def test_a_wrong_cost_is_shouted() -> None:
    wrong = explain.explain(found(charge=charge(cost=1_228_001, absorbed=228_001)))
    assert not wrong.right
    assert "    THE BOOKS SAY 1228001" in text(wrong).splitlines()


def test_an_orphaned_hold_has_no_price_and_is_right() -> None:
    orphan = charge(
        outcome="void", reason="orphaned", model="", price_id=None, price=None, usage=Usage(), cost=0, cash=0, plan=0
    )
    orphan = msgspec.structs.replace(orphan, absorbed=0, attempts=())
    said = explain.explain(found(charge=orphan, lease=None))
    assert said.right
    assert "  no price: nobody served it" in text(said).splitlines()
    assert "  its lease was never made" in text(said).splitlines()


RATE = st.integers(0, 10**12)
TOKENS = st.integers(0, 10**7)


@given(st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS), st.integers(0, 2**41), st.integers(0, 2 * 10**6))
def test_the_arithmetic_is_the_prices_own(usage: Usage, started_at: int, above: int) -> None:
    price = samples.price(Override(DEAR, above_prompt_tokens=above, utc_start=60, utc_end=120))
    sums = explain.arithmetic(price, usage, started_at)
    assert sums.cost == pricing.cost(price, usage, started_at)
    assert sums.exact == sum(step.tokens * step.rate for step in sums.steps)
    assert sums.rates.startswith("override") == (pricing.rates_at(price, usage.prompt, started_at) is DEAR)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (Override(DEAR), "it has no condition"),
        (Override(DEAR, utc_end=1439), "it started at 20:26 UTC, within 00:00-23:59"),
        (Override(DEAR, utc_start=1), "it started at 20:26 UTC, within 00:01-24:00"),
        (Override(DEAR, utc_days=(3,)), "it is Thu, in a window that begins on Thu"),
    ],
)
def test_it_says_why_these_rates(override: Override, said: str) -> None:
    sums = explain.arithmetic(samples.price(override), samples.USAGE, NOW_MS)
    assert (sums.rates, sums.conditions) == ("override 1 of 1", (said,))


def test_the_prices_own_rates_need_no_reason() -> None:
    plain = explain.arithmetic(Price("m", RATES), samples.USAGE, NOW_MS)
    assert (plain.rates, plain.conditions) == ("the price's own rates", ())
    other = explain.arithmetic(samples.price(Override(DEAR, above_prompt_tokens=5000)), samples.USAGE, NOW_MS)
    assert other.rates == "the price's own rates, as none of its 1 overrides applies"


def unknown(*routers: Router, parked: tuple[Parked, ...] = ()) -> str:
    return text(explain.explain(Found(samples.request_id(), parked=parked, routers=routers)))


def test_an_unknown_request_may_be_parked() -> None:
    said = unknown(parked=(Parked(4, "parked", "bad signature", LATER, None),))
    assert "  it is parked as 4 (parked): bad signature" in said.splitlines()


def test_an_unknown_request_may_be_in_a_spool_that_has_not_promised_otherwise() -> None:
    said = unknown(
        Router("s1", "router-1", "serving", NOW_MS + 5_000, 3),
        Router("s2", "router-2", "serving", NOW_MS + 90_000, 9),
        Router("s3", "router-3", "gone", NOW_MS, 0),
        Router("s4", "router-4", "lost", NOW_MS, 1),
    )
    assert "spool s1 of router-1: that is done up to 2026-05-28 20:26:45.000Z and has 3 records" in said
    assert "spool s4 of router-4, which was declared lost" in said
    assert "s2" not in said
    assert "s3" not in said


def test_an_unknown_request_was_never_admitted_when_every_router_is_done_with_its_time() -> None:
    said = unknown(Router("s2", "router-2", "serving", NOW_MS + 90_000, 9))
    assert said.endswith("it was refused at the door, or never came")
