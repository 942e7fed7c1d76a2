"""The snapshot as it travels: a sample that every later release must still read, and write the same way."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from libs.contracts import catalog
from libs.contracts.catalog import Credential, Deadlines, Shelf, Snapshot
from libs.contracts.profile import Profile
from libs.pricing import version_of
from services.catalog.rules import read
from tests.unit.catalog.shelf_text import SHELF

SAMPLE = (Path(__file__).parents[1] / "data" / "catalog" / "snapshot.json").read_bytes()


def changed(path: list[str | int], value: object) -> bytes:
    """The sample with one value put in another's place."""
    document: Any = msgspec.json.decode(SAMPLE)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return msgspec.json.encode(document)


def test_the_sample_means_what_it_always_meant() -> None:
    assert catalog.decode(SAMPLE) == msgspec.structs.replace(read(SHELF), version=7)


def test_the_sample_is_written_as_it_always_was() -> None:
    written = msgspec.json.decode(catalog.encode(msgspec.structs.replace(read(SHELF), version=7)))
    assert written == msgspec.json.decode(SAMPLE)


def test_the_price_id_in_the_sample_still_stands_for_its_price() -> None:
    (model,) = catalog.decode(SAMPLE).models
    assert model.price_id == version_of(model.price)


def test_an_offer_of_the_release_before_has_the_plain_profile() -> None:
    document: Any = msgspec.json.decode(SAMPLE)
    del document["offers"][0]["profile"]
    assert catalog.decode(msgspec.json.encode(document)).offers[0].profile == Profile()


def test_a_snapshot_of_the_release_before_has_the_usual_deadlines_and_the_first_credentials() -> None:
    document: Any = msgspec.json.decode(SAMPLE)
    del document["credentials"]
    for field in ("weight", "paused", "deadlines"):
        del document["offers"][0][field]
    found = catalog.decode(msgspec.json.encode(document))
    (offer,) = found.offers
    assert (offer.weight, offer.paused, offer.deadlines) == (1, False, Deadlines(10.0, 120.0, 300.0, 3500.0))
    assert list(Shelf(found).credentials_of("acme")) == [Credential("acme", "acme", "ACME_API_KEY")]


def test_credentials_and_deadlines_arrive_as_they_were_sent() -> None:
    said = Snapshot(
        1,
        (),
        (),
        (),
        (
            Credential("acme", "acme", "ACME_API_KEY", paused=True),
            Credential("second", "acme", sealed="AQFh", weight=3, max_concurrent=50),
        ),
    )
    assert catalog.decode(catalog.encode(said)) == said
    assert msgspec.json.decode(msgspec.json.encode(Deadlines(total=60.0))) == {"total": 60.0}
    assert msgspec.json.decode(b'{"first": 5}', type=Deadlines) == Deadlines(first=5.0)


def test_a_credential_says_where_its_secret_is_and_nothing_that_is_plain() -> None:
    sent = msgspec.json.decode(catalog.encode(Snapshot(1, (), (), (), (Credential("a", "p", sealed="AQFh"),))))
    assert sent["credentials"] == [{"id": "a", "provider": "p", "sealed": "AQFh"}]


def test_only_what_is_not_plain_travels_and_arrives() -> None:
    said = Profile(vision=True, betas=None, max_temperature=1.0, errors={"1113": "account"}, efforts=("low", "max"))
    sent = msgspec.json.encode(said)
    assert msgspec.json.decode(sent, type=Profile) == said
    assert msgspec.json.decode(sent).keys() == {"vision", "betas", "max_temperature", "errors", "efforts"}


@pytest.mark.parametrize(
    "path",
    [
        ["news"],
        ["providers", 0, "news"],
        ["models", 0, "news"],
        ["offers", 0, "news"],
        ["offers", 0, "profile", "news"],
        ["offers", 0, "deadlines", "news"],
        ["credentials", 0, "news"],
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_field_of_a_later_release_is_passed_over(path: list[str | int]) -> None:
    assert catalog.decode(changed(path, {"any": "thing"})) == catalog.decode(SAMPLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["models", 0, "price", "rates", "input"], -1),
        (["models", 0, "price", "rates", "input"], 0.27),
        (["models", 0, "price", "rates", "news"], 1),
        (["models", 0, "price", "overrides", 0, "news"], 1),
        (["offers", 0, "protocol"], "telepathy"),
        (["offers", 0, "on_disconnect"], "ignore"),
        (["offers", 0, "profile"], None),
        (["offers", 0, "weight"], "heavy"),
        (["offers", 0, "paused"], None),
        (["offers", 0, "deadlines", "first"], "soon"),
        (["credentials", 0, "max_concurrent"], "many"),
        (["offers", 0, "profile", "thinking"], "telepathy"),
        (["providers", 0, "auth", "openai_chat"], "basic"),
        (["version"], "seven"),
    ],
    ids=str,
)
def test_a_snapshot_that_cannot_be_sold_from_is_not_read(path: list[str | int], value: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        catalog.decode(changed(path, value))
