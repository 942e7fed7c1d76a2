"""What may be published, and what is said about what may not."""

from pathlib import Path

import pytest

import services.catalog
from libs.contracts.catalog import Offer, Snapshot
from libs.pricing import version_of
from services.catalog.rules import Located, Refused, digest_of, read
from tests.unit.catalog.shelf_text import SHELF, edited, line_of

OFFER = '[[models.acme-one.offers]]\nprovider = "acme"\nupstream_model = "acme-one"\n'
PRICE = SHELF[SHELF.index("[models.acme-one.price]") :]

MISTAKES = {
    "an unknown key": ('owned_by = "acme"', 'owned_bye = "acme"', "owned_bye", "did you mean 'owned_by'"),
    "an unknown table": ("[models.acme-one.price]", "[models.acme-one.prices]", "prices]", "did you mean 'price'"),
    "a missing name": ('name = "Acme One"\n', "", "[models.acme-one]", "is missing"),
    "an empty name": ('name = "Acme One"', 'name = ""', 'name = ""', "must be a string"),
    "a name over two lines": ('name = "Acme One"', 'name = "Acme\\nOne"', "Acme\\nOne", "one line"),
    "an unknown provider": ('provider = "acme"', 'provider = "acmee"', '"acmee"', "did you mean 'acme'"),
    "an unknown protocol": (
        'default_protocol = "openai_chat"',
        'default_protocol = "openai-chat"',
        '"openai-chat"',
        "did you mean 'openai_chat'",
    ),
    "a default protocol without a base URL": (
        'default_protocol = "openai_chat"',
        'default_protocol = "anthropic_messages"',
        "default_protocol",
        "no base URL for anthropic_messages",
    ),
    "a model's protocol without a base URL": (
        'owned_by = "acme"',
        'owned_by = "acme"\nprotocol = "anthropic_messages"',
        'provider = "acme"',
        "acme has no base URL for anthropic_messages",
    ),
    "an unknown protocol table": (
        "protocols.openai_chat]",
        "protocols.openai]",
        "protocols.openai]",
        "did you mean 'openai_chat'",
    ),
    "a plain http base URL": ("https://api.acme", "http://api.acme", "base_url", "must be https"),
    "a base URL with a credential": ("https://api", "https://me:pw@api", "base_url", "must be bare"),
    "a base URL with a slash at the end": ("example/v1", "example/v1/", "base_url", "must be bare"),
    "a base URL that is none": ("https://api.acme.example/v1", "api.acme.example", "base_url", "must be a URL"),
    "a base URL with a broken port": ("example/v1", "example:99999/v1", "base_url", "is not a URL"),
    "an unknown way to authenticate": ('auth = "bearer"', 'auth = "basic"', "basic", "'basic' is not known"),
    "an unknown end": ('"drain"', '"ignore"', "on_disconnect", "'ignore' is not known"),
    "a key where its variable belongs": ("ACME_API_KEY", "sk-live-123", "credential", "never the credential"),
    "no tokens": ("context_tokens = 100_000", "context_tokens = 0", "context_tokens =", "whole number"),
    "negative tokens": ("max_output_tokens = 8_000", "max_output_tokens = -1", "max_output", "whole number"),
    "true tokens": ("max_output_tokens = 8_000", "max_output_tokens = true", "max_output", "whole number"),
    "tokens beyond counting": (
        "context_tokens = 100_000",
        "context_tokens = 1_000_000_000_000",
        "context_tokens =",
        "whole",
    ),
    "more output than context": ("8_000", "100_001", "max_output_tokens", "more than context_tokens"),
    "a date in quotes": ("created = 2026-01-31", 'created = "2026-01-31"', "created", "must be a date"),
    "a date with a time": ("2026-01-31", "2026-01-31T10:00:00Z", "created", "must be a date"),
    "an unknown parameter": ('"tools"]', '"tolls"]', "supported_parameters", "did you mean 'tools'"),
    "a parameter named twice": ('"tools"]', '"max_tokens"]', "supported_parameters", "is there twice"),
    "parameters that are no list": ('["max_tokens", "tools"]', '"tools"', "supported_parameters", "list of strings"),
    "a model name with capitals": ("[models.acme-one]", "[models.Acme]", "[models.Acme]", "not a good name"),
    "a blank in an upstream name": ('"acme-one"', '"acme one"', "upstream_model", "a provider's model name"),
    "another model behind the name": ('"acme-one"', '"acme-mini"', "upstream_model", "customers must be told"),
    "an alias of itself": (
        'owned_by = "acme"',
        'owned_by = "acme"\nserved_as = "acme-one"',
        "served_as",
        "the model's own name",
    ),
    "no offer": (OFFER, "", "[models.acme-one]", "an enabled model needs at least one"),
    "no price": (PRICE, "", "[models.acme-one]", "never sold unpriced"),
    "a flag in words": ('owned_by = "acme"', 'owned_by = "acme"\nenabled = "no"', "enabled", "true or false"),
    "a table that is a word": (
        '[providers.acme.protocols.openai_chat]\nbase_url = "https://api.acme.example/v1"\nauth = "bearer"\n',
        '[providers.acme.protocols]\nopenai_chat = "https://api.acme.example/v1"\n',
        "openai_chat = ",
        "must be a table",
    ),
}


