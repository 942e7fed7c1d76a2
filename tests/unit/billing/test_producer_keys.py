"""The setting that names producers other than routers: exact, and never shown."""

import pytest
from pydantic import SecretStr, ValidationError

from services.billing.settings import BadKeys, BillingSettings, producer_keys

KEY = "k" * 16


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (f"images:{KEY}", {"images": (KEY.encode(),)}),
        (f"images:{KEY}, a-1:{KEY}2", {"images": (KEY.encode(),), "a-1": (f"{KEY}2".encode(),)}),
        (f"images:{KEY},images:{KEY}2", {"images": (KEY.encode(), f"{KEY}2".encode())}),
        (f"images:{KEY}:more", {"images": (f"{KEY}:more".encode(),)}),
    ],
)
def test_names_and_keys_are_read(text: str, keys: dict[str, tuple[bytes, ...]]) -> None:
    assert producer_keys(text) == keys


@pytest.mark.parametrize(
    "text",
    [
        "images",
        "images:",
        f"images:{KEY[1:]}",
        f"Images:{KEY}",
        f"1images:{KEY}",
        f"-images:{KEY}",
        f"im ages:{KEY}",
        f"{'a' * 33}:{KEY}",
        f"router:{KEY}",
        f"router-0:{KEY}",
        f"routers:{KEY}",
        f":{KEY}",
        f"images:{KEY},",
        f",images:{KEY}",
    ],
)
def test_what_is_no_list_of_producers_is_refused_without_showing_a_key(text: str) -> None:
    with pytest.raises(BadKeys) as caught:
        producer_keys(text)
    assert "kkk" not in str(caught.value)


def settings(keys: str) -> BillingSettings:
    secret = SecretStr("a-secret-of-the-unit-tests")
    url = SecretStr("postgresql://nowhere")
    return BillingSettings(
        internal_secret=secret,
        hold_secret=secret,
        database_url=url,
        redis_url=url,
        amqp_url=url,
        producer_keys=SecretStr(keys),
    )


def test_a_service_does_not_start_with_a_list_that_makes_no_sense() -> None:
    assert settings(f"images:{KEY}").producers() == {"images": (KEY.encode(),)}
    assert settings(f"images:{KEY}").judge().keys == {"images": (KEY.encode(),)}
    with pytest.raises(ValidationError) as caught:
        settings(f"images:{KEY},router-0:{KEY}")
    assert "kkk" not in str(caught.value)
