"""How requests spread: by the weights over all, and each conversation where it was."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.catalog import Provider, Shelf, Snapshot
from services.router import affinity
from services.router.choose import Held, candidates
from tests.fixtures.samples import model, offer, provider
from tests.fixtures.strategies import quick

MANY: Final = 10_000
KEYS: Final = [affinity.key(number, b"{}") for number in range(MANY)]
NEAR: Final = 0.015
Pair = tuple[str, str]
Credentials = Callable[[Provider], Sequence[Held]]


def shelf(**weights: int) -> Shelf:
    offers = [offer(id=host, provider=host, weight=weight) for host, weight in weights.items()]
    return Shelf(Snapshot(1, tuple(provider(id=host) for host in weights), (model(),), tuple(offers)))


def held(*weights: int) -> Credentials:
    return lambda host: [Held(f"{host.id}{number}", "key", weight) for number, weight in enumerate(weights)]


def order(where: Shelf, credentials: Credentials, key: bytes, **asked: Any) -> list[Pair]:
    found = candidates(where, "deepseek-chat", credentials, "", affinity=key, **asked)
    return [(one.offer.id, one.credential_id) for one in found]


def shares(choices: Sequence[object]) -> dict[object, float]:
    return {one: times / len(choices) for one, times in Counter(choices).items()}


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (1, 2, 5), (10, 1, 1, 4, 4)])
def test_over_many_conversations_each_offer_has_its_weight_s_share(weights: tuple[int, ...]) -> None:
    where = shelf(**{f"host{number}": weight for number, weight in enumerate(weights)})
    found = shares([order(where, held(1), key)[0][0] for key in KEYS])
    expected = {f"host{number}": weight / sum(weights) for number, weight in enumerate(weights)}
    assert found == pytest.approx(expected, abs=NEAR)


def test_an_offer_s_share_is_its_own_however_many_credentials_it_has() -> None:
    def three_of_a(host: Provider) -> Sequence[Held]:
        return held(1, 1, 2)(host) if host.id == "a" else held(7)(host)

    found = shares([order(shelf(a=1, b=1), three_of_a, key)[0] for key in KEYS])
    assert found == pytest.approx(
        {("a", "a0"): 0.125, ("a", "a1"): 0.125, ("a", "a2"): 0.25, ("b", "b0"): 0.5}, abs=NEAR
    )


def test_what_a_dead_one_leaves_is_shared_by_the_weights_of_the_others() -> None:
    where = shelf(a=4, b=1, c=3)
    orders = [order(where, held(1), key) for key in KEYS]
    second = shares([one[1][0] for one in orders if one[0][0] == "a"])
    assert second == pytest.approx({"b": 0.25, "c": 0.75}, abs=NEAR)


WEIGHTS: Final = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@quick
@given(WEIGHTS, st.lists(st.integers(1, 9), min_size=1, max_size=3), st.data())
def test_without_one_candidate_all_others_keep_their_order(
    weights: list[int], credentials: list[int], data: st.DataObject
) -> None:
    where = shelf(**{f"host{number}": weight for number, weight in enumerate(weights)})
    dead = data.draw(st.sampled_from(sorted(order(where, held(*credentials), b""))))
    for key in KEYS[:50]:
        before = order(where, held(*credentials), key)
        after = order(where, held(*credentials), key, usable=lambda *pair: pair != dead)
        assert after == [pair for pair in before if pair != dead]


@quick
@given(WEIGHTS)
def test_without_one_offer_only_its_own_conversations_move(weights: list[int]) -> None:
    named = {f"host{number}": weight for number, weight in enumerate(weights)}
    fewer = shelf(**dict(list(named.items())[:-1]))
    for key in KEYS[:50]:
        before, after = order(shelf(**named), held(1, 2), key), order(fewer, held(1, 2), key)
        assert after == [pair for pair in before if pair[0] != f"host{len(weights) - 1}"]


def test_a_pause_moves_only_the_conversations_of_the_paused() -> None:
    def paused(host: Provider) -> Sequence[Held]:
        return [Held(f"{host.id}0", "key"), Held(f"{host.id}1", "key", paused=host.id == "a")]

    where = shelf(a=2, b=1)
    for key in KEYS[:200]:
        before = order(where, held(1, 1), key)
        assert order(where, paused, key) == [pair for pair in before if pair != ("a", "a1")]
