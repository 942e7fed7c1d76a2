"""Orgs with little credit, and events of which each token costs one nano-USD."""

from typing import Final
from uuid import UUID

from libs import pricing
from libs.contracts.usage import UsageEvent
from libs.pricing import Rates, Usage
from libs.runtime.clock import now_ms
from services.billing.portion import Amounts
from services.edge.ask import Ask
from tests.fixtures import samples
from tests.simulator.oracle import Dispatched

SHARD: Final = "r0"
ORGS: Final = 12
KEYS: Final = 2  # of each org; the last one has a cap
CAP: Final = 12_000
CREDIT: Final = Amounts(cash=10_000, plan=5_000)
LEAST_LEASED: Final = 3_000
MOST_LEASED: Final = 6_000
EACH: Final = 1_000_000  # nano-USD per million tokens
PRICE: Final = samples.price(rates=Rates(EACH, EACH, EACH, EACH, EACH))
PRICE_ID: Final = pricing.version_of(PRICE)
MODEL: Final = samples.model(price=PRICE, price_id=PRICE_ID, context_tokens=10**6, max_output_tokens=10**6)
INPUT: Final = 10


def ask(need: int, *, cap_given: bool) -> Ask:
    """A request that may cost so much."""
    return Ask(model=MODEL, choices=1, input_bound=INPUT, output_cap=need - INPUT, cap_given=cap_given)


def event(request: UUID, ended: Dispatched, began_at: int) -> UsageEvent:
    """What a router tells of a request that is over. One that cost nothing is void."""
    assert ended.cost is not None
    used = Usage(input=ended.cost) if ended.cost else Usage()
    return samples.event(
        PRICE,
        request_id=request,
        org=ended.payer.org,
        key=ended.payer.key,
        outcome="usage" if ended.cost else "void",
        usage=used,
        hold=ended.hold,
        accepted_at=began_at,
        started_at=began_at,
        ended_at=now_ms(),
    )
