"""The shelf on the wire: what one catalog sends, every edge and router reads."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given

from libs.contracts import catalog
from libs.contracts.catalog import Credential, Snapshot
from libs.pricing import Override, Price, Rates, version_of
from tests.fixtures.samples import DEAR, RATES, model, offer, price, provider
from tests.fixtures.strategies import prices, quick

FILE: Final = Path(__file__).parents[1] / "data" / "snapshot" / "first_release.json"
NIGHTS: Final = Override(DEAR, above_prompt_tokens=32_000, utc_start=990, utc_end=30, utc_days=(0, 4))
SAMPLE: Final = Snapshot(
    version=12,
    providers=(provider(),),
    models=(
        model(),
        model(
            id="claude-sonnet-4-20250514",
            price_id=version_of(price(NIGHTS, model="claude-sonnet-4-20250514")),
            price=price(NIGHTS, model="claude-sonnet-4-20250514"),
            protocols=("openai_chat", "anthropic_messages"),
            input_modalities=("text", "image"),
            served_as="deepseek-chat",
        ),
    ),
    offers=(
        offer(),
        offer(
            id="claude-sonnet-4-20250514@deepseek",
            model="claude-sonnet-4-20250514",
            protocol="anthropic_messages",
            on_disconnect="drain",
            priority=1,
        ),
    ),
)


def test_a_snapshot_arrives_as_it_was_sent() -> None:
    assert catalog.decode(catalog.encode(SAMPLE)) == SAMPLE


def test_a_snapshot_of_the_first_release_is_read_for_ever() -> None:
    """Edges and routers keep running on what an older catalog sent, and are replaced one by one."""
    assert catalog.decode(FILE.read_bytes()) == SAMPLE


def test_a_provider_of_the_first_release_has_the_credential_that_it_names() -> None:
    shelf = catalog.Shelf(catalog.decode(FILE.read_bytes()))
    assert list(shelf.credentials_of("deepseek")) == [Credential("deepseek", "deepseek", "DEEPSEEK_API_KEY")]
    assert list(shelf.credentials_of("nobody")) == []


def test_a_shelf_knows_the_credentials_of_each_provider_in_their_order() -> None:
    named = [Credential("deepseek", "deepseek", "A"), Credential("x", "other", "B"), Credential("c", "deepseek", "C")]
    shelf = catalog.Shelf(msgspec.structs.replace(SAMPLE, credentials=tuple(named)))
    assert list(shelf.credentials_of("deepseek")) == [named[0], named[2]]
    assert list(shelf.credentials_of("other")) == [named[1]]


def test_the_prices_of_the_sample_are_those_that_their_ids_name() -> None:
    found = catalog.decode(FILE.read_bytes())
    assert [version_of(sold.price) for sold in found.models] == [sold.price_id for sold in found.models]
    assert [sold.price.model for sold in found.models] == [sold.id for sold in found.models]


def test_fields_that_come_from_the_future_are_passed_over() -> None:
    said = json.loads(FILE.read_bytes())
    said["region"] = "eu"
    for part in ("providers", "models", "offers"):
        said[part][0]["quirks"] = {"cap_field": "max_tokens"}
    assert catalog.decode(json.dumps(said).encode()) == SAMPLE


@pytest.mark.parametrize("where", [("price",), ("price", "rates"), ("price", "overrides", 0)])
def test_but_a_price_with_something_unknown_in_it_is_not_sold(where: tuple[Any, ...]) -> None:
    """What cannot be understood cannot be charged: the last good snapshot stays instead."""
    said = json.loads(catalog.encode(SAMPLE))
    part = said["models"][1]
    for name in where:
        part = part[name]
    part["discount"] = 1
    with pytest.raises(msgspec.DecodeError):
        catalog.decode(json.dumps(said).encode())


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("offers", "protocol", "openai_responses"),
        ("offers", "on_disconnect", "wait"),
        ("offers", "priority", "first"),
        ("offers", "model", None),
        ("providers", "auth", {"openai_chat": "basic"}),
        ("providers", "base_urls", {"grpc": "https://x"}),
        ("models", "max_output_tokens", 1.5),
        ("models", "protocols", ["grpc"]),
        ("models", "price", None),
    ],
)
def test_a_snapshot_with_a_mistake_is_none(part: str, name: str, value: object) -> None:
    said = json.loads(catalog.encode(SAMPLE))
    said[part][0][name] = value
    with pytest.raises(msgspec.DecodeError):
        catalog.decode(json.dumps(said).encode())


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"version":1}', b"<html>"])
def test_what_is_no_snapshot_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        catalog.decode(body)


@given(prices())
@quick
def test_every_price_arrives_as_it_was_sent(sold: Price) -> None:
    sent = Snapshot(1, (), (model(price=sold, price_id=version_of(sold)),), ())
    (found,) = catalog.decode(catalog.encode(sent)).models
    assert found.price == sold
    assert version_of(found.price) == found.price_id


def test_rates_are_whole_numbers_by_name() -> None:
    assert msgspec.json.decode(msgspec.json.encode(RATES)) == {
        "input": 270_000_000,
        "output": 1_100_000_000,
        "cache_read": 70_000_000,
        "cache_write": 270_000_000,
        "cache_write_1h": 540_000_000,
    }
    assert Rates(**msgspec.json.decode(msgspec.json.encode(RATES))) == RATES
