"""Usage × Price = cost: exact, rounded up once, and never above what was held."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs import pricing
from libs.pricing import MAX_TOKENS, Override, Price, Rates, Usage
from tests.fixtures.samples import DEAR, NOW_MS, RATES, price
from tests.fixtures.strategies import TIMES_MS, TOKENS, prices, thorough, usages

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUCKETS = ("input", "cache_read", "cache_write", "cache_write_1h", "output")


def at(text: str) -> int:
    """The Unix millisecond of a UTC time as it is written."""
    return int((datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) / timedelta(milliseconds=1))


def applies(override: Override, prompt: int, unix_ms: int) -> bool:
    """The rule once more, by walking through the window's days instead of by arithmetic."""
    if override.above_prompt_tokens is not None and prompt <= override.above_prompt_tokens:
        return False
    now = EPOCH + timedelta(milliseconds=unix_ms)
    start, end = override.utc_start or 0, 1440 if override.utc_end is None else override.utc_end
    length = end - start if end > start else end - start + 1440
    for begun in (now.date(), now.date() - timedelta(days=1)):
        opens = datetime(begun.year, begun.month, begun.day, tzinfo=UTC) + timedelta(minutes=start)
        if opens <= now < opens + timedelta(minutes=length):
            return override.utc_days is None or begun.weekday() in override.utc_days
    return False


def exact(sold: Price, usage: Usage, unix_ms: int) -> Fraction:
    fitting = [o.rates for o in sold.overrides if applies(o, usage.prompt, unix_ms)]
    rates = fitting[-1] if fitting else sold.rates
    return sum((Fraction(getattr(usage, b) * getattr(rates, b), 10**6) for b in BUCKETS), Fraction())


@given(prices(), usages(), st.integers(86_400_000, 4_000_000_000_000))
@thorough
def test_a_cost_is_the_exact_sum_rounded_up_to_one_nano_dollar(sold: Price, usage: Usage, unix_ms: int) -> None:
    assert pricing.cost(sold, usage, unix_ms) == ceil(exact(sold, usage, unix_ms))


def test_rounding_happens_once_and_not_per_bucket() -> None:
    sold = price(rates=Rates(1, 1, 1, 1, 1))
    assert pricing.cost(sold, Usage(1, 1, 1, 1, 1), NOW_MS) == 1
    assert pricing.cost(sold, Usage(input=1_000_000), NOW_MS) == 1
    assert pricing.cost(sold, Usage(input=999_999, output=2), NOW_MS) == 2
    assert pricing.cost(sold, Usage(), NOW_MS) == 0


def test_reasoning_is_part_of_output_and_not_priced_again() -> None:
    with_it = Usage(output=500, reasoning=500)
    assert pricing.cost(price(), with_it, NOW_MS) == pricing.cost(price(), Usage(output=500), NOW_MS) == 550_000


def test_every_bucket_has_its_own_rate() -> None:
    sold = price(rates=Rates(input=1, output=20, cache_read=300, cache_write=4000, cache_write_1h=50_000))
    paid = {b: pricing.cost(sold, Usage(**{b: 1_000_000}), NOW_MS) for b in BUCKETS}
    assert paid == {"input": 1, "output": 20, "cache_read": 300, "cache_write": 4000, "cache_write_1h": 50_000}


@pytest.mark.parametrize(
    ("usage", "rates"),
    [
        (Usage(input=32_000), RATES),
        (Usage(input=32_001), DEAR),
        (Usage(input=31_000, cache_read=1001), DEAR),
        (Usage(cache_write=16_000, cache_write_1h=16_001), DEAR),
        (Usage(input=32_000, output=90_000), RATES),
    ],
)
def test_a_tier_begins_above_its_threshold_counted_over_the_whole_prompt(usage: Usage, rates: Rates) -> None:
    sold = price(Override(DEAR, above_prompt_tokens=32_000))
    assert pricing.rates_at(sold, usage.prompt, NOW_MS) == rates


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-05-28T16:29:59.999", False),
        ("2026-05-28T16:30:00.000", True),
        ("2026-05-28T23:59:59.999", True),
        ("2026-05-29T00:29:59.999", True),
        ("2026-05-29T00:30:00.000", False),
    ],
)
def test_a_window_past_midnight_has_both_its_ends(moment: str, inside: bool) -> None:
    window = Override(DEAR, utc_start=16 * 60 + 30, utc_end=30)
    assert (pricing.rates_at(price(window), 1, at(moment)) == DEAR) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        ("2026-05-29T21:59:00", False),  # Friday, before
        ("2026-05-29T22:00:00", True),
        ("2026-05-30T01:59:00", True),  # Saturday night still is Friday's window
        ("2026-05-30T02:00:00", False),
        ("2026-05-30T22:00:00", False),  # Saturday's own does not exist
        ("2026-05-29T01:00:00", False),  # Thursday's neither
        ("2026-06-01T01:00:00", False),  # nor Sunday's, the Monday after
    ],
)
def test_a_window_belongs_to_the_day_on_which_it_began(moment: str, inside: bool) -> None:
    window = Override(DEAR, utc_start=22 * 60, utc_end=2 * 60, utc_days=(4,))
    assert (pricing.rates_at(price(window), 1, at(moment)) == DEAR) is inside


