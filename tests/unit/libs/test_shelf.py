"""A snapshot with its look-ups."""

from libs.contracts.catalog import EMPTY
from tests.fixtures.samples import model, offer, shelf


def test_offers_come_first_choice_first_and_keep_their_order_when_equal() -> None:
    made = shelf(
        offer(id="c", priority=2),
        offer(id="a", priority=0),
        offer(id="b2", priority=1),
        offer(id="b1", priority=1),
        offer(id="x", model="other", priority=-1),
    )
    assert [found.id for found in made.offers_of("deepseek-chat")] == ["a", "b2", "b1", "c"]
    assert [found.id for found in made.offers_of("other")] == ["x"]


def test_an_unknown_model_has_no_offers() -> None:
    assert list(shelf().offers_of("nothing")) == []
    assert list(EMPTY.offers_of("deepseek-chat")) == []


def test_models_and_providers_are_found_by_id() -> None:
    assert shelf().models == {"deepseek-chat": model()}
    assert set(shelf().providers) == {"deepseek"}
    assert (EMPTY.models, EMPTY.providers) == ({}, {})
