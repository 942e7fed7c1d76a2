"""The breakers of a shelf together: what a call needs, and what operators see."""

from libs.contracts.catalog import Shelf, Snapshot
from services.router.breaker import Breakers, Health, Rule, subjects_of
from services.router.choose import Held, candidates
from tests.fixtures.samples import model, offer, provider

RULE = Rule(errors=3, of=6, window_ms=10_000, pause_ms=1000, longest_pause_ms=4000)
HOSTS = ("a", "b", "c")
THREE = Shelf(
    Snapshot(
        1,
        tuple(provider(id=host) for host in HOSTS),
        (model(),),
        tuple(offer(id=f"offer-{host}", provider=host) for host in HOSTS),
    )
)


def fail(breakers: Breakers, *subjects: str, now_ms: int = 0) -> None:
    for _ in range(RULE.errors):
        for begun in breakers.begin(subjects, now_ms) or ():
            begun.failed(now_ms)


def test_a_call_begins_with_all_that_it_needs_or_with_none() -> None:
    breakers = Breakers(RULE)
    fail(breakers, "credential:k")
    fail(breakers, "offer:o")
    assert breakers.begin(subjects_of("o", "k"), 0) is None
    breakers.of("credential:k").cool(2000)
    assert breakers.begin(subjects_of("o", "k"), 1000) is None
    assert breakers.of("offer:o").allows(1000), "the offer's only probe was not used up"
    begun = breakers.begin(subjects_of("o", "k"), 2000)
    assert begun is not None
    assert len(begun) == 3
    assert breakers.begin(subjects_of("o", "k"), 2000) is None


def test_each_of_a_call_s_breakers_has_a_verdict_of_its_own() -> None:
    breakers = Breakers(RULE)
    for _ in range(RULE.errors):
        offer_s, credential_s, _ = breakers.begin(subjects_of("o", "k"), 0) or ()
        offer_s.succeeded(0)
        credential_s.failed(0)
    assert [(each.subject, each.state) for each in breakers.snapshot(0)] == [
        ("credential:k", "open"),
        ("offer:o", "closed"),
        ("pair:o k", "closed"),
    ]


def test_a_rate_limit_cools_and_leaves_the_probe_to_the_next() -> None:
    breakers = Breakers(RULE)
    fail(breakers, "credential:k")
    (probe,) = breakers.begin(("credential:k",), 1000) or ()
    probe.cool(5000)
    assert breakers.begin(("credential:k",), 4999) is None
    (probe,) = breakers.begin(("credential:k",), 5000) or ()
    probe.succeeded(5000)
    probe.abandoned()
    assert breakers.of("credential:k").state(5000) == "closed"


def test_an_offer_is_usable_with_a_credential_while_both_are() -> None:
    breakers = Breakers(RULE)
    fail(breakers, "offer:dead")
    breakers.of("credential:tired").cool(400)
    usable, wait = breakers.usable_at(0), breakers.wait_at(0)
    pairs = [("fine", "fresh"), ("dead", "fresh"), ("fine", "tired"), ("dead", "tired")]
    assert [usable(*pair) for pair in pairs] == [True, False, False, False]
    assert [wait(*pair) for pair in pairs] == [0, 1000, 400, 1000]


def test_asking_makes_no_breaker() -> None:
    breakers = Breakers(RULE)
    assert breakers.usable_at(0)("o", "k")
    assert len(breakers) == 0


def test_only_the_shelf_s_subjects_are_kept_with_what_is_known_of_them() -> None:
    breakers = Breakers(RULE)
    fail(breakers, "offer:stays")
    fail(breakers, "offer:goes")
    breakers.drop(lambda subject: subject == "offer:goes")
    assert breakers.snapshot(0) == [Health("offer:stays", "open", 3, 3, 1, 1000)]


def test_a_call_outlives_its_subject() -> None:
    breakers = Breakers(RULE)
    begun = breakers.begin(("offer:goes",), 0) or ()
    breakers.drop(lambda _: True)
    for each in begun:
        each.failed(0)
    assert len(breakers) == 0


def test_of_three_with_one_dead_callers_meet_it_no_more_after_a_few_errors_and_again_when_it_lives() -> None:
    """A request each 10 ms for 30 s, each of another conversation; the one is dead for the first 10 s."""
    breakers, met, healed_at, back_at = Breakers(), [], 10_000, None
    for now in range(0, 30_000, 10):
        chosen = candidates(
            THREE,
            "deepseek-chat",
            lambda one: (Held(one.id, "key"),),
            "",
            affinity=str(now).encode(),
            usable=breakers.usable_at(now),
        )[0]
        begun = breakers.begin(subjects_of(chosen.offer.id, chosen.credential_id), now)
        assert begun is not None
        dead = chosen.provider.id == "a" and now < healed_at
        if dead:
            met.append(now)
        elif chosen.provider.id == "a":
            back_at = back_at or now
        for each in begun:
            (each.failed if dead else each.succeeded)(now)
    assert len(met) == 5 + 1  # until it opened, and the probe that failed
    assert back_at is not None
    assert back_at - healed_at <= 10_000 + 200  # the pause after one failed probe, and until its turn comes
