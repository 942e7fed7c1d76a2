"""Prices as people write them become exact rates and conditions, or a mistake."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.pricing import NANO, Override, Price, Rates, Usage, cost
from services.catalog.prices import MAX_USD
from services.catalog.rules import Refused, read
from tests.unit.catalog.shelf_text import SHELF, edited

CHEAP = Rates(270_000_000, 1_100_000_000, 70_000_000, 270_000_000, 540_000_000)
DEAR = Rates(540_000_000, 2_200_000_000, 140_000_000, 540_000_000, 1_080_000_000)
TIER = SHELF[SHELF.index("[[models.acme-one.price.overrides]]") :]
BASE = SHELF[: SHELF.index("[[models.acme-one.price.overrides]]")]


def price_of(text: str) -> Price:
    return read(text).models[0].price


def reasons_of(text: str) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        read(text)
    return [(mistake.path.removeprefix("models.acme-one.price."), mistake.reason) for mistake in caught.value.mistakes]


def override(conditions: str) -> str:
    return TIER.replace("above_prompt_tokens = 32_000", conditions)


def test_a_tier_by_length_is_an_override() -> None:
    assert price_of(SHELF) == Price("acme-one", CHEAP, (Override(DEAR, above_prompt_tokens=32_000),))


def test_a_window_of_the_day_is_an_override_in_minutes() -> None:
    text = BASE + override('utc_start = "16:30"\nutc_end = "00:05"\nutc_days = ["fri", "mon"]')
    window = Override(DEAR, utc_start=16 * 60 + 30, utc_end=5, utc_days=(0, 4))
    assert price_of(text).overrides == (window,)


def test_a_day_of_the_week_alone_is_a_condition() -> None:
    assert price_of(BASE + override('utc_days = ["sun"]')).overrides == (Override(DEAR, utc_days=(6,)),)


def test_tiers_rise_and_windows_stand_beside_each_other() -> None:
    text = SHELF + override("above_prompt_tokens = 64_000") + override('utc_start = "01:00"\nutc_end = "04:00"')
    assert [(o.above_prompt_tokens, o.utc_start) for o in price_of(text).overrides] == [
        (32_000, None),
        (64_000, None),
        (None, 60),
    ]


@pytest.mark.parametrize("written", ["0.27", '"0.27"', "0.270", "27e-2", '"0.270000000"'])
def test_a_price_is_exact_in_quotes_and_without(written: str) -> None:
    assert price_of(edited('input = "0.27"', f"input = {written}")).rates.input == 270_000_000


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('"-0.27"', "negative"),
        ("-0.27", "negative"),
        ("-0.0", "negative"),
        ('"0.0000000001"', "finer than a nano-dollar"),
        ('"0.1000000000000000000000000001"', "finer than a nano-dollar"),
        ("1e-400", "more digits"),
        ("1e-999999999", "more digits"),
        ("1e999999999999999999999", "USD per million tokens, like"),
        ("nan", "USD per million tokens, like"),
        ("inf", "USD per million tokens, like"),
        ('"1,10"', "USD per million tokens, like"),
        ('"$1"', "USD per million tokens, like"),
        ('""', "USD per million tokens, like"),
        ('"٣"', "USD per million tokens, like"),
        ("true", "USD per million tokens, like"),
        ("[1]", "USD per million tokens, like"),
        ('"10000.01"', "more than 10000"),
        ("1e9", "more than 10000"),
        ('"0"', "only a price with free = true may"),
    ],
)
def test_a_price_that_is_none_is_a_mistake(written: str, reason: str) -> None:
    ((path, said),) = reasons_of(edited('input = "0.27"', f"input = {written}"))
    assert (path, reason in said) == ("input", True), said


@pytest.mark.parametrize("bucket", Rates.__struct_fields__)
def test_every_bucket_must_have_its_price(bucket: str) -> None:
    text = "".join(line for line in BASE.splitlines(keepends=True) if not line.startswith(f"{bucket} = "))
    assert reasons_of(text) == [(bucket, "is missing")]


def test_only_a_price_that_says_so_is_free() -> None:
    zeros = "".join(f'{bucket} = "0"\n' for bucket in Rates.__struct_fields__)
    head = BASE[: BASE.index('input = "0.27"')]
    assert price_of(head + "free = true\n" + zeros).rates == Rates(0, 0, 0, 0, 0)
    assert len(reasons_of(head + zeros)) == 5
    assert reasons_of(head + "free = true\n" + zeros.replace('output = "0"', 'output = "1"')) == [
        ("output", "must be 0, as free = true says")
    ]


@pytest.mark.parametrize(
    ("conditions", "at", "reason"),
    [
        ("", "", "has no condition"),
        ("utc_days = []", ".utc_days", "names no day"),
        ('utc_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]', ".utc_days", "names every day"),
        ('utc_days = ["monday"]', ".utc_days[0]", "did you mean 'mon'"),
        ('utc_start = "16:30"', ".utc_start", "needs utc_end"),
        ('utc_end = "16:30"', ".utc_end", "needs utc_start"),
        ('utc_start = "16:30"\nutc_end = "16:30"', ".utc_end", "the whole day"),
        ('utc_start = "24:00"\nutc_end = "01:00"', ".utc_start", 'like "16:30"'),
        ('utc_start = "1:30"\nutc_end = "02:00"', ".utc_start", 'like "16:30"'),
        ('utc_start = 16:30:00\nutc_end = "17:00"', ".utc_start", 'like "16:30"'),
        ("above_prompt_tokens = 0", ".above_prompt_tokens", "whole number"),
        ("above_prompt_tokens = 100_000", ".above_prompt_tokens", "never applies"),
        ('above_prompt_tokens = 5\nutc_from = "01:00"', ".utc_from", "not a known key"),
    ],
)
def test_a_condition_that_makes_no_sense_is_a_mistake(conditions: str, at: str, reason: str) -> None:
    said = reasons_of(BASE + override(conditions))
    assert [path for path, _ in said] == [f"overrides[0]{at}"]
    assert reason in said[0][1]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("above_prompt_tokens = 64_000", "above_prompt_tokens = 32_000"),
        ("above_prompt_tokens = 64_000", "above_prompt_tokens = 64_000"),
        ('above_prompt_tokens = 64_000\nutc_start = "01:00"\nutc_end = "02:00"', "above_prompt_tokens = 64_000"),
        ('utc_start = "01:00"\nutc_end = "02:00"\nutc_days = ["mon"]', 'utc_start = "01:00"\nutc_end = "02:00"'),
        ('utc_days = ["mon"]', 'utc_days = ["tue", "mon"]'),
    ],
)
def test_an_override_that_a_later_one_always_beats_is_a_mistake(early: str, late: str) -> None:
    assert reasons_of(BASE + override(early) + override(late)) == [
        ("overrides[0]", "is never used: a later override applies whenever this one does")
    ]
    assert len(price_of(BASE + override(late) + override("above_prompt_tokens = 99_999")).overrides) == 2


@given(st.integers(1, MAX_USD * NANO), st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_nano_dollar_can_be_written_and_is_charged(nano: int, quoted: bool) -> None:
    usd = f"{Decimal(nano).scaleb(-9):f}"
    price = price_of(edited('input = "0.27"', f'input = "{usd}"' if quoted else f"input = {Decimal(usd)}", BASE))
    assert price.rates.input == nano
    assert cost(price, Usage(input=1_000_000), 0) == nano