def test_sunday_night_reaches_into_monday() -> None:
    window = Override(DEAR, utc_start=23 * 60, utc_end=60, utc_days=(6,))
    assert pricing.rates_at(price(window), 1, at("2026-06-01T00:30:00")) == DEAR
    assert pricing.rates_at(price(window), 1, at("2026-05-31T00:30:00")) == RATES


def test_the_last_override_that_applies_wins() -> None:
    late = Rates(1, 2, 3, 4, 5)
    both = (Override(DEAR, above_prompt_tokens=10), Override(late, above_prompt_tokens=20))
    assert [pricing.rates_at(price(*both), n, NOW_MS) for n in (10, 20, 21)] == [RATES, DEAR, late]
    assert pricing.rates_at(price(*reversed(both)), 21, NOW_MS) == DEAR


def test_the_price_of_the_start_holds_to_the_end() -> None:
    window = Override(DEAR, utc_start=60, utc_end=120)
    used = Usage(input=1_000_000)
    assert pricing.cost(price(window), used, at("2026-05-28T01:59:59.999")) == DEAR.input
    assert pricing.cost(price(window), used, at("2026-05-28T02:00:00.000")) == RATES.input


@given(prices(), usages(), TIMES_MS, TOKENS, TOKENS)
@thorough
def test_no_usage_within_the_bounds_costs_more_than_the_ceiling(
    sold: Price, usage: Usage, unix_ms: int, more_input: int, more_output: int
) -> None:
    held = pricing.ceiling(sold, usage.prompt + more_input, usage.output + more_output)
    assert pricing.cost(sold, usage, unix_ms) <= held


@given(prices(), TOKENS, st.one_of(st.integers(0, 50), st.integers(0, 10**16)))
@example(price(rates=Rates(0, 3, 0, 0, 0)), 0, 1)
@thorough
def test_what_is_affordable_fits_and_one_token_more_does_not(sold: Price, bound: int, available: int) -> None:
    cap = pricing.affordable_output(sold, bound, available)
    assert cap >= 0
    if cap:
        assert pricing.ceiling(sold, bound, cap) <= available
    if pricing.dearest(sold)[1]:
        assert pricing.ceiling(sold, bound, cap + 1) > available
    elif pricing.ceiling(sold, bound, 0) <= available:
        assert cap == MAX_TOKENS


def test_nothing_is_affordable_when_the_input_is_not() -> None:
    assert pricing.affordable_output(price(), 1_000_000, RATES.cache_write_1h - 1) == 0
    assert pricing.affordable_output(price(rates=Rates(1, 0, 1, 1, 1)), 2_000_000, 1) == 0


@pytest.mark.parametrize("unix_ms", [-1, 0, 10**15, 10**18, 10**30, -(10**18)])
def test_a_time_out_of_this_world_has_a_price_all_the_same(unix_ms: int) -> None:
    assert pricing.rates_at(price(Override(DEAR, utc_start=0, utc_end=1440)), 1, unix_ms) == DEAR


@pytest.mark.parametrize("bucket", [*BUCKETS, "reasoning"])
@pytest.mark.parametrize("count", [-1, MAX_TOKENS + 1, 10**30])
def test_a_count_that_no_request_can_have_is_refused(bucket: str, count: int) -> None:
    with pytest.raises(ValueError, match=bucket):
        Usage(**{"output": MAX_TOKENS, bucket: count})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"output":9,"%b":%d}' % (bucket.encode(), count), type=Usage)


def test_more_reasoning_than_output_is_refused() -> None:
    with pytest.raises(ValueError, match="reasoning"):
        Usage(output=5, reasoning=6)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_negative_rate_is_refused(bucket: str) -> None:
    with pytest.raises(ValueError, match=f"{bucket} rate"):
        msgspec.structs.replace(RATES, **{bucket: -1})


@pytest.mark.parametrize("text", [b'{"input":1.5}', b'{"input":true}', b'{"input":"1"}', b'{"audio":1}'])
def test_usage_on_the_wire_is_whole_numbers_in_known_buckets(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Usage)


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (9_500_000_000, "9.500000000"),
        (-1, "-0.000000001"),
        (-1_000_000_001, "-1.000000001"),
        (10**24, "1000000000000000.000000000"),
    ],
)
def test_dollars_are_written_exactly(nano: int, text: str) -> None:
    assert pricing.usd(nano) == text
