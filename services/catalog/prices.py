"""Prices as people write them, USD per million tokens, become exact rates and their conditions."""

import re
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Final

from libs.pricing import NANO, Override, Price, Rates
from services.catalog.fields import Fields

MAX_USD: Final = 10_000  # per million tokens: dearer than anything sold anywhere, so it is a slip of the pen
MAX_EXPONENT: Final = 30  # nine places can matter; 1e-999999999 must not be worked out to be refused
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def read_price(fields: Fields, model: str, context_tokens: int) -> Price:
    """The price of a model. Meaningless when mistakes were noted."""
    with fields:
        free = fields.flag("free", default=False)
        rates = _rates(fields, free=free)
        overrides = []
        tables = fields.tables("overrides")
        for table in tables:
            with table:
                overrides.append(_override(table, context_tokens, free=free))
        _refuse_dead(tables, overrides)
    return Price(model, rates, tuple(overrides))


def _rates(fields: Fields, *, free: bool) -> Rates:
    return Rates(**{bucket: _rate(fields, bucket, free=free) for bucket in Rates.__struct_fields__})


def _rate(fields: Fields, bucket: str, *, free: bool) -> int:
    """nano-USD per million tokens."""
    usd = _usd(fields, bucket)
    if usd is None:
        return 0
    if free != (usd == 0):
        fields.wrong(
            "must be 0, as free = true says" if free else "is 0, as only a price with free = true may be", bucket
        )
    nano = Fraction(usd) * NANO
    if nano.denominator != 1:
        fields.wrong("is finer than a nano-dollar: at most nine decimal places", bucket)
    return int(nano)


def _usd(fields: Fields, bucket: str) -> Decimal | None:
    value = fields.value(bucket)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if value is None:
        return None
    if not isinstance(value, Decimal) or not value.is_finite():
        fields.wrong('must be USD per million tokens, like "0.27"', bucket)
    elif value.is_signed():
        fields.wrong("must not be negative", bucket)
    elif value > MAX_USD:
        fields.wrong(f"is more than {MAX_USD} USD per million tokens", bucket)
    elif abs(int(value.as_tuple().exponent)) > MAX_EXPONENT:
        fields.wrong("has more digits than a price needs: at most nine decimal places", bucket)
    else:
        return value
    return None


def _override(fields: Fields, context_tokens: int, *, free: bool) -> Override:
    above = fields.maybe_tokens("above_prompt_tokens")
    if above and context_tokens and above >= context_tokens:
        fields.wrong(f"never applies: the model takes {context_tokens} tokens", "above_prompt_tokens")
    start, end = _window(fields)
    days = fields.choices("utc_days", DAYS)
    if not any(key in fields for key in ("above_prompt_tokens", "utc_start", "utc_end", "utc_days")):
        fields.wrong("has no condition: give above_prompt_tokens, utc_start and utc_end, or utc_days")
    if "utc_days" in fields and len(set(days)) in (0, len(DAYS)):
        fields.wrong("names every day: leave it out" if days else "names no day", "utc_days")
    numbers = tuple(sorted(DAYS.index(day) for day in days if day in DAYS)) or None
    return Override(_rates(fields, free=free), above, start, end, numbers)


def _window(fields: Fields) -> tuple[int | None, int | None]:
    """UTC minutes of the day, or None twice."""
    start, end = _minute(fields, "utc_start"), _minute(fields, "utc_end")
    for key, other in (("utc_start", "utc_end"), ("utc_end", "utc_start")):
        if key in fields and other not in fields:
            fields.wrong(f"needs {other}", key)
    if start is not None and start == end:
        fields.wrong("is the same as utc_start: that is the whole day, so leave both out", "utc_end")
    return start, end


def _minute(fields: Fields, key: str) -> int | None:
    value = fields.maybe(key)
    if value is None:
        return None
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        fields.wrong('must be a time of day in UTC, like "16:30"', key)
        return None
    return int(match[1]) * 60 + int(match[2])


def _refuse_dead(tables: list[Fields], overrides: list[Override]) -> None:
    """The last override that applies wins, so one that always applies when an earlier one does kills it."""
    for (table, early), (_, late) in combinations(zip(tables, overrides, strict=True), 2):
        if _reaches(late, early):
            table.wrong("is never used: a later override applies whenever this one does")


def _reaches(late: Override, early: Override) -> bool:
    if (late.above_prompt_tokens or 0) > (early.above_prompt_tokens or 0):
        return False
    if (late.utc_start, late.utc_end, late.utc_days) == (None, None, None):
        return True
    same_window = (late.utc_start, late.utc_end) == (early.utc_start, early.utc_end)
    return same_window and set(late.utc_days or range(7)) >= set(early.utc_days or range(7))
