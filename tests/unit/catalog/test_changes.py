"""What a publication changed is told model by model."""

from libs.contracts.catalog import Snapshot
from services.catalog.changes import Changes, changes_of
from services.catalog.rules import read
from tests.unit.catalog.shelf_text import SHELF, edited

EMPTY = Snapshot(0, (), (), ())


def test_what_came_and_what_went_is_told() -> None:
    assert changes_of(EMPTY, read(SHELF)) == Changes(added=("acme-one",), providers=("acme",))
    assert changes_of(read(SHELF), EMPTY) == Changes(removed=("acme-one",), providers=("acme",))
    assert changes_of(read(SHELF), read(SHELF)) == Changes()


def test_a_new_price_is_told_apart_from_any_other_change() -> None:
    before = read(SHELF)
    assert changes_of(before, read(edited('"1.10"', '"1.11"'))) == Changes(repriced=("acme-one",))
    assert changes_of(before, read(edited("8_000", "9_000"))) == Changes(changed=("acme-one",))


def test_a_change_of_an_offer_is_a_change_of_its_model() -> None:
    after = read(edited('upstream_model = "acme-one"', 'upstream_model = "acme-one"\nid = "other"'))
    assert changes_of(read(SHELF), after) == Changes(changed=("acme-one",))


def test_a_change_of_what_an_endpoint_takes_is_a_change_of_the_models_behind_it() -> None:
    after = read(edited('upstream_model = "acme-one"', 'upstream_model = "acme-one"\nprofile = { top_k = true }'))
    assert changes_of(read(SHELF), after) == Changes(changed=("acme-one",))


def test_a_provider_that_moved_is_told() -> None:
    assert changes_of(read(SHELF), read(edited("example/v1", "example/v2"))) == Changes(providers=("acme",))
