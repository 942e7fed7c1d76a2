"""The records of one request: the one that stands if we die now, and the one that says how it ended. Pure."""

import msgspec

from libs import pricing
from libs.contracts.dispatch import Dispatch
from libs.contracts.usage import Attempt, Outcome, UsageEvent
from libs.pricing import Usage
from services.router.choose import Chosen

LOST = "router_lost"


class End(msgspec.Struct, frozen=True):
    """How a request ended. Times are Unix milliseconds."""

    outcome: Outcome
    reason: str
    usage: Usage
    ended_at: int
    first_token_at: int | None = None
    upstream_id: str | None = None
    client_gone: bool = False
    attempts: tuple[Attempt, ...] = ()


def start(order: Dispatch, chosen: Chosen, started_at: int) -> UsageEvent:
    """Written before the provider is called: what is owed if nothing more is ever known."""
    offer = chosen.offer
    return UsageEvent(
        request_id=order.request_id,
        outcome="void",
        reason=LOST,
        org=order.org,
        key=order.key,
        model=order.model,
        offer=offer.id,
        provider=offer.provider,
        provider_model=offer.upstream_model,
        price_id=order.price_id,
        usage=Usage(),
        cost=0,
        hold=order.hold,
        sig=order.hold_sig,
        accepted_at=order.accepted_at,
        started_at=started_at,
        ended_at=started_at,
        stream=order.stream,
    )


def served_by(started: UsageEvent, chosen: Chosen) -> UsageEvent:
    """The record once another offer has taken over."""
    offer = chosen.offer
    return msgspec.structs.replace(
        started, offer=offer.id, provider=offer.provider, provider_model=offer.upstream_model
    )


def checkpoint(started: UsageEvent, order: Dispatch, how: End) -> UsageEvent:
    """What is owed if we die while an answer is being delivered: never the provider's own last word."""
    return msgspec.structs.replace(end(started, order, how), outcome="estimated", reason=LOST)


def end(started: UsageEvent, order: Dispatch, how: End) -> UsageEvent:
    """The terminal record. Its cost is what the tokens cost; billing takes no more of it than was held."""
    return msgspec.structs.replace(
        started,
        outcome=how.outcome,
        reason=how.reason,
        usage=how.usage,
        cost=pricing.cost(order.price, how.usage, started.started_at),
        ended_at=how.ended_at,
        first_token_at=how.first_token_at,
        provider_request_id=how.upstream_id,
        client_gone=how.client_gone,
        attempts=how.attempts,
    )
