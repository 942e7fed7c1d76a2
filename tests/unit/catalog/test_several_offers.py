"""Offers that share a model's requests: their places, weights and deadlines."""

import pytest

from libs.contracts.catalog import Deadlines, Offer, Shelf
from services.catalog.rules import Located, Refused, digest_of, read
from tests.unit.catalog.shelf_text import SHELF, edited, line_of

MODEL = 'owned_by = "acme"\n'
FIRST = 'upstream_model = "acme-one"\n'
SECOND = '[[models.acme-one.offers]]\nid = "second"\nprovider = "acme"\nupstream_model = "acme-one"\n'
PLACED = edited(FIRST, FIRST + "priority = 0\n")


def offers(text: str) -> dict[str, Offer]:
    return {offer.id: offer for offer in read(text).offers}


def mistakes_of(text: str) -> list[Located]:
    with pytest.raises(Refused) as caught:
        read(text)
    return caught.value.mistakes


def of_model(line: str, offer: str = "") -> str:
    """The shelf with a line in its model, and one in its offer."""
    return edited(FIRST, FIRST + offer, edited(MODEL, MODEL + line))


def test_offers_of_one_priority_share_by_weight() -> None:
    found = offers(PLACED + SECOND + "priority = 0\nweight = 3\n")
    assert {name: (offer.priority, offer.weight) for name, offer in found.items()} == {
        "acme-one@acme": (0, 1),
        "second": (0, 3),
    }


def test_a_priority_stands_over_the_order_of_the_file() -> None:
    snapshot = read(edited(FIRST, FIRST + "priority = 7\n") + SECOND + "priority = 2\n")
    assert [offer.id for offer in snapshot.offers] == ["second", "acme-one@acme"]
    assert [offer.id for offer in Shelf(snapshot).offers_of("acme-one")] == ["second", "acme-one@acme"]


def test_the_order_of_offers_with_one_priority_makes_no_other_shelf() -> None:
    one_way = PLACED + SECOND + "priority = 0\n"
    first = '[[models.acme-one.offers]]\nprovider = "acme"\nupstream_model = "acme-one"\npriority = 0\n'
    other_way = edited(first, SECOND + "priority = 0\n\n" + first, PLACED)
    assert digest_of(read(one_way)) == digest_of(read(other_way))


def test_a_weight_makes_another_shelf() -> None:
    assert digest_of(read(PLACED)) != digest_of(read(edited("priority = 0\n", "priority = 0\nweight = 2\n", PLACED)))


def test_either_every_offer_says_its_priority_or_none() -> None:
    text = PLACED + SECOND
    (mistake,) = mistakes_of(text)
    assert (mistake.path, mistake.line) == ("models.acme-one.offers[1].priority", line_of('id = "second"', text) - 1)
    assert mistake.reason == "is missing: other offers of this model have one"


def test_a_weight_that_would_divide_nothing_is_refused() -> None:
    text = SHELF + SECOND + "weight = 3\n"
    (mistake,) = mistakes_of(text)
    assert (mistake.line, mistake.reason.partition(":")[0]) == (line_of("weight", text), "needs a priority")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("weight = 0", "from 1 to 1000"),
        ("weight = 1001", "from 1 to 1000"),
        ("weight = 1.5", "whole number"),
        ("weight = true", "whole number"),
        ("weight = '2'", "whole number"),
    ],
)
def test_a_weight_that_is_none_is_refused(line: str, reason: str) -> None:
    text = edited("priority = 0\n", f"priority = 0\n{line}\n", PLACED)
    assert [(found.line, reason in found.reason) for found in mistakes_of(text)] == [(line_of("weight", text), True)]


@pytest.mark.parametrize("value", ["-1", "1001", "0.5", "'first'"])
def test_a_priority_that_is_none_is_refused(value: str) -> None:
    (mistake,) = mistakes_of(edited(FIRST, f"{FIRST}priority = {value}\n"))
    assert mistake.reason == "must be a whole number from 0 to 1000"


def test_deadlines_are_the_usual_ones_unless_something_is_said() -> None:
    assert offers(SHELF)["acme-one@acme"].deadlines == Deadlines(connect=10.0, first=120.0, idle=300.0, total=3500.0)


def test_a_models_deadlines_are_its_offers_deadlines() -> None:
    (found,) = offers(of_model("deadlines = { connect = 2, first = 30.5, total = 600 }\n")).values()
    assert found.deadlines == Deadlines(connect=2.0, first=30.5, idle=300.0, total=600.0)


def test_an_offer_changes_single_deadlines_of_its_model() -> None:
    (found,) = offers(of_model("deadlines = { first = 30, total = 600 }\n", "deadlines = { first = 45 }\n")).values()
    assert found.deadlines == Deadlines(first=45.0, total=600.0)


def test_another_offer_keeps_the_models_deadlines() -> None:
    found = offers(of_model("deadlines = { first = 30 }\n", "deadlines = { first = 45 }\n") + SECOND)
    assert [found[name].deadlines.first for name in ("acme-one@acme", "second")] == [45.0, 30.0]


def test_a_deadline_makes_another_shelf_and_a_usual_one_does_not() -> None:
    assert digest_of(read(of_model("deadlines = { first = 119 }\n"))) != digest_of(read(SHELF))
    assert digest_of(read(of_model("deadlines = { first = 120 }\n"))) == digest_of(read(SHELF))


@pytest.mark.parametrize(
    ("line", "key", "reason"),
    [
        ("deadlines = { first = 0 }", "first", "must be a number from 0.1 to 3500"),
        ("deadlines = { first = 3501 }", "first", "must be a number from 0.1 to 3500"),
        ("deadlines = { connect = 61 }", "connect", "must be a number from 0.1 to 60"),
        ("deadlines = { idle = '5 s' }", "idle", "must be a number from 0.1 to 3500"),
        ("deadlines = { total = nan }", "total", "must be a number from 0.1 to 3500"),
        ("deadlines = { total = true }", "total", "must be a number from 0.1 to 3500"),
        ("deadlines = { frist = 5 }", "frist", "is not a known key; did you mean 'first'?"),
        ("deadlines = { first = 90, total = 60 }", "first", "is more than total"),
        ("deadlines = { idle = 90, total = 60 }", "idle", "is more than total"),
    ],
)
def test_a_wrong_deadline_is_named_with_its_line(line: str, key: str, reason: str) -> None:
    for text, where in (
        (of_model(f"{line}\n"), f"models.acme-one.deadlines.{key}"),
        (of_model("", f"{line}\n"), f"models.acme-one.offers[0].deadlines.{key}"),
    ):
        assert mistakes_of(text) == [Located(line_of("deadlines", text), where, reason)]


def test_deadlines_that_are_no_table_are_refused() -> None:
    (mistake,) = mistakes_of(of_model("deadlines = 30\n"))
    assert (mistake.path, mistake.reason) == ("models.acme-one.deadlines", "must be a table")


def test_an_offer_that_contradicts_its_model_is_told_at_its_own_word() -> None:
    text = of_model("deadlines = { first = 90 }\n", "deadlines = { total = 60 }\n")
    assert mistakes_of(text) == [
        Located(line_of("total = 60", text), "models.acme-one.offers[0].deadlines.total", "is less than first")
    ]


def test_a_contradiction_of_the_model_is_told_once() -> None:
    (mistake,) = mistakes_of(of_model("deadlines = { first = 90, total = 60 }\n", "deadlines = { connect = 5 }\n"))
    assert mistake.path == "models.acme-one.deadlines.first"
