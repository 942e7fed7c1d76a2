"""An explanation of a request, for people to read. Pure."""

from collections.abc import Iterator

from libs import pricing
from services.billing.explain import Arithmetic, Charge, Explanation, Lease, Parked, Posted, moment, stamp


def text(told: Explanation) -> str:
    lines = [told.request_id]
    if told.charge is None:
        lines += ["  is not in the books", *(f"  {each}" for each in told.where)]
    else:
        lines += _charge(told.charge)
        lines += _price(told.charge, told.arithmetic, right=told.right)
        lines += _payment(told.charge)
        lines += (_transfer(each) for each in told.transfers)
        lines += _lease(told.lease)
        lines += (
            f"  attempt: {each.offer}, {each.status}, {each.reason}, {each.ms} ms" for each in told.charge.attempts
        )
        lines += (_parked(each) for each in told.parked)
    lines += (
        f"  anomaly {each.anomaly_id} {stamp(each.seen_at)}: {each.kind} {each.detail}" for each in told.anomalies
    )
    return "\n".join(lines)


def _charge(charge: Charge) -> Iterator[str]:
    yield f"  {charge.outcome} ({charge.reason}), org {charge.org}, key {charge.key}"
    if charge.model:
        theirs = f", their id {charge.provider_request_id}" if charge.provider_request_id else ""
        yield f"  {charge.model} from {charge.offer or 'nobody'} ({charge.provider}: {charge.provider_model}){theirs}"
    if charge.producer:
        yield f"  reported by {charge.producer}"
    first = "" if charge.first_token_at is None else f", first word {moment(charge.first_token_at)}"
    yield f"  accepted {moment(charge.accepted_at)}, started {moment(charge.started_at)}{first}"
    yield f"  ended {moment(charge.ended_at)}, charged {stamp(charge.charged_at)} in batch {charge.batch}"


def _price(charge: Charge, sums: Arithmetic | None, *, right: bool) -> Iterator[str]:
    if sums is None:
        yield "  no price: nobody served it"
        return
    yield f"  price {charge.price_id}, nano-USD per million tokens: {sums.rates}"
    yield from (f"    because {each}" for each in sums.conditions)
    for step in sums.steps:
        note = (
            f"  ({charge.usage.reasoning} of them reasoning)"
            if step.bucket == "output" and charge.usage.reasoning
            else ""
        )
        yield f"    {step.bucket:<15}{step.tokens:>12} x {step.rate:>14} = {step.exact:>24}{note}"
    yield f"    {'sum':<44} = {sums.exact:>24}"
    yield f"    {'of a million, rounded up':<44} = {sums.cost:>24} nano-USD, ${pricing.usd(sums.cost)}"
    if not right:
        yield f"    THE BOOKS SAY {charge.cost}"


def _payment(charge: Charge) -> Iterator[str]:
    yield f"  held {charge.held}; paid by plan {charge.plan}, by cash {charge.cash}, by the house {charge.absorbed}"


def _transfer(each: Posted) -> str:
    way = f"from {each.debit} to {each.credit}"
    return f"  transfer {each.transfer_id} ({each.idem_key}): {each.amount} for its batch {way}"


def _parked(each: Parked) -> str:
    decision = f"; {each.decision}" if each.decision else ""
    return f"  parked {each.parked_id} ({each.state}) {stamp(each.parked_at)}: {each.reason}{decision}"


def _lease(lease: Lease | None) -> Iterator[str]:
    if lease is None:
        yield "  its lease was never made"
        return
    yield (
        f"  lease {lease.epoch} in {lease.shard}, {lease.state}: "
        f"{lease.consumed} of {lease.granted} cash and {lease.plan_consumed} of {lease.plan_granted} plan consumed"
    )
