"""What an endpoint takes and wants: which row it gets, what an offer changes, and what is said about mistakes."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

import services.catalog
from libs.contracts.profile import TOOL_CHOICES, Profile
from services.catalog.profiles import GENERIC, READERS
from services.catalog.rules import Located, Refused, digest_of, read
from tests.unit.catalog.shelf_text import SHELF, edited, line_of

ROW = """\
[profiles.acme_chat]
protocol = "openai_chat"
string_content = true
thinking = "qwen"
budget_cap = 5_000
tool_choices = ["auto", "none"]
max_temperature = 1.5
drop_fields = ["seed"]

[profiles.acme_chat.errors]
1113 = "account"

"""
NAMED = edited('auth = "bearer"\n', 'auth = "bearer"\nprofile = "acme_chat"\n', ROW + SHELF)
OFFER = 'upstream_model = "acme-one"\n'

MISTAKES = {
    "a key that is none": ("string_content", "string_contents", "string_contents", "did you mean 'string_content'"),
    "a word that is none": ('"qwen"', '"qwem"', '"qwem"', "did you mean 'qwen'"),
    "a word in a list that is none": ('"auto", "none"', '"auto", "nome"', '"nome"', "did you mean 'none'"),
    "a word that is a number": ('thinking = "qwen"', "thinking = 5", "thinking =", "must be a string"),
    "a flag that is a word": ("string_content = true", 'string_content = "yes"', "string_content", "true or false"),
    "a whole number that is none": ("5_000", "5_000.5", "budget_cap", "whole number from 1024 to"),
    "a whole number out of range": ("5_000", "8", "budget_cap", "whole number from 1024 to"),
    "a number out of range": ("1.5", "2.5", "max_temperature", "a number from 0 to 2"),
    "a number that is not one": ("1.5", "nan", "max_temperature", "a number from 0 to 2"),
    "a flag for a number": ("1.5", "true", "max_temperature", "a number from 0 to 2"),
    "a list that is a word": ('["seed"]', '"seed"', "drop_fields", "must be a list of strings"),
    "a list with nothing in it": ('["seed"]', '[""]', "drop_fields", "none of them empty"),
    "a list with something twice": ('["seed"]', '["seed", "seed"]', "drop_fields", "'seed' is there twice"),
    "an error's meaning that is none": ('"account"', '"acount"', "1113", "did you mean 'account'"),
    "errors that are a list": ('[profiles.acme_chat.errors]\n1113 = "account"', "errors = []", "errors =", "a table"),
    "a protocol that is none": ('l = "openai_chat"\ns', 'l = "openai"\ns', '"openai"', "did you mean 'openai_chat'"),
    "no protocol": ('protocol = "openai_chat"\ns', "s", "[profiles.acme_chat]", "is missing"),
    "a profile that is a word": (ROW, "profiles.acme_chat = 'plain'\n", "acme_chat = 'plain'", "must be a table"),
    "a bad name": ("[profiles.acme_chat]", "[profiles.Acme]", "[profiles.Acme]", "not a good name"),
    "a name that is none": ('= "acme_chat"', '= "acme_caht"', '"acme_caht"', "did you mean 'acme_chat'"),
    "a row that nobody names": ('profile = "acme_chat"\n', "", "[profiles.acme_chat]", "named by no endpoint"),
    "a row of the other protocol": (
        'l = "openai_chat"\nstring_content = true\nthinking = "qwen"\n',
        'l = "anthropic_messages"\nthinking = "budget"\n',
        'profile = "acme_chat"',
        "is a profile for anthropic_messages",
    ),
    "a key of the other protocol": ("string_content = true", "betas = []", "betas", "no meaning for openai_chat"),
    "a style without budgets": ('"qwen"', '"deepseek"', "budget_cap", "needs a thinking style with budgets"),
    "an unknown key of an offer": (OFFER, OFFER + "profile = { vison = true }\n", "vison", "did you mean 'vision'"),
    "a wrong value of an offer": (OFFER, OFFER + "profile = { top_k = 1 }\n", "top_k", "true or false"),
    "an offer's profile that is a name": (OFFER, OFFER + 'profile = "acme_chat"\n', "le = ", "must be a table"),
    "a change of the other protocol": (OFFER, OFFER + "profile.betas = []\n", "betas", "no meaning for openai_chat"),
    "a change that does not fit": (OFFER, OFFER + 'profile = { thinking = "glm" }\n', '"glm"', "needs a thinking"),
    "a change to what the offer cannot be": (
        OFFER,
        OFFER + '[models.acme-one.offers.profile]\nvision = true\nformats = ["json_schema"]\n',
        "formats",
        "must hold 'text'",
    ),
}


def mistakes_of(text: str) -> list[Located]:
    with pytest.raises(Refused) as caught:
        read(text)
    return caught.value.mistakes


def profile_of(text: str) -> Profile:
    (offer,) = read(text).offers
    return offer.profile


def shelf() -> str:
    return (Path(services.catalog.__path__[0]) / "catalog.toml").read_text(encoding="utf-8")


def rows_sold() -> dict[str, Profile]:
    return {offer.model: offer.profile for offer in read(shelf()).offers}


@pytest.mark.parametrize(("old", "new", "where", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_a_profile_is_named_with_its_line(old: str, new: str, where: str, reason: str) -> None:
    text = edited(old, new, NAMED)
    found = [mistake.line for mistake in mistakes_of(text) if reason in mistake.reason]
    lines = [number for number, line in enumerate(text.splitlines(), 1) if where in line]
    assert found == lines[-1:] if where == "le = " else found == [line_of(where, text)]


def test_an_endpoint_gets_the_profile_that_it_names() -> None:
    assert profile_of(NAMED) == Profile(
        string_content=True,
        thinking="qwen",
        budget_cap=5000,
        tool_choices=("auto", "none"),
        thinking_tool_choices=("auto", "none"),
        max_temperature=1.5,
        drop_fields=("seed",),
        errors={"1113": "account"},
    )


def test_an_endpoint_that_names_none_gets_the_generic_row_of_its_protocol_or_the_plain_one() -> None:
    assert profile_of(SHELF) == Profile()
    generic = '[profiles.openai_compatible]\nprotocol = "openai_chat"\nmax_stop = 7\n'
    other = '[profiles.anthropic_compatible]\nprotocol = "anthropic_messages"\nmax_stop = 8\n'
    assert profile_of(generic + other + SHELF) == Profile(max_stop=7)


@pytest.mark.parametrize(
    "change",
    [
        "profile = { max_stop = 9 }\n",
        "profile.max_stop = 9\n",
        "[models.acme-one.offers.profile]\nmax_stop = 9\n",
    ],
)
def test_an_offer_changes_single_keys_and_keeps_the_others(change: str) -> None:
    changed = profile_of(edited(OFFER, OFFER + change, NAMED))
    assert changed == msgspec.structs.replace(profile_of(NAMED), max_stop=9)


@pytest.mark.parametrize(
    ("row", "offer", "modalities", "expected"),
    [
        ("", "", ["text"], False),
        ("", "", ["text", "image"], True),
        ("vision = false", "", ["text", "image"], False),
        ("vision = true", "", ["text"], True),
        ("vision = false", "vision = true", ["text"], True),
        ("", "vision = false", ["text", "image"], False),
        ("", "top_k = true", ["text", "image"], True),
    ],
)
def test_images_are_understood_where_the_model_takes_them_unless_something_is_said(
    row: str, offer: str, modalities: list[str], expected: bool
) -> None:
    text = edited("string_content = true", row, NAMED)
    text = edited(OFFER, OFFER + (f"profile = {{ {offer} }}\n" if offer else ""), text)
    text = edited('owned_by = "acme"', f'owned_by = "acme"\ninput_modalities = {modalities}', text)
    assert profile_of(text).vision is expected


def test_what_may_be_forced_while_it_thinks_is_what_may_be_forced_at_all() -> None:
    assert profile_of(edited('["auto", "none"]', '["auto", "required"]', NAMED)).thinking_tool_choices == (
        "auto",
        "required",
    )
    assert profile_of(edited('tool_choices = ["auto", "none"]', "", NAMED)).thinking_tool_choices == TOOL_CHOICES


def test_every_beta_is_passed_on_when_all_are_named() -> None:
    row = '[profiles.anthropic_compatible]\nprotocol = "anthropic_messages"\nbetas = "all"\n'
    text = row + SHELF.replace("openai_chat", "anthropic_messages")
    assert profile_of(text).betas is None
    assert profile_of(edited('"all"', '["files-"]', text)).betas == ("files-",)
    assert profile_of(edited('betas = "all"', "", text)).betas == ()


def test_a_profile_that_contradicts_itself_is_told_once_and_not_for_each_of_its_offers() -> None:
    text = edited(OFFER, OFFER + "profile = { top_k = true }\n", edited('"qwen"', '"deepseek"', NAMED))
    (mistake,) = mistakes_of(text)
    assert (mistake.path, mistake.line) == ("profiles.acme_chat.budget_cap", line_of("budget_cap", text))


def test_a_key_that_is_spelled_out_as_it_is_anyway_makes_no_other_shelf() -> None:
    spelled = edited(OFFER, OFFER + "profile = { max_temperature = 2, max_stop = 4, top_k = false }\n")
    assert digest_of(read(spelled)) == digest_of(read(SHELF))


@pytest.mark.parametrize("change", ["max_temperature = 1", "errors = { 7 = 'rate' }", "drop_fields = ['a']"])
def test_what_an_endpoint_takes_is_part_of_the_shelfs_digest(change: str) -> None:
    assert digest_of(read(edited(OFFER, OFFER + f"profile = {{ {change} }}\n"))) != digest_of(read(SHELF))


def test_every_key_of_a_profile_can_be_written() -> None:
    assert READERS.keys() == set(Profile.__struct_fields__)


def test_the_generic_row_of_the_shelf_is_the_plain_profile_with_its_reasons() -> None:
    text = shelf()
    row = text[text.index("[profiles.openai_compatible]") : text.index("[profiles.anthropic_compatible]")]
    assert profile_of(row + SHELF) == Profile()


FACTS: dict[str, dict[str, Any]] = {
    "deepseek-chat": {"thinking": "deepseek", "thinking_when_absent": "off", "string_content": True, "max_stop": 16},
    "deepseek-reasoner": {
        "thinks_by_default": True,
        "thinking_when_absent": "provider",
        "reasoning_replay": "tool_turns",
        "efforts": ("low", "high", "max"),
        "thinking_tool_choices": ("auto", "none"),
    },
    "qwen-plus": {"thinking": "qwen", "stream_only": "thinking", "cache_control": True, "thinks_by_default": False},
    "qwen-max": {"thinking": "none", "stream_only": "never", "cache_control": True, "reasoning_replay": "none"},
    "qwen3.6-plus": {"thinking": "qwen", "thinks_by_default": True},
    "glm-4-plus": {"thinking": "none", "tool_stream": False, "open_interval_sampling": True, "tool_choices": ("auto",)},
    "claude-sonnet-4-20250514": {
        "vision": True,
        "mid_system": "keep",
        "billing_header": True,
        "unsigned_thinking": False,
        "betas": None,
    },
}


@pytest.mark.parametrize("model", FACTS)
def test_the_shelf_of_this_repository_says_what_its_vendors_document(model: str) -> None:
    said = msgspec.structs.asdict(rows_sold()[model])
    assert {key: said[key] for key in FACTS[model]} == FACTS[model]


def test_every_endpoint_of_this_repositorys_shelf_names_a_row_of_its_protocol() -> None:
    document = tomllib.loads(shelf())
    named = {
        (protocol, endpoint["profile"])
        for provider in document["providers"].values()
        for protocol, endpoint in provider["protocols"].items()
    }
    written = {(row["protocol"], name) for name, row in document["profiles"].items()}
    assert named == written - {(protocol, name) for protocol, name in GENERIC.items()}
    assert len(named) == 7
