"""Usage × Price = cost, in integers.

Unit: nano-USD (10⁻⁹ USD). A rate is nano-USD per million tokens, so that $0.0375 per million is exact. Rounding happens
once per request, up, to one nano-USD. No float comes near.
"""

import hashlib
from typing import Final

import msgspec

NANO: Final = 1_000_000_000
PER_TOKENS: Final = 1_000_000
MAX_TOKENS: Final = 1 << 31  # a bucket above this is a broken counter, not a request
DAY_MINUTES: Final = 24 * 60
_BUCKETS: Final = ("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning")
EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Tokens in disjoint buckets; ``reasoning`` alone is a part of ``output``, shown and not priced twice."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        counts = (self.input, self.cache_read, self.cache_write, self.cache_write_1h, self.output, self.reasoning)
        if min(counts) < 0 or max(counts) > MAX_TOKENS:
            name, count = next((n, c) for n, c in zip(_BUCKETS, counts, strict=True) if not 0 <= c <= MAX_TOKENS)
            raise ValueError(f"{name} must be between 0 and {MAX_TOKENS}, not {count}")
        if self.reasoning > self.output:
            raise ValueError("reasoning is a part of output and cannot exceed it")

    @property
    def prompt(self) -> int:
        """Every token sent, cached or not: what tiers by input length are measured on."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """nano-USD per million tokens of each bucket."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} rate must not be negative")


class Override(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Other rates where every condition given holds. Times are UTC minutes of the day, days 0 = Monday.

    A window whose end is not after its start wraps past midnight and belongs to the day on which it began.
    """

    rates: Rates
    above_prompt_tokens: int | None = None
    utc_start: int | None = None
    utc_end: int | None = None
    utc_days: tuple[int, ...] | None = None

    def applies(self, prompt_tokens: int, started_ms: int) -> bool:
        if self.above_prompt_tokens is not None and prompt_tokens <= self.above_prompt_tokens:
            return False
        return self._in_window(started_ms // 60_000)

    def _in_window(self, minutes: int) -> bool:
        """Counted on the Unix clock, so that no time, however wrong, is out of a calendar's range."""
        days, minute = divmod(minutes, DAY_MINUTES)
        start, end = self.utc_start or 0, DAY_MINUTES if self.utc_end is None else self.utc_end
        day = (days + EPOCH_WEEKDAY) % 7
        if start < end:
            inside = start <= minute < end
        else:
            inside = minute >= start or minute < end
            day = day if minute >= start else (day - 1) % 7
        return inside and (self.utc_days is None or day in self.utc_days)


class Price(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One immutable version of what a Model costs. The last override that applies wins."""

    model: str
    rates: Rates
    overrides: tuple[Override, ...] = ()


def version_of(price: Price) -> str:
    """The price's id: a digest of its content, so an id can never come to mean another price."""
    return "pr_" + hashlib.sha256(msgspec.json.encode(price, order="sorted")).hexdigest()[:24]


def rates_at(price: Price, prompt_tokens: int, started_ms: int) -> Rates:
    """The rates of a request of this length that started at this Unix millisecond."""
    for override in reversed(price.overrides):
        if override.applies(prompt_tokens, started_ms):
            return override.rates
    return price.rates


def cost(price: Price, usage: Usage, started_ms: int) -> int:
    """nano-USD of this usage, rounded up once."""
    rates = rates_at(price, usage.prompt, started_ms)
    exact = (
        usage.input * rates.input
        + usage.cache_read * rates.cache_read
        + usage.cache_write * rates.cache_write
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
    )
    return -(-exact // PER_TOKENS)


def dearest(price: Price) -> tuple[int, int]:
    """The highest rate an input token and an output token can come to under any condition."""
    all_rates = [price.rates, *(override.rates for override in price.overrides)]
    inputs = max(max(r.input, r.cache_read, r.cache_write, r.cache_write_1h) for r in all_rates)
    return inputs, max(r.output for r in all_rates)


def ceiling(price: Price, input_bound: int, output_cap: int) -> int:
    """nano-USD that a request of at most these tokens can never exceed."""
    per_input, per_output = dearest(price)
    return -(-(input_bound * per_input + output_cap * per_output) // PER_TOKENS)


def affordable_output(price: Price, input_bound: int, available: int) -> int:
    """Most output tokens whose ceiling stays within ``available`` nano-USD; 0 when even the input does not."""
    per_input, per_output = dearest(price)
    left = available * PER_TOKENS - input_bound * per_input
    if left < 0:
        return 0
    return left // per_output if per_output else MAX_TOKENS


def usd(nano: int) -> str:
    """Exact decimal USD, nine places: ``"9.500000000"``."""
    sign, value = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{value // NANO}.{value % NANO:09d}"
