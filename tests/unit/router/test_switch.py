"""What attempts teach about whom they called, and what no request can make of it."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from libs import errors
from libs.contracts.catalog import Provider, Shelf, Snapshot
from libs.runtime.catalog import LiveShelf
from services.router.breaker import Breakers, Rule
from services.router.choose import Chosen, Held
from services.router.switch import Switch
from tests.fixtures.samples import model, offer, order, provider

BODY = b'{"model":"deepseek-chat","messages":[{"role":"user","content":"hi"}]}'
BAD = 10_000
PAUSE_MS = 1000


class Still:
    """A shelf that nobody changes."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf


def shelf_of(*names: str) -> Shelf:
    providers = tuple(provider(id=name, credential=f"{name.upper()}_KEY") for name in names)
    offers = tuple(offer(id=f"m@{name}", provider=name, priority=place) for place, name in enumerate(names))
    return Shelf(Snapshot(1, providers, (model(),), offers))


def switch(*names: str, most: int | None = None, still: Still | None = None) -> Switch:
    def held(of: Provider) -> Sequence[Held]:
        return (Held(of.id, "key"),)

    live = cast("LiveShelf", still or Still(shelf_of(*names)))
    rule = Rule(errors=3, of=10, window_ms=60_000, pause_ms=PAUSE_MS)
    return Switch(live, held, Breakers(rule), most_at_once=lambda _: most, simulator_url="", most_cooling_ms=60_000)


def fail(at: Switch, chosen: Chosen, error: errors.GatewayError) -> None:
    with pytest.raises(type(error)), at.watching(chosen):
        raise error


def names(at: Switch) -> list[str]:
    return [chosen.provider.id for chosen in at.candidates(order(), BODY)]


def test_bad_requests_leave_every_breaker_closed() -> None:
    """One caller could otherwise take a provider away from all others (songquanpeng/one-api#1549)."""
    at = switch("a", "b")
    [first, second] = at.candidates(order(), BODY)
    for number in range(BAD):
        wrong = (errors.InvalidRequest("x"), errors.ContextTooLong("x"), errors.RequestTooLarge("x"))[number % 3]
        fail(at, (first, second)[number % 2], wrong)
    assert {health.state for health in at.health()} == {"closed"}
    assert names(at) == ["a", "b"]


async def test_callers_who_leave_are_no_verdict_either() -> None:
    at = switch("a")
    [first] = at.candidates(order(), BODY)
    for _ in range(50):
        with pytest.raises(asyncio.CancelledError), at.watching(first):
            raise asyncio.CancelledError
    assert {health.state for health in at.health()} == {"closed"}


async def test_a_dead_provider_is_left_alone_and_comes_back_with_one_probe() -> None:
    at = switch("dead", "fine")
    [dead, _] = at.candidates(order(), BODY)
    for _ in range(3):
        fail(at, dead, errors.UpstreamFailed("x"))
    assert names(at) == ["fine"]
    await asyncio.sleep(PAUSE_MS / 1000 + 0.05)
    assert names(at) == ["dead", "fine"]
    with at.watching(dead):
        assert names(at) == ["fine"], "one probe at a time"
    assert names(at) == ["dead", "fine"]
    assert {health.subject: health.opens_total for health in at.health()}["offer:m@dead"] == 1


def test_our_account_there_is_the_credential_s_fault_and_not_the_offer_s() -> None:
    at = switch("a", "b")
    [first, _] = at.candidates(order(), BODY)
    for _ in range(3):
        fail(at, first, errors.ProviderAccountRefused("x"))
    states = {health.subject: health.state for health in at.health()}
    assert (states["credential:a"], states["offer:m@a"]) == ("open", "closed")
    assert names(at) == ["b"]


def test_a_rate_limit_is_waited_out_and_no_error() -> None:
    at = switch("a", "b")
    [first, _] = at.candidates(order(), BODY)
    fail(at, first, errors.RateLimited("x", retry_after=30))
    states = {health.subject: health.state for health in at.health()}
    assert states == {"offer:m@a": "closed", "credential:a": "closed", "pair:m@a a": "cooling"}
    assert names(at) == ["b"]


def test_offers_that_left_the_shelf_are_forgotten() -> None:
    still = Still(shelf_of("a", "b"))
    at = switch("a", "b", still=still)
    for chosen in at.candidates(order(), BODY):
        fail(at, chosen, errors.UpstreamFailed("x"))
    still.shelf = shelf_of("b")
    assert names(at) == ["b"]
    assert [health.subject for health in at.health()] == ["credential:a", "credential:b", "offer:m@b", "pair:m@b b"]


def test_when_nobody_can_be_called_the_caller_is_told_how_long_to_wait() -> None:
    at = switch("a")
    [first] = at.candidates(order(), BODY)
    fail(at, first, errors.RateLimited("x", retry_after=30))
    with pytest.raises(errors.Overloaded) as caught:
        at.candidates(order(), BODY)
    assert caught.value.retry_after == 30


def test_a_credential_carries_no_more_calls_than_it_may() -> None:
    at = switch("a", "b", most=2)
    [first, _] = at.candidates(order(), BODY)
    with at.watching(first):
        assert names(at) == ["a", "b"]
        with at.watching(first):
            assert names(at) == ["b"]
            assert at.in_flight() == {"a": 2}
    assert names(at) == ["a", "b"]
    assert at.in_flight() == {}


async def test_a_probe_that_answers_is_over_long_before_its_answer_is() -> None:
    at = switch("dead", "fine")
    [dead, _] = at.candidates(order(), BODY)
    for _ in range(3):
        fail(at, dead, errors.UpstreamFailed("x"))
    await asyncio.sleep(PAUSE_MS / 1000 + 0.05)
    with at.watching(dead) as watched:
        assert names(at) == ["fine"]
        watched.answering()
        assert names(at) == ["dead", "fine"]


def test_an_answer_that_breaks_in_the_middle_is_a_failure() -> None:
    at = switch("a", "b")
    [first, _] = at.candidates(order(), BODY)
    for _ in range(3):
        with at.watching(first) as watched:
            watched.answering()
            watched.broke = errors.UpstreamFailed("x")
    assert names(at) == ["b"]


def test_whoever_comes_too_late_for_the_last_place_goes_on_to_the_next() -> None:
    at = switch("a", most=1)
    [first] = at.candidates(order(), BODY)
    with at.watching(first):
        fail_busy = pytest.raises(errors.CandidateBusy)
        with fail_busy, at.watching(first):
            raise AssertionError("never called")
    assert {health.state for health in at.health()} == {"closed"}


@pytest.mark.parametrize("sort", ["latency", "throughput"])
def test_a_wish_that_nobody_can_meet_yet_is_refused(sort: str) -> None:
    body = BODY[:-1] + b',"provider":{"sort":"%s"}}' % sort.encode()
    with pytest.raises(errors.UnsupportedParameter):
        switch("a").candidates(order(), body)
