"""A price's id is a digest of its content."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from libs.pricing import Override, Price, version_of
from tests.fixtures.samples import DEAR, RATES, price
from tests.fixtures.strategies import prices, quick

WINDOW = Override(DEAR, above_prompt_tokens=32_000, utc_start=990, utc_end=30, utc_days=(0, 4))


def test_ids_that_are_in_the_ledger_stay_what_they_are() -> None:
    """A changed digest would orphan every price version that was ever written down."""
    assert version_of(price()) == "pr_ce297f6b3ab8cd1252298023"
    assert version_of(price(WINDOW)) == "pr_74dfb6e5408016031ad390a3"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "deepseek-reasoner"},
        {"overrides": ()},
        {"overrides": (WINDOW, WINDOW)},
        *({"rates": msgspec.structs.replace(RATES, **{b: 1})} for b in RATES.__struct_fields__),
        *(
            {"overrides": (msgspec.structs.replace(WINDOW, **{name: value}),)}
            for name, value in {
                "rates": RATES,
                "above_prompt_tokens": 0,
                "utc_start": None,
                "utc_end": None,
                "utc_days": None,
            }.items()
        ),
        {"overrides": (msgspec.structs.replace(WINDOW, utc_start=0),)},
        {"overrides": (msgspec.structs.replace(WINDOW, utc_days=(0,)),)},
    ],
)
def test_any_other_content_has_another_id(changes: dict[str, Any]) -> None:
    other = msgspec.structs.replace(price(WINDOW), **changes)
    assert version_of(other) != version_of(price(WINDOW))


def test_the_order_of_overrides_is_content() -> None:
    tier = Override(RATES, above_prompt_tokens=5)
    assert version_of(price(WINDOW, tier)) != version_of(price(tier, WINDOW))


@given(prices())
@quick
def test_a_price_keeps_its_id_on_its_way_over_the_wire(sold: Price) -> None:
    assert version_of(msgspec.json.decode(msgspec.json.encode(sold), type=Price)) == version_of(sold)


@given(prices(), prices())
@quick
def test_two_prices_share_an_id_only_when_they_are_equal(one: Price, other: Price) -> None:
    assert (version_of(one) == version_of(other)) is (one == other)
