"""Several credentials of one provider, by the names of their variables."""

import pytest

from libs.contracts.catalog import Credential, Shelf
from services.catalog.changes import changes_of
from services.catalog.rules import Located, Refused, digest_of, read
from tests.unit.catalog.shelf_text import SHELF, edited, line_of

NAMED = 'credential = "ACME_API_KEY"\n'
OTHER = """
[providers.other]
name = "Other"
credential = "OTHER_API_KEY"
default_protocol = "openai_chat"
on_disconnect = "drain"
protocols.openai_chat = { base_url = "https://api.other.example/v1", auth = "bearer" }
"""
FIRST = Credential("acme", "acme", "ACME_API_KEY")
SECOND = Credential("second", "acme", "ACME_API_KEY_2", weight=2, max_concurrent=50)
LINE = '{ id = "second", variable = "ACME_API_KEY_2", weight = 2, max_concurrent = 50 }'


def listing(*items: str) -> str:
    return edited(NAMED, NAMED + f"credentials = [\n{', '.join(f'{item}' for item in items)},\n]\n")


def mistakes_of(text: str) -> list[Located]:
    with pytest.raises(Refused) as caught:
        read(text)
    return caught.value.mistakes


def test_the_first_credential_has_the_providers_own_id() -> None:
    snapshot = read(SHELF)
    assert snapshot.credentials == (FIRST,)
    assert snapshot.providers[0].credential == "ACME_API_KEY"


def test_a_provider_may_have_several() -> None:
    assert read(listing(LINE)).credentials == (FIRST, SECOND)
    assert list(Shelf(read(listing(LINE))).credentials_of("acme")) == [FIRST, SECOND]


def test_an_item_with_the_providers_own_id_says_more_about_the_first() -> None:
    found = read(listing(LINE, '{ id = "acme", weight = 5, max_concurrent = 9 }'))
    assert found.credentials == (Credential("acme", "acme", "ACME_API_KEY", weight=5, max_concurrent=9), SECOND)
    assert found.providers[0].credential == "ACME_API_KEY"


def test_their_order_does_not_matter_and_the_first_stays_first() -> None:
    items = ['{ id = "a", variable = "ACME_A" }', LINE]
    one, other = read(listing(*items)), read(listing(*reversed(items)))
    assert one == other
    assert [credential.id for credential in one.credentials] == ["acme", "a", "second"]


def test_a_new_credential_makes_another_shelf_and_is_told_as_a_change_of_the_provider() -> None:
    before, after = read(SHELF), read(listing(LINE))
    assert digest_of(before) != digest_of(after)
    assert changes_of(before, after).providers == ("acme",)
    assert changes_of(before, after).changed == ()


@pytest.mark.parametrize(
    ("item", "key", "reason"),
    [
        ('{ variable = "ACME_2" }', "id", "is missing"),
        ('{ id = "Second", variable = "ACME_2" }', "id", "must be up to 64 lower-case letters"),
        ('{ id = "second" }', "variable", "is missing"),
        ('{ id = "second", variable = "sk-live-1" }', "variable", "never the credential itself"),
        ('{ id = "second", variable = "ACME_API_KEY" }', "variable", "is the variable of another credential"),
        ('{ id = "acme", variable = "ACME_2" }', "variable", "is what `credential` says"),
        ('{ id = "second", variable = "ACME_2", weight = 0 }', "weight", "from 1 to 1000"),
        ('{ id = "second", variable = "ACME_2", max_concurrent = 0 }', "max_concurrent", "from 1 to 1000000"),
        ('{ id = "second", variable = "ACME_2", max_concurent = 5 }', "max_concurent", "did you mean 'max_concurrent'"),
        ('{ id = "second", variable = "ACME_2", secret = "x" }', "secret", "is not a known key"),
    ],
)
def test_a_wrong_credential_is_named_with_its_line(item: str, key: str, reason: str) -> None:
    text = listing(item)
    (mistake,) = mistakes_of(text)
    assert (mistake.path, mistake.line) == (f"providers.acme.credentials[0].{key}", line_of(item, text))
    assert reason in mistake.reason
    assert "sk-live" not in mistake.reason


def test_an_id_may_be_there_once() -> None:
    text = listing(LINE, '{ id = "second", variable = "ACME_3" }')
    (mistake,) = mistakes_of(text)
    assert (mistake.path, mistake.reason) == ("providers.acme.credentials[1].id", "'second' is there twice")


@pytest.mark.parametrize("name", ["second", "acme"])
def test_an_id_names_a_credential_among_all_providers(name: str) -> None:
    other = OTHER + f'credentials = [{{ id = "{name}", variable = "OTHER_2" }}]\n'
    (mistake,) = mistakes_of(listing(LINE) + other)
    assert mistake.path == "providers.other.credentials[0].id"
    assert mistake.reason == f"'{name}' is a credential of acme"


@pytest.mark.parametrize("value", ["5", '"second"', "[1]", '["second"]', "{}", "[[]]"])
def test_credentials_that_are_no_list_of_tables_are_refused(value: str) -> None:
    assert all("credentials" in found.path for found in mistakes_of(edited(NAMED, f"{NAMED}credentials = {value}\n")))
