"""When a subject is left alone, and when it is asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.breaker import PROBING_MS, USUAL, Breaker, Health, Rule
from tests.fixtures.strategies import thorough

RULE = Rule(errors=3, of=6, window_ms=10_000, pause_ms=1000, longest_pause_ms=4000)


def begin(breaker: Breaker, now_ms: int) -> int:
    turn = breaker.begin(now_ms)
    assert turn is not None
    return turn


def fail(breaker: Breaker, now_ms: int, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(now_ms, begin(breaker, now_ms))


def succeed(breaker: Breaker, now_ms: int, times: int = 1) -> None:
    for _ in range(times):
        breaker.succeeded(now_ms, begin(breaker, now_ms))


def opened(now_ms: int = 0) -> Breaker:
    breaker = Breaker(RULE)
    fail(breaker, now_ms, RULE.errors)
    return breaker


def test_it_begins_closed() -> None:
    assert Breaker().allows(0)
    assert Breaker().health("offer:a", 0) == Health("offer:a", "closed", 0, 0, 0, None)


def test_it_is_usual_to_open_at_5_errors_of_20_in_a_minute() -> None:
    assert (USUAL.errors, USUAL.of, USUAL.window_ms, USUAL.pause_ms, USUAL.longest_pause_ms) == (
        5,
        20,
        60_000,
        5_000,
        60_000,
    )


@pytest.mark.parametrize(("errors", "of"), [(0, 5), (6, 5)])
def test_a_rule_that_opens_always_or_never_is_none(errors: int, of: int) -> None:
    with pytest.raises(ValueError, match=f"{errors} errors of {of}"):
        Rule(errors=errors, of=of)


def test_it_opens_at_the_last_error_of_the_rule_and_not_before() -> None:
    breaker = Breaker(RULE)
    fail(breaker, 0, RULE.errors - 1)
    assert breaker.state(0) == "closed"
    fail(breaker, 0)
    assert breaker.state(0) == "open"
    assert not breaker.allows(0)
    assert breaker.begin(0) is None


def test_errors_between_enough_successes_do_not_open_it() -> None:
    breaker = Breaker(RULE)
    for _ in range(50):
        fail(breaker, 0)
        succeed(breaker, 0, 2)
    assert breaker.state(0) == "closed"


def test_errors_before_the_window_are_forgotten() -> None:
    breaker = Breaker(RULE)
    fail(breaker, 0, RULE.errors - 1)
    fail(breaker, RULE.window_ms)
    assert breaker.health("s", RULE.window_ms) == Health("s", "closed", 1, 1, 0, None)


def test_the_pause_over_one_probe_goes_and_no_other() -> None:
    breaker = opened()
    assert not breaker.allows(RULE.pause_ms - 1)
    assert breaker.state(RULE.pause_ms) == "half_open"
    begin(breaker, RULE.pause_ms)
    assert not breaker.allows(RULE.pause_ms + 1_000_000)
    assert breaker.state(RULE.pause_ms + 1_000_000) == "half_open"


def test_a_probe_that_succeeds_closes_it_and_old_errors_are_forgotten() -> None:
    breaker = opened()
    succeed(breaker, RULE.pause_ms)
    assert breaker.health("s", RULE.pause_ms) == Health("s", "closed", 0, 0, 1, None)
    fail(breaker, RULE.pause_ms, RULE.errors - 1)
    assert breaker.state(RULE.pause_ms) == "closed"


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = opened(), 0, []
    for _ in range(5):
        retry_at = breaker.health("s", now).retry_at
        assert retry_at is not None
        pauses.append(retry_at - now)
        now = retry_at
        fail(breaker, now)
    assert pauses == [1000, 2000, 4000, 4000, 4000]
    assert breaker.health("s", now).opens_total == 1


def test_after_it_closed_the_pause_is_short_again() -> None:
    breaker = opened()
    fail(breaker, 1000)
    succeed(breaker, 3000)
    fail(breaker, 3000, RULE.errors)
    assert breaker.wait_ms(3000) == RULE.pause_ms
    assert breaker.health("s", 3000).opens_total == 2


def test_a_probe_without_a_verdict_lets_the_next_one_probe() -> None:
    breaker = opened()
    breaker.abandoned(begin(breaker, RULE.pause_ms))
    assert breaker.state(RULE.pause_ms) == "half_open"
    succeed(breaker, RULE.pause_ms)
    assert breaker.state(RULE.pause_ms) == "closed"


def test_what_began_before_it_opened_says_nothing_about_the_probe() -> None:
    breaker = Breaker(RULE)
    early, late = begin(breaker, 0), begin(breaker, 0)
    fail(breaker, 0, RULE.errors)
    breaker.succeeded(10, early)
    assert breaker.state(10) == "open"
    probe = begin(breaker, RULE.pause_ms)
    breaker.failed(RULE.pause_ms, late)
    breaker.abandoned(late)
    assert not breaker.allows(RULE.pause_ms)
    breaker.succeeded(RULE.pause_ms, probe)
    assert breaker.state(RULE.pause_ms) == "closed"


def test_a_probe_s_second_verdict_counts_for_nothing() -> None:
    breaker = opened()
    probe = begin(breaker, RULE.pause_ms)
    breaker.succeeded(RULE.pause_ms, probe)
    for _ in range(RULE.errors):
        breaker.failed(RULE.pause_ms, probe)
    breaker.abandoned(probe)
    assert breaker.health("s", RULE.pause_ms) == Health("s", "closed", 0, 0, 1, None)


def test_while_it_cools_nobody_calls_and_nothing_is_counted() -> None:
    breaker = Breaker(RULE)
    breaker.cool(500)
    assert breaker.health("s", 499) == Health("s", "cooling", 0, 0, 0, 500)
    assert breaker.begin(499) is None
    assert (breaker.state(500), breaker.allows(500)) == ("closed", True)


def test_an_earlier_end_does_not_shorten_the_cooling() -> None:
    breaker = Breaker(RULE)
    breaker.cool(500)
    breaker.cool(100)
    assert breaker.wait_ms(0) == 500


def test_an_open_one_that_cools_longer_is_probed_after_both() -> None:
    breaker = opened()
    breaker.cool(RULE.pause_ms + 700)
    assert (breaker.state(0), breaker.wait_ms(0)) == ("open", RULE.pause_ms + 700)
    assert breaker.state(RULE.pause_ms) == "cooling"
    assert breaker.begin(RULE.pause_ms) is None
    assert breaker.state(RULE.pause_ms + 700) == "half_open"


def test_who_waits_for_a_probe_is_told_to_come_back_soon() -> None:
    breaker = opened()
    begin(breaker, RULE.pause_ms)
    assert breaker.wait_ms(RULE.pause_ms) == PROBING_MS


ENDS = st.sampled_from(["succeeded", "failed", "abandoned", "cool"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "begin", "end"]), st.integers(0, 20), ENDS, st.integers(0, 1500)), max_size=80
)


def end(breaker: Breaker, turn: int, how: str, now_ms: int) -> None:
    if how == "abandoned":
        breaker.abandoned(turn)
    elif how == "cool":
        breaker.cool(now_ms + 100)
        breaker.abandoned(turn)
    else:
        {"succeeded": breaker.succeeded, "failed": breaker.failed}[how](now_ms, turn)


@thorough
@given(STEPS)
def test_no_two_probes_are_under_way_in_any_order_of_things(steps: list[tuple[str, int, str, int]]) -> None:
    breaker, now = opened(), 0
    calls: list[tuple[int, bool]] = [(0, False), (0, False)]  # two are left from before it opened
    for what, which, how, later in steps:
        now += later
        if what == "begin":
            half_open = breaker.state(now) == "half_open"
            turn = breaker.begin(now)
            if turn is not None:
                calls.append((turn, half_open))
        elif calls:
            turn, _ = calls.pop(which % len(calls))
            end(breaker, turn, how, now)
        assert sum(probe for _, probe in calls) <= 1
    for turn, _ in calls:
        breaker.abandoned(turn)
    assert breaker.allows(now + RULE.longest_pause_ms)


@thorough
@given(st.lists(st.tuples(st.sampled_from(["succeeded", "abandoned"]), st.integers(0, 100)), max_size=200))
def test_bad_requests_never_open_it(ends: list[tuple[str, int]]) -> None:
    breaker, now = Breaker(Rule(errors=1, of=1)), 0
    for how, later in ends:
        now += later
        end(breaker, begin(breaker, now), how, now)
        assert breaker.state(now) == "closed"


def test_ten_thousand_bad_requests_leave_it_closed() -> None:
    breaker = Breaker()
    for now in range(10_000):
        breaker.abandoned(begin(breaker, now))
    assert breaker.health("s", 10_000) == Health("s", "closed", 0, 0, 0, None)
