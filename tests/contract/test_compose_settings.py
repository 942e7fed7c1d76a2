"""What compose.yaml and an operator's `.env` tell each program: all that it needs, and no secret besides."""

import tomllib
from typing import Any, Final

import pytest

from libs.runtime.settings import PREFIX, load, names_of
from tests.fixtures import compose
from tests.fixtures.compose import READERS, STORES, example, strings

ALL: Final[dict[str, dict[str, Any]]] = compose.read({})["services"]
# Whoever is told a secret of Compose's environment. The operator's programs do what edge and billing do, by hand.
BY_HAND: Final = {"operator", "seed"}
MAY_KNOW: Final[dict[str, set[str]]] = {
    "TOKENOUTPUT_INTERNAL_SECRET": {"edge", "router", "billing", "catalog", *BY_HAND},
    "TOKENOUTPUT_HOLD_SECRET": {"edge", "billing", *BY_HAND},
    "TOKENOUTPUT_KEY_PEPPER": {"edge", *BY_HAND},
    "TOKENOUTPUT_OWNER_DATABASE_PASSWORD": {"postgres", "migrate"},
    "TOKENOUTPUT_EDGE_DATABASE_PASSWORD": {"edge", "migrate", *BY_HAND},
    "TOKENOUTPUT_BILLING_DATABASE_PASSWORD": {"billing", "migrate", *BY_HAND},
    "TOKENOUTPUT_CATALOG_DATABASE_PASSWORD": {"catalog", "shelf", "migrate", *BY_HAND},
    "TOKENOUTPUT_REDIS_PASSWORD": {"redis", "edge", "router", "billing", *BY_HAND},
    "TOKENOUTPUT_AMQP_PASSWORD": {"rabbitmq", "router", "billing", *BY_HAND},
    "TOKENOUTPUT_CREDENTIAL_KEYS": {"catalog", "router", "operator"},
    "TOKENOUTPUT_OPERATOR_TOKEN": {"catalog", "router"},
    "DEEPSEEK_API_KEY": {"router"},
    "DASHSCOPE_API_KEY": {"router"},
    "ZHIPU_API_KEY": {"router"},
    "ANTHROPIC_API_KEY": {"router"},
}


@pytest.mark.parametrize("name", READERS)
def test_a_program_is_given_nothing_but_settings_that_it_has(name: str) -> None:
    known = {known for cls in READERS[name] for field in cls.model_fields for known in names_of(cls, field)}
    given = {given for given in ALL[name].get("environment", {}) if given.startswith(PREFIX)}
    assert given <= known


@pytest.mark.parametrize("name", READERS)
def test_a_program_is_given_every_setting_that_it_requires(name: str) -> None:
    given = ALL[name].get("environment", {})
    for cls in READERS[name]:
        required = [field for field, info in cls.model_fields.items() if info.is_required()]
        missing = [field for field in required if not any(known in given for known in names_of(cls, field))]
        assert not missing, f"{cls.__name__} of {name}"


@pytest.mark.parametrize("secret", MAY_KNOW)
def test_a_secret_is_told_to_those_who_need_it_and_nobody_else(secret: str) -> None:
    services = compose.read({secret: "found-here"})["services"]
    assert {name for name, service in services.items() if "found-here" in " ".join(strings(service))} == MAY_KNOW[
        secret
    ]


def test_the_router_may_be_given_the_credential_of_every_provider_on_the_shelf() -> None:
    shelf = tomllib.loads((compose.ROOT / "services/catalog/catalog.toml").read_text("utf-8"))
    credentials = {provider["credential"] for provider in shelf["providers"].values()}
    assert {name for name in ALL["router"]["environment"] if not name.startswith(PREFIX)} == credentials


def test_the_example_for_operators_names_every_variable_and_no_other() -> None:
    assert set(example()) == compose.variables()


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("simulator", "seed")])
def test_every_program_accepts_the_example_once_its_secrets_are_filled_in(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in compose.environment(name, example()).items():
        monkeypatch.setenv(variable, value)
    assert {load(cls).env for cls in READERS[name]} == {"production"}


@pytest.mark.parametrize("name", STORES)
def test_a_store_has_the_password_that_its_clients_use(name: str) -> None:
    own = {text for text in strings(ALL[name]) if text.startswith("dev-only-")}
    (password,) = own
    urls = " ".join(strings({reader: ALL[reader].get("environment", {}) for reader in READERS}))
    assert f":{password}@{name}:" in urls
