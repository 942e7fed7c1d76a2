"""Settings from the environment, and every mistake in them in one go."""

import os
import re
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr, ValidationError

from libs.runtime.settings import ServiceSettings, SettingsError, load, names_of
from services.billing.settings import BillingSettings
from services.catalog.settings import CatalogSettings
from services.edge.settings import EdgeSettings
from services.router.settings import RouterSettings

GOOD = "correct-horse-battery-staple"


class DoorSettings(ServiceSettings):
    """A service with a secret of its own."""

    scope: ClassVar[str] = "door"

    port: int = Field(default=1, ge=0, le=65535)
    admin_port: int = Field(default=2, ge=0, le=65535)
    pepper: SecretStr
    store_url: SecretStr = SecretStr("redis://store/0")
    door_name: str = "front"


class Environment:
    """The environment, with none of the project's names in it but those that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self._monkeypatch.setenv(f"TOKENOUTPUT_{name}", value)

    def set_file(self, name: str, content: bytes) -> Path:
        path = self._folder / name.lower()
        path.write_bytes(content)
        self._monkeypatch.setenv(f"TOKENOUTPUT_{name}_FILE", str(path))
        return path


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    for name in [name for name in os.environ if name.startswith("TOKENOUTPUT_")]:
        monkeypatch.delenv(name)
    made = Environment(monkeypatch, tmp_path)
    made.set(INTERNAL_SECRET=GOOD, DOOR_PEPPER=GOOD)
    return made


def mistakes() -> list[str]:
    """The lines of the error without its first."""
    with pytest.raises(SettingsError) as caught:
        load(DoorSettings)
    head, *lines = str(caught.value).splitlines()
    assert head == "DoorSettings cannot start:"
    return [line.strip() for line in lines]


def test_a_field_is_read_from_its_own_name_before_the_common_one(environment: Environment) -> None:
    assert names_of(DoorSettings, "port") == ["TOKENOUTPUT_DOOR_PORT", "TOKENOUTPUT_PORT"]
    environment.set(PORT="5")
    assert load(DoorSettings).port == 5
    environment.set(DOOR_PORT="6")
    assert load(DoorSettings).port == 6


def test_a_name_that_is_not_set_leaves_the_default(environment: Environment) -> None:
    found = load(DoorSettings)
    assert (found.port, found.env, found.log_format, found.host) == (1, "production", "auto", "127.0.0.1")


def test_a_value_can_come_from_a_file_without_its_line_end(environment: Environment) -> None:
    environment.set_file("DOOR_DOOR_NAME", b"  back door\n")
    assert load(DoorSettings).door_name == "back door"


def test_a_value_wins_over_a_file_of_the_same_name_but_not_of_a_stronger_one(environment: Environment) -> None:
    environment.set_file("DOOR_NAME", b"common file")
    environment.set(DOOR_NAME="common value")
    assert load(DoorSettings).door_name == "common value"
    environment.set_file("DOOR_DOOR_NAME", b"own file")
    assert load(DoorSettings).door_name == "own file"


def test_an_empty_file_name_is_no_file(environment: Environment) -> None:
    environment.set(DOOR_NAME_FILE="")
    assert load(DoorSettings).door_name == "front"


def test_a_missing_file_is_one_clear_sentence(environment: Environment, tmp_path: Path) -> None:
    environment.set(DOOR_NAME_FILE=str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=r"cannot read the secret file .*nowhere: No such file"):
        load(DoorSettings)


def test_a_file_that_is_no_text_is_one_clear_sentence(environment: Environment) -> None:
    path = environment.set_file("DOOR_NAME", b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=f"{re.escape(str(path))}.*UTF-8"):
        load(DoorSettings)


def test_every_mistake_has_a_line_with_the_name_that_was_set(environment: Environment) -> None:
    environment.set(DOOR_PORT="seven", ADMIN_PORT="70000", LOG_LEVEL="loud", INTERNAL_SECRET="", DOOR_PEPPER="short")
    lines = mistakes()
    assert [line.partition(":")[0] for line in lines] == [
        "TOKENOUTPUT_LOG_LEVEL",
        "TOKENOUTPUT_DOOR_PORT",
        "TOKENOUTPUT_ADMIN_PORT",
        "TOKENOUTPUT_INTERNAL_SECRET",
        "TOKENOUTPUT_DOOR_PEPPER",
    ]
    assert "is empty" in lines[3]
    assert "is shorter than 16 characters" in lines[4]
    assert not any("Value error" in line for line in lines)


def test_a_missing_secret_has_a_line_too(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENOUTPUT_DOOR_PEPPER")
    assert mistakes() == ["TOKENOUTPUT_DOOR_PEPPER: Field required"]


@pytest.mark.parametrize("secret", ["", " ", "short", "x" * 15, "dev-only-internal-secret"])
def test_production_refuses_a_weak_secret(environment: Environment, secret: str) -> None:
    environment.set(INTERNAL_SECRET=secret)
    (line,) = mistakes()
    assert line.startswith("TOKENOUTPUT_INTERNAL_SECRET: is ")


@pytest.mark.parametrize("secret", ["x", "dev-only-internal-secret"])
def test_dev_takes_the_demo_secrets(environment: Environment, secret: str) -> None:
    environment.set(ENV="dev", INTERNAL_SECRET=secret)
    assert load(DoorSettings).internal_secret.get_secret_value() == secret


def test_even_dev_refuses_an_empty_secret(environment: Environment) -> None:
    environment.set(ENV="dev", INTERNAL_SECRET="")
    assert mistakes() == ["TOKENOUTPUT_INTERNAL_SECRET: is empty"]


def test_a_secret_from_a_file_is_judged_like_any_other(environment: Environment) -> None:
    environment.set_file("DOOR_INTERNAL_SECRET", b"\n")
    assert mistakes() == ["TOKENOUTPUT_DOOR_INTERNAL_SECRET: is empty"]


def test_a_short_address_is_no_short_secret(environment: Environment) -> None:
    environment.set(DOOR_STORE_URL="redis://r/0")
    assert load(DoorSettings).store_url.get_secret_value() == "redis://r/0"


def test_the_demo_password_inside_an_address_is_refused_in_production(environment: Environment) -> None:
    environment.set(DOOR_STORE_URL="redis://:dev-only-password@store:6379/0")
    (line,) = mistakes()
    assert line.startswith("TOKENOUTPUT_DOOR_STORE_URL: is the demo's well-known value")


@pytest.mark.parametrize("env", ["", "Dev", "prod", "development"])
def test_an_unknown_environment_is_no_excuse_for_a_weak_secret(environment: Environment, env: str) -> None:
    environment.set(ENV=env, INTERNAL_SECRET="dev-only-internal-secret")
    assert mistakes()[0].startswith("TOKENOUTPUT_ENV: Input should be 'production' or 'dev'")


def test_no_error_and_no_repr_shows_a_secret(environment: Environment) -> None:
    weak = "hunter2-hunter"
    environment.set(INTERNAL_SECRET=weak, DOOR_PORT="nine")
    with pytest.raises(SettingsError) as caught:
        load(DoorSettings)
    assert weak not in str(caught.value)
    environment.set(INTERNAL_SECRET=GOOD, DOOR_PORT="9")
    assert GOOD not in repr(load(DoorSettings))


def test_a_value_made_by_hand_is_not_shown_either() -> None:
    with pytest.raises(ValidationError) as caught:
        DoorSettings(internal_secret=SecretStr("hunter2-hunter"), pepper=SecretStr(GOOD))
    assert "is shorter than 16 characters" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_settings_do_not_change_after_the_start(environment: Environment) -> None:
    found = load(DoorSettings)
    with pytest.raises(ValidationError):
        found.port = 9


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="prot"):
        DoorSettings(internal_secret=SecretStr(GOOD), pepper=SecretStr(GOOD), prot=1)  # type: ignore[call-arg] # the typo


def test_the_simulator_is_refused_in_production(environment: Environment) -> None:
    environment.set(
        REDIS_URL="redis://store:6379/0",
        AMQP_URL="amqp://broker:5672/",
        ROUTER_SPOOL_DIR="/var/spool/x",
        ROUTER_SIMULATOR_URL="http://127.0.0.1:1",
    )
    with pytest.raises(SettingsError, match="simulator_url is for ENV=dev only"):
        load(RouterSettings)
    environment.set(ENV="dev")
    assert load(RouterSettings).simulator_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("settings", [EdgeSettings, RouterSettings, BillingSettings, CatalogSettings])
def test_no_service_starts_from_an_empty_environment(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, settings: type[ServiceSettings]
) -> None:
    monkeypatch.delenv("TOKENOUTPUT_INTERNAL_SECRET")
    with pytest.raises(SettingsError, match=f"TOKENOUTPUT_{settings.scope.upper()}_INTERNAL_SECRET: Field required"):
        load(settings)
