"""What the catalog is told about its admin API and its keys, and what it refuses."""

import base64
import os
from typing import Final

import pytest

from libs.runtime.settings import SettingsError, load
from services.catalog.settings import CatalogSettings, SealingSettings, StoreSettings

GOOD: Final = "correct-horse-battery-staple"
KEY: Final = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TOKENOUTPUT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENOUTPUT_INTERNAL_SECRET", GOOD)
    monkeypatch.setenv("TOKENOUTPUT_CATALOG_DATABASE_URL", "postgresql://somewhere")


def refusal(cls: type[CatalogSettings | SealingSettings] = CatalogSettings) -> str:
    with pytest.raises(SettingsError) as caught:
        load(cls)
    return str(caught.value)


def test_the_admin_api_and_stored_credentials_are_off_unless_something_is_said() -> None:
    found = load(CatalogSettings)
    assert (found.operator_port, found.operator_token, found.ring()) == (0, None, None)


def test_empty_values_are_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_OPERATOR_TOKEN", "")
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", "")
    found = load(CatalogSettings)
    assert (found.operator_token, found.ring()) == (None, None)


@pytest.mark.parametrize("env", ["dev", "production"])
def test_an_open_port_needs_a_token(monkeypatch: pytest.MonkeyPatch, env: str) -> None:
    monkeypatch.setenv("TOKENOUTPUT_ENV", env)
    monkeypatch.setenv("TOKENOUTPUT_CATALOG_OPERATOR_PORT", "9183")
    assert "TOKENOUTPUT_CATALOG_OPERATOR_TOKEN: is empty, and the admin API is on" in refusal()


@pytest.mark.parametrize("token", ["x" * 23, "x" * 15, "dev-only-operator-token-of-the-demo"])
def test_a_weak_token_is_refused_outside_dev(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TOKENOUTPUT_OPERATOR_TOKEN", token)
    assert "TOKENOUTPUT_OPERATOR_TOKEN: is " in refusal()
    assert token not in refusal()
    monkeypatch.setenv("TOKENOUTPUT_ENV", "dev")
    assert load(CatalogSettings).operator_token is not None


def test_a_good_token_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_OPERATOR_TOKEN", "x" * 24)
    monkeypatch.setenv("TOKENOUTPUT_CATALOG_OPERATOR_PORT", "9183")
    assert load(CatalogSettings).operator_port == 9183


@pytest.mark.parametrize("cls", [CatalogSettings, SealingSettings])
def test_malformed_keys_are_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, cls: type[CatalogSettings | SealingSettings]
) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", f"new:{KEY},old:{KEY[:30]}")
    assert "TOKENOUTPUT_CREDENTIAL_KEYS: key 2 is not " in refusal(cls)
    assert KEY[:30] not in refusal(cls)


def test_the_demos_keys_are_refused_outside_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", f"dev-only:{KEY}")
    assert "is the demo's well-known value" in refusal()
    monkeypatch.setenv("TOKENOUTPUT_ENV", "dev")
    ring = load(CatalogSettings).ring()
    assert ring is not None
    assert ring.first == "dev-only"


def test_keys_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", f"new:{KEY}")
    monkeypatch.setenv("TOKENOUTPUT_OPERATOR_TOKEN", "y" * 24)
    found = load(CatalogSettings)
    assert KEY not in repr(found) + str(found.model_dump()) + repr(found.ring())
    assert "y" * 24 not in repr(found)


def test_publishing_needs_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENOUTPUT_CREDENTIAL_KEYS", "nonsense")
    assert load(StoreSettings).database_url.get_secret_value() == "postgresql://somewhere"
