"""Which offer serves a request, and under which address."""

from collections.abc import Callable

import pytest

from libs.contracts.catalog import EMPTY, Shelf, Snapshot
from libs.errors import ModelNotFound, UpstreamUnavailable
from services.router.choose import Chosen, choose
from tests.fixtures.samples import model, offer, provider, shelf

SIMULATOR = "http://127.0.0.1:25630"
TWO = Shelf(
    Snapshot(
        1,
        (provider(), provider(id="second", credential="SECOND_API_KEY")),
        (model(),),
        (offer(id="late", provider="second", priority=1), offer(id="early", priority=0)),
    )
)


def having(*names: str) -> Callable[[str], str]:
    return lambda name: f"key-of-{name}" if name in names else ""


def chosen(found: Chosen) -> tuple[str, str, str, str, bool]:
    there = found.endpoint
    return (found.offer.id, there.url, there.auth, there.credential, there.simulated)


def test_the_first_offer_with_a_credential_is_called_for_real() -> None:
    assert chosen(choose(TWO, "deepseek-chat", having("DEEPSEEK_API_KEY", "SECOND_API_KEY"), "")) == (
        "early",
        "https://api.deepseek.example/v1/chat/completions",
        "bearer",
        "key-of-DEEPSEEK_API_KEY",
        False,
    )


def test_an_offer_without_a_credential_is_passed_over() -> None:
    found = choose(TWO, "deepseek-chat", having("SECOND_API_KEY"), "")
    assert (found.offer.id, found.provider.id, found.endpoint.credential) == ("late", "second", "key-of-SECOND_API_KEY")


def test_the_simulator_stands_in_under_the_provider_s_name_and_with_no_real_key() -> None:
    found = choose(TWO, "deepseek-chat", having("SECOND_API_KEY"), SIMULATOR)
    assert chosen(found) == ("early", f"{SIMULATOR}/deepseek/chat/completions", "bearer", "simulated", True)


def test_a_real_key_never_goes_to_the_simulator() -> None:
    found = choose(TWO, "deepseek-chat", having("DEEPSEEK_API_KEY"), SIMULATOR)
    assert not found.endpoint.simulated
    assert SIMULATOR not in found.endpoint.url


def test_each_protocol_has_its_own_path_and_way_to_say_the_key() -> None:
    messages = shelf(offer(protocol="anthropic_messages"))
    real = choose(messages, "deepseek-chat", having("DEEPSEEK_API_KEY"), "").endpoint
    assert (real.url, real.auth) == ("https://d.example/a/v1/messages", "x-api-key")
    stand_in = choose(messages, "deepseek-chat", having(), SIMULATOR + "/").endpoint
    assert stand_in.url == f"{SIMULATOR}/deepseek/v1/messages"


def test_an_unknown_model_is_said_to_be_one() -> None:
    for empty in (EMPTY, shelf(offer(model="other"))):
        with pytest.raises(ModelNotFound, match=r"no model 'deepseek-chat' here") as caught:
            choose(empty, "deepseek-chat", having("DEEPSEEK_API_KEY"), "")
        assert caught.value.param == "model"


def test_the_first_offer_is_taken_whatever_protocol_it_speaks() -> None:
    mixed = shelf(offer(id="a", protocol="anthropic_messages", priority=0), offer(id="b", priority=1))
    found = choose(mixed, "deepseek-chat", having("DEEPSEEK_API_KEY"), "")
    assert (found.offer.id, found.endpoint.url) == ("a", "https://d.example/a/v1/messages")


def test_a_model_that_nobody_can_be_asked_for_is_our_fault() -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        choose(shelf(), "deepseek-chat", having(), "")
    assert caught.value.status == 502
    assert "DEEPSEEK_API_KEY" not in caught.value.message
