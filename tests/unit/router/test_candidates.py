"""Who is tried for a request, in which order, and what is said where there is nobody."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from libs.contracts.catalog import EMPTY, Provider, Shelf, Snapshot
from libs.errors import InvalidRequest, ModelNotFound, Overloaded, UpstreamUnavailable
from services.router.choose import SIMULATED_KEY, Chosen, Held, candidates
from services.router.wishes import Measured, Wishes
from tests.fixtures.samples import model, offer, provider

SIMULATOR = "http://127.0.0.1:25630"
KEYS = [str(number).encode() for number in range(40)]
Credentials = Callable[[Provider], Sequence[Held]]


def shelf(**hosts: dict[str, Any]) -> Shelf:
    """One offer of each provider, with these fields."""
    offers = [offer(id=f"{host}-offer", provider=host, **fields) for host, fields in hosts.items()]
    return Shelf(Snapshot(1, tuple(provider(id=host) for host in hosts), (model(),), tuple(offers)))


def one_each(host: Provider) -> Sequence[Held]:
    return (Held(f"{host.id}-key", f"secret of {host.id}"),)


def none(_: Provider) -> Sequence[Held]:
    return ()


def tried(where: Shelf, credentials: Credentials = one_each, url: str = "", **asked: Any) -> list[Chosen]:
    return candidates(where, "deepseek-chat", credentials, url, **{"affinity": b"", **asked})


def hosts(found: Sequence[Chosen]) -> list[str]:
    return [chosen.provider.id for chosen in found]


THREE = shelf(a={}, b={}, c={})


def test_every_offer_goes_with_every_credential_of_its_provider() -> None:
    def two_of_a(host: Provider) -> Sequence[Held]:
        return (*one_each(host), Held("second", "s2")) if host.id == "a" else one_each(host)

    found = tried(shelf(a={}, b={}), two_of_a)
    assert {(one.offer.id, one.credential_id, one.endpoint.credential) for one in found} == {
        ("a-offer", "a-key", "secret of a"),
        ("a-offer", "second", "s2"),
        ("b-offer", "b-key", "secret of b"),
    }
    assert all(one.context_tokens == 128_000 and not one.endpoint.simulated for one in found)


def test_a_lower_priority_number_comes_first_whoever_asks() -> None:
    where = shelf(last={"priority": 2}, first={"priority": 0, "weight": 1}, between={"priority": 1, "weight": 90})
    assert {tuple(hosts(tried(where, affinity=key))) for key in KEYS} == {("first", "between", "last")}


def test_one_prefix_meets_one_order_and_other_prefixes_other_ones() -> None:
    orders = [hosts(tried(THREE, affinity=key)) for key in KEYS]
    assert orders == [hosts(tried(THREE, affinity=key)) for key in KEYS]
    assert len({tuple(order) for order in orders}) == 6


def test_a_weight_of_nothing_is_for_when_nobody_else_is_left() -> None:
    where = shelf(last={"weight": 0}, first={})
    assert {tuple(hosts(tried(where, affinity=key))) for key in KEYS} == {("first", "last")}
    assert hosts(tried(where, lambda host: (Held("k", "s", weight=0),))) != []


@pytest.mark.parametrize("paused", [True, False])
def test_a_paused_offer_or_credential_is_not_tried(paused: bool) -> None:
    assert sorted(hosts(tried(shelf(a={"paused": paused}, b={})))) == (["b"] if paused else ["a", "b"])
    assert len(tried(shelf(a={}), lambda _: (Held("1", "s", paused=paused), Held("2", "s")))) == 2 - paused


def test_all_paused_is_nobody_and_no_simulator_steps_in() -> None:
    with pytest.raises(UpstreamUnavailable):
        tried(shelf(a={"paused": True}), url=SIMULATOR)
    with pytest.raises(UpstreamUnavailable):
        tried(shelf(a={}), lambda _: (Held("1", "s", paused=True),), url=SIMULATOR)


def test_a_credential_that_is_empty_is_none_and_nothing_goes_elsewhere_for_it() -> None:
    with pytest.raises(UpstreamUnavailable):
        tried(shelf(a={}), lambda _: (Held("1", ""),), url=SIMULATOR)


def test_the_simulator_stands_in_for_a_provider_without_credentials() -> None:
    found = tried(shelf(a={}, b={}), lambda host: one_each(host) if host.id == "b" else (), url=SIMULATOR)
    assert {(one.endpoint.url, one.endpoint.credential, one.endpoint.simulated) for one in found} == {
        (f"{SIMULATOR}/a/chat/completions", SIMULATED_KEY, True),
        ("https://api.deepseek.example/v1/chat/completions", "secret of b", False),
    }


def test_simulated_providers_fail_apart() -> None:
    assert len({one.credential_id for one in tried(THREE, none, url=SIMULATOR)}) == 3


def test_nobody_to_call_is_told_apart_from_nothing_to_sell() -> None:
    with pytest.raises(UpstreamUnavailable, match="deepseek-chat has no provider"):
        tried(THREE, none)
    with pytest.raises(ModelNotFound, match="no model 'deepseek-chat'"):
        tried(EMPTY)


def test_who_is_not_usable_is_not_tried() -> None:
    def usable(offer_id: str, credential_id: str) -> bool:
        return (offer_id, credential_id) != ("b-offer", "b-key")

    assert sorted(hosts(tried(THREE, usable=usable))) == ["a", "c"]


def test_where_all_fail_nobody_is_tried_and_the_first_to_come_back_is_told() -> None:
    waits = {"a-offer": 9000, "b-offer": 3001, "c-offer": 60_000}
    with pytest.raises(Overloaded, match="Every provider of deepseek-chat") as caught:
        tried(THREE, usable=lambda *_: False, wait=lambda offer_id, _: waits[offer_id])
    assert caught.value.retry_after == 4
    with pytest.raises(Overloaded) as caught:
        tried(THREE, usable=lambda *_: False, wait=lambda *_: 0)
    assert caught.value.retry_after == 1
    with pytest.raises(Overloaded) as caught:
        tried(THREE, usable=lambda *_: False)
    assert caught.value.retry_after == 2


def test_wishes_come_before_priority() -> None:
    where = shelf(a={"priority": 0}, b={"priority": 1}, c={"priority": 2})
    assert hosts(tried(where, wishes=Wishes(order=("c",)))) == ["c", "a", "b"]
    assert hosts(tried(where, wishes=Wishes(ignore=("a",)))) == ["b", "c"]
    assert hosts(tried(where, wishes=Wishes(only=("c", "b")))) == ["b", "c"]
    seen = {"c-offer": Measured(200.0, 50.0), "b-offer": Measured(100.0, 10.0)}
    assert hosts(tried(where, wishes=Wishes(sort="latency"), measured=seen)) == ["b", "c", "a"]


def test_among_equals_wishes_leave_the_order_to_the_prefix() -> None:
    for key in KEYS:
        order = hosts(tried(THREE, affinity=key))
        assert hosts(tried(THREE, affinity=key, wishes=Wishes(sort="price"))) == order
        assert hosts(tried(THREE, affinity=key, wishes=Wishes(sort="latency"))) == order


def test_a_wish_for_nobody_here_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="served by a, b, c"):
        tried(THREE, wishes=Wishes(only=("nobody",)))