def mistakes_of(text: str) -> list[Located]:
    with pytest.raises(Refused) as caught:
        read(text)
    return caught.value.mistakes


def offers_of(snapshot: Snapshot, model: str) -> list[Offer]:
    return [offer for offer in snapshot.offers if offer.model == model]


def another(name: str) -> str:
    """The shelf's model once more under another name."""
    model = SHELF[SHELF.index("[models") :]
    return SHELF + model.replace("models.acme-one", f"models.{name}").replace('"acme-one"', f'"{name}"')


@pytest.mark.parametrize(("old", "new", "where", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_with_its_line(old: str, new: str, where: str, reason: str) -> None:
    text = edited(old, new)
    found = [mistake.line for mistake in mistakes_of(text) if reason in mistake.reason]
    assert found == [line_of(where, text)]


def test_every_mistake_is_named_at_once_and_in_the_order_of_the_lines() -> None:
    text = edited('"0.27"\noutput', '"-0.27"\noutput', edited("8_000", "0", edited('"drain"', '"drian"')))
    assert [(mistake.line, mistake.path) for mistake in mistakes_of(text)] == [
        (line_of('"drian"', text), "providers.acme.on_disconnect"),
        (line_of("max_output_tokens", text), "models.acme-one.max_output_tokens"),
        (line_of('"-0.27"', text), "models.acme-one.price.input"),
    ]


def test_the_credential_is_not_repeated_in_the_mistake_about_it() -> None:
    (mistake,) = mistakes_of(edited("ACME_API_KEY", "sk-live-123"))
    assert "sk-live" not in mistake.reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[providers\n", 1),
        ("[models]\n[providers]\nname = \n", 3),
        ("[models]\n[models]\n", 2),
        ("[models]\nlist = [1,\n2\n", 3),
        ("[models]\ncount = " + "9" * 5000 + "\n", 2),
    ],
)
def test_a_text_that_is_no_toml_is_refused_with_its_line(text: str, line: int) -> None:
    (mistake,) = mistakes_of(text)
    assert (mistake.line, mistake.path) == (line, "TOML")


def test_a_text_nested_without_end_is_refused() -> None:
    assert len(mistakes_of("a = " + "[" * 100_000)) == 1


def test_a_name_with_a_dot_is_shown_in_quotes() -> None:
    text = another('"one.5"').replace('""one.5""', '"one.5"').replace('"0.54"\noutput', '"x"\noutput')
    assert 'models."one.5".price.overrides[0].input' in {mistake.path for mistake in mistakes_of(text)}


def test_two_offers_may_not_share_an_id() -> None:
    (mistake,) = mistakes_of(SHELF + OFFER.replace("\n", "\n# again\n", 1))
    assert (mistake.path, mistake.line) == ("models.acme-one.offers[1]", SHELF.count("\n") + 1)
    assert "acme-one@acme" in mistake.reason
    assert len(offers_of(read(SHELF + OFFER + 'id = "second"\n'), "acme-one")) == 2


def test_offers_are_tried_in_the_order_of_the_file() -> None:
    offers = offers_of(read(SHELF + OFFER + 'id = "a-second"\n'), "acme-one")
    assert [(offer.id, offer.priority) for offer in offers] == [("acme-one@acme", 0), ("a-second", 1)]


def test_an_alias_names_what_serves_it() -> None:
    text = edited('upstream_model = "acme-one"', 'upstream_model = "acme-2"')
    text = edited('owned_by = "acme"', 'owned_by = "acme"\nserved_as = "acme-2"', text)
    (model,) = read(text).models
    assert (model.id, model.served_as) == ("acme-one", "acme-2")


def test_an_alias_of_an_alias_is_refused() -> None:
    text = edited(
        'description = "The first of them."\nowned_by = "acme"\ncreated = 2026-01-31\n',
        'description = "The first of them."\nowned_by = "acme"\ncreated = 2026-01-31\nserved_as = "acme-two"\n',
    )
    second = SHELF[SHELF.index("[models") :].replace("acme-one", "acme-two")
    second = edited('owned_by = "acme"', 'owned_by = "acme"\nserved_as = "acme-three"', second)
    (mistake,) = mistakes_of(text + second)
    assert (mistake.path, "acme-three" in mistake.reason) == ("models.acme-one.served_as", True)


def test_a_disabled_model_is_checked_and_not_sold() -> None:
    disabled = edited('owned_by = "acme"', 'owned_by = "acme"\nenabled = false')
    assert (read(disabled).models, read(disabled).offers) == ((), ())
    assert read(edited(PRICE, "", disabled)).models == ()
    assert mistakes_of(edited("8_000", "0", disabled))[0].path == "models.acme-one.max_output_tokens"


def test_a_model_is_callable_in_both_protocols_whatever_its_offers_speak() -> None:
    (model,) = read(SHELF).models
    assert model.protocols == ("anthropic_messages", "openai_chat")
    assert read(SHELF).offers[0].protocol == "openai_chat"
    spoken = "[providers.acme.protocols.anthropic_messages]\nbase_url = 'http://127.0.0.1:9'\nauth = 'x-api-key'\n"
    both = edited('owned_by = "acme"', 'owned_by = "acme"\nprotocol = "anthropic_messages"', SHELF + spoken)
    snapshot = read(both)
    assert snapshot.models[0].protocols == ("anthropic_messages", "openai_chat")
    assert snapshot.offers[0].protocol == "anthropic_messages"
    assert snapshot.providers[0].auth["anthropic_messages"] == "x-api-key"


def test_the_order_of_the_file_does_not_matter() -> None:
    providers, models = SHELF[: SHELF.index("[models")], SHELF[SHELF.index("[models") :]
    second = models.replace("acme-one", "acme-two")
    first_way, second_way = read(providers + models + second), read(second + models + providers)
    assert first_way == second_way
    assert digest_of(first_way) == digest_of(second_way) != digest_of(read(SHELF))


def test_a_default_that_is_spelled_out_makes_no_other_shelf() -> None:
    spelled = edited('owned_by = "acme"', 'owned_by = "acme"\ninput_modalities = ["text"]\nenabled = true')
    assert digest_of(read(spelled)) == digest_of(read(SHELF))


def test_an_empty_shelf_may_be_published_on_purpose() -> None:
    assert read("providers = {}\nmodels = {}\n") == Snapshot(0, (), (), ())
    assert {mistake.path for mistake in mistakes_of("")} == {"providers", "models"}


def test_the_shelf_of_this_repository_may_be_published_and_sells_what_the_documentation_names() -> None:
    snapshot = read((Path(services.catalog.__path__[0]) / "catalog.toml").read_text(encoding="utf-8"))
    assert {model.id for model in snapshot.models} == {
        *("deepseek-chat", "deepseek-reasoner", "qwen-turbo", "qwen-plus", "qwen-max", "qwen-long", "qwen3.6-plus"),
        *("glm-4-plus", "glm-4-air", "glm-4-flash", "claude-sonnet-4-20250514"),
    }
    assert all(model.price_id == version_of(model.price) for model in snapshot.models)
    assert {provider.id: provider.credential for provider in snapshot.providers} == {
        "anthropic": "ANTHROPIC_API_KEY",
        "deepseek": "DEEPSEEK_API_KEY",
        "qwen": "DASHSCOPE_API_KEY",
        "zhipu": "ZHIPU_API_KEY",
    }
    assert {model.protocols for model in snapshot.models} == {("anthropic_messages", "openai_chat")}
    assert {offer.model for offer in snapshot.offers if offer.protocol != "openai_chat"} == {"claude-sonnet-4-20250514"}
