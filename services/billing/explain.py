"""One request, explained from the rows about it: what was used, at which rates, what that comes to and who paid. Pure.

Money is nano-USD, times are Unix milliseconds unless they are datetimes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from libs import ids, pricing
from libs.contracts.usage import Attempt
from libs.pricing import DAY_MINUTES, EPOCH_WEEKDAY, Override, Price, Rates, Usage

BUCKETS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output")
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
AUTHORIZED_WITHIN_MS: Final = 60_000  # of the time in the id


class Charge(msgspec.Struct, frozen=True):
    """A row of `charge`. ``price`` is the version that it names; None where nobody served the request."""

    org: int
    key: int
    outcome: str
    reason: str
    model: str
    offer: str
    provider: str
    provider_model: str
    provider_request_id: str | None
    producer: str
    price_id: str | None
    price: Price | None
    usage: Usage
    cost: int
    cash: int
    plan: int
    absorbed: int
    held: int
    epoch: int
    batch: int
    accepted_at: int
    started_at: int
    first_token_at: int | None
    ended_at: int
    charged_at: datetime
    attempts: tuple[Attempt, ...]


class Posted(msgspec.Struct, frozen=True):
    """A transfer of the charge's batch that this charge has a part in; accounts in words."""

    transfer_id: int
    idem_key: str
    debit: str
    credit: str
    amount: int


class Lease(msgspec.Struct, frozen=True):
    """The lease that the hold was in."""

    epoch: int
    shard: str
    state: str
    granted: int
    consumed: int
    plan_granted: int
    plan_consumed: int


class Anomaly(msgspec.Struct, frozen=True):
    anomaly_id: int
    kind: str
    detail: str
    seen_at: datetime


class Parked(msgspec.Struct, frozen=True):
    parked_id: int
    state: str
    reason: str
    parked_at: datetime
    decision: str | None


class Router(msgspec.Struct, frozen=True):
    """A router by its spool: the time up to which it is done, and how many of its records are not booked."""

    spool: str
    instance: str
    state: str
    watermark: int
    unbooked: int


class Found(msgspec.Struct, frozen=True):
    """Everything that billing's tables say of one request."""

    request_id: UUID
    charge: Charge | None = None
    transfers: tuple[Posted, ...] = ()
    lease: Lease | None = None
    anomalies: tuple[Anomaly, ...] = ()
    parked: tuple[Parked, ...] = ()
    routers: tuple[Router, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """``exact = tokens * rate``, in nano-USD per million."""

    bucket: str
    tokens: int
    rate: int
    exact: int


class Arithmetic(msgspec.Struct, frozen=True):
    """The cost, step by step: whose ``rates`` apply and on what ``conditions``; ``exact`` is the sum of the steps,
    ``cost`` a millionth of it, rounded up once."""

    rates: str
    conditions: tuple[str, ...]
    steps: tuple[Step, ...]
    exact: int
    cost: int


class Explanation(msgspec.Struct, frozen=True):
    """``where`` says where a request without a charge may be; ``right`` is whether the cost is what it comes to."""

    request_id: str
    charge: Charge | None
    arithmetic: Arithmetic | None
    right: bool
    transfers: tuple[Posted, ...]
    lease: Lease | None
    anomalies: tuple[Anomaly, ...]
    parked: tuple[Parked, ...]
    where: tuple[str, ...]


def explain(found: Found) -> Explanation:
    charge = found.charge
    sums = None if charge is None or charge.price is None else arithmetic(charge.price, charge.usage, charge.started_at)
    return Explanation(
        request_id=ids.public(found.request_id),
        charge=charge,
        arithmetic=sums,
        right=charge is not None and charge.cost == (sums.cost if sums else 0),
        transfers=found.transfers,
        lease=found.lease,
        anomalies=found.anomalies,
        parked=found.parked,
        where=() if charge else tuple(_whereabouts(found)),
    )


def arithmetic(price: Price, usage: Usage, started_at: int) -> Arithmetic:
    number, rates = _rates(price, usage.prompt, started_at)
    steps = tuple(_step(bucket, getattr(usage, bucket), getattr(rates, bucket)) for bucket in BUCKETS)
    steps = tuple(step for step in steps if step.tokens)
    exact = sum(step.exact for step in steps)
    why = () if number is None else tuple(_conditions(price.overrides[number], usage.prompt, started_at))
    cost = -(-exact // pricing.PER_TOKENS)
    return Arithmetic(_named(number, len(price.overrides)), why, steps, exact, cost)


def _step(bucket: str, tokens: int, rate: int) -> Step:
    return Step(bucket, tokens, rate, tokens * rate)


def _rates(price: Price, prompt: int, started_at: int) -> tuple[int | None, Rates]:
    """Which override applied, counted from 0, and its rates."""
    for number in reversed(range(len(price.overrides))):
        if price.overrides[number].applies(prompt, started_at):
            return number, price.overrides[number].rates
    return None, price.rates


def _named(number: int | None, count: int) -> str:
    if number is not None:
        return f"override {number + 1} of {count}"
    return f"the price's own rates, as none of its {count} overrides applies" if count else "the price's own rates"


def _conditions(override: Override, prompt: int, started_at: int) -> list[str]:
    said = []
    if override.above_prompt_tokens is not None:
        said.append(f"{prompt} prompt tokens are more than {override.above_prompt_tokens}")
    started = started_at // 60_000
    if override.utc_start is not None or override.utc_end is not None:
        window = f"{_clock(override.utc_start or 0)}-{_clock(override.utc_end or DAY_MINUTES)}"
        said.append(f"it started at {_clock(started % DAY_MINUTES)} UTC, within {window}")
    if override.utc_days is not None:
        day = DAYS[(started // DAY_MINUTES + EPOCH_WEEKDAY) % 7]
        said.append(f"it is {day}, in a window that begins on {', '.join(DAYS[each] for each in override.utc_days)}")
    return said or ["it has no condition"]


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _whereabouts(found: Found) -> Sequence[str]:
    """Where a request may be that is not in the books, likeliest first."""
    born = ids.millisecond_of(found.request_id)
    said = [f"it is parked as {each.parked_id} ({each.state}): {each.reason}" for each in found.parked]
    said += [
        f"its record may be in spool {each.spool} of {each.instance}, which was declared lost"
        if each.state == "lost"
        else f"its record may be in spool {each.spool} of {each.instance}: that is done up to {moment(each.watermark)} "
        f"and has {each.unbooked} records that are not booked"
        for each in found.routers
        if each.state != "gone" and each.watermark <= born + AUTHORIZED_WITHIN_MS
    ]
    if said:
        return said
    return [f"every router is done with requests of {moment(born)}: it was refused at the door, or never came"]


def moment(unix_ms: int) -> str:
    return stamp(datetime.fromtimestamp(unix_ms / 1000, UTC))


def stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"
