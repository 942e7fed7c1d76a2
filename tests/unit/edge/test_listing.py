"""The shelf as customers see it."""

import json
from decimal import Decimal
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import InvalidRequest
from libs.pricing import Override
from services.edge import listing
from services.edge.api import models
from tests.fixtures.samples import DEAR, model, price
from tests.fixtures.strategies import quick

FIVE = [model(id=name) for name in "abcde"]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0"),
        (1, "0.000000000000001"),
        (270_000_000, "0.00000027"),
        (10**15, "1"),
        (10 * 10**15, "10"),
        (100 * 10**15 + 5, "100.000000000000005"),
    ],
)
def test_a_rate_is_an_exact_decimal_per_token(rate: int, text: str) -> None:
    assert listing.per_token(rate) == text


@given(st.integers(0, 10**18))
@quick
def test_no_digit_of_a_rate_is_lost(rate: int) -> None:
    assert Decimal(listing.per_token(rate)).scaleb(15) == rate


def test_a_model_for_openai_callers() -> None:
    found = listing.openai_model(model(served_as="deepseek-v3"))
    assert {name: found[name] for name in ("id", "object", "created", "owned_by")} == {
        "id": "deepseek-chat",
        "object": "model",
        "created": 1_760_000_000,
        "owned_by": "deepseek",
    }
    assert (found["context_length"], found["max_completion_tokens"]) == (128_000, 8_192)
    assert (found["protocols"], found["served_as"]) == (["openai_chat"], "deepseek-v3")
    assert found["pricing"] == {
        "prompt": "0.00000027",
        "completion": "0.0000011",
        "input_cache_read": "0.00000007",
        "input_cache_write": "0.00000027",
        "input_cache_write_1h": "0.00000054",
        "overrides": [],
    }
    assert listing.openai_list([model()]) == {"object": "list", "data": [listing.openai_model(model())]}


def test_a_model_for_anthropic_callers() -> None:
    found = listing.anthropic_model(model())
    assert {name: found[name] for name in ("type", "id", "display_name", "created_at")} == {
        "type": "model",
        "id": "deepseek-chat",
        "display_name": "DeepSeek Chat",
        "created_at": "2025-10-09T08:53:20Z",
    }
    assert found["pricing"] == listing.openai_model(model())["pricing"]


@pytest.mark.parametrize(
    ("override", "conditions"),
    [
        (Override(DEAR, above_prompt_tokens=32_000), {"min_prompt_tokens": 32_000}),
        (Override(DEAR, utc_start=0, utc_end=1440), {"utc_start": "0000", "utc_end": "2400"}),
        (Override(DEAR, utc_start=990, utc_end=30, utc_days=(0, 6)), {"utc_start": "1630", "utc_end": "0030"}),
    ],
)
def test_other_prices_are_told_with_their_conditions(override: Override, conditions: dict[str, Any]) -> None:
    (found,) = listing.openai_model(model(price=price(override)))["pricing"]["overrides"]
    assert found["prompt"] == "0.00000054"
    days = {"utc_days": ["mon", "sun"]} if override.utc_days else {}
    assert {n: v for n, v in found.items() if n.startswith(("min_", "utc_"))} == {**conditions, **days}


def test_all_of_it_is_json() -> None:
    shown = listing.anthropic_list(listing.page(FIVE, 20, None, None))
    assert json.loads(json.dumps(shown))["data"][0]["id"] == "a"


@pytest.mark.parametrize(
    ("limit", "after", "before", "ids", "more"),
    [
        (20, None, None, "abcde", False),
        (5, None, None, "abcde", False),
        (2, None, None, "ab", True),
        (2, "b", None, "cd", True),
        (2, "c", None, "de", False),
        (2, "e", None, "", False),
        (2, None, "e", "cd", True),
        (2, None, "c", "ab", False),
        (2, None, "b", "a", False),
        (2, None, "a", "", False),
        (2, "nothing", None, "ab", True),
        (2, None, "nothing", "ab", True),
    ],
)
def test_pages_go_both_ways(limit: int, after: str | None, before: str | None, ids: str, more: bool) -> None:
    found = listing.page(FIVE, limit, after, before)
    assert ("".join(m.id for m in found.models), found.has_more) == (ids, more)


@given(st.integers(1, 7))
@quick
def test_paging_through_shows_every_model_once(limit: int) -> None:
    seen, after, more = [], None, True
    while more:
        found = listing.anthropic_list(listing.page(FIVE, limit, after, None))
        seen += [shown["id"] for shown in found["data"]]
        after, more = found["last_id"], found["has_more"]
    assert seen == list("abcde")


def test_an_empty_page_has_no_ends() -> None:
    assert listing.anthropic_list(listing.page([], 20, None, None)) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }


@pytest.mark.parametrize("text", ["0", "1001", "-1", "x", "", "1.5", "²", "9" * 5000])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="whole number from 1 to 1000"):
        models._limit(make_mocked_request("GET", f"/v1/models?limit={text}"))


@pytest.mark.parametrize(("query", "limit"), [("", 20), ("?limit=1", 1), ("?limit=1000", 1000)])
def test_a_limit_may_be_named(query: str, limit: int) -> None:
    assert models._limit(make_mocked_request("GET", f"/v1/models{query}")) == limit
