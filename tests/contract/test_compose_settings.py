"""What compose.yaml and an operator's `.env` tell each program: all that it needs, and no secret besides."""

import tomllib
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from deploy.stores import users
from libs.runtime.settings import PREFIX, load, names_of
from tests.fixtures import compose
from tests.fixtures.compose import READERS, STORES, example, strings

ROLE: Final = "tokenoutput_"
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
    "TOKENOUTPUT_REDIS_PASSWORD": {"redis"},
    "TOKENOUTPUT_EDGE_REDIS_PASSWORD": {"redis", "edge", *BY_HAND},
    "TOKENOUTPUT_ROUTER_REDIS_PASSWORD": {"redis", "router"},
    "TOKENOUTPUT_BILLING_REDIS_PASSWORD": {"redis", "billing", *BY_HAND},
    "TOKENOUTPUT_AMQP_PASSWORD": {"rabbitmq"},
    "TOKENOUTPUT_ROUTER_AMQP_PASSWORD": {"rabbitmq", "router"},
    "TOKENOUTPUT_BILLING_AMQP_PASSWORD": {"rabbitmq", "billing", *BY_HAND},
    "TOKENOUTPUT_CREDENTIAL_KEYS": {"catalog", "router", "operator"},
    "TOKENOUTPUT_OPERATOR_TOKEN": {"catalog", "router"},
    "TOKENOUTPUT_BILLING_PRODUCER_KEYS": {"billing", "operator"},
    "DEEPSEEK_API_KEY": {"router"},
    "DASHSCOPE_API_KEY": {"router"},
    "ZHIPU_API_KEY": {"router"},
    "ANTHROPIC_API_KEY": {"router"},
}

STORES_OF: Final[dict[str, set[str]]] = {
    "edge": {"postgres", "redis"},
    "router": {"redis", "rabbitmq"},
    "billing": {"postgres", "redis", "rabbitmq"},
    "catalog": {"postgres"},
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


def addresses(name: str) -> set[tuple[str, str, str]]:
    """Store, user and password of every address that a program is given."""
    urls = [urlsplit(text) for text in strings(ALL[name].get("environment", {}))]
    return {(url.hostname or "", url.username or "", url.password or "") for url in urls if url.hostname in STORES}


@pytest.mark.parametrize("name", compose.SERVICES)
def test_a_service_knocks_at_every_store_as_itself(name: str) -> None:
    assert {user for _, user, _ in addresses(name)} == {f"tokenoutput_{name}"}
    assert {store for store, _, _ in addresses(name)} == STORES_OF[name]


def test_the_administrators_of_the_stores_are_told_to_nobody_but_the_job_that_makes_tables() -> None:
    admins = {(store, user) for name in READERS for store, user, _ in addresses(name) if not user.startswith(ROLE)}
    assert admins == {("postgres", "tokenoutput")}
    assert {name for name in READERS if any(user == "tokenoutput" for _, user, _ in addresses(name))} == {"migrate"}


@pytest.mark.parametrize("store", ["redis", "rabbitmq"])
def test_a_store_has_the_passwords_that_its_clients_use(store: str) -> None:
    """Each under the name that the list of users has for it."""
    listed = users.filled(getattr(users, store.upper()), ALL[store]["environment"])
    used = {(user, password) for name in READERS for where, user, password in addresses(name) if where == store}
    assert used
    for user, password in used:
        (line,) = [line for line in listed.splitlines() if user in line and password in line]
        assert line.index(user) < line.index(password)


def test_postgres_has_the_password_that_its_owner_uses() -> None:
    used = {password for store, user, password in addresses("migrate") if (store, user) == ("postgres", "tokenoutput")}
    assert used == {ALL["postgres"]["environment"]["POSTGRES_PASSWORD"]}


def test_no_two_users_share_a_password() -> None:
    known = {(store, user, password) for name in READERS for store, user, password in addresses(name)}
    assert len({password for _, _, password in known}) == len({(store, user) for store, user, _ in known}) == len(known)
