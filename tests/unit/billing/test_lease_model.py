"""The protocol of holds and leases as a pure state machine: its invariants hold in whatever order things happen, and
every rule of it is one that a schedule needs."""

from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.fixtures.strategies import thorough
from tests.simulator.model.books import Overdrawn
from tests.simulator.model.invariants import Broken, check, settled
from tests.simulator.model.mutants import MUTANTS, HoldsExpire, SameEpochAgain
from tests.simulator.model.protocol import STEPS, Protocol, taken
from tests.simulator.model.schedules import AMOUNTS, CREDITS, PICKS, played
from tests.simulator.model.world import new_world

SCHEDULES = 10_000
PARTS = 10
LENGTH = 50


def machine(protocol: Protocol) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.world = new_world(CREDITS)

        @rule(step=st.sampled_from(STEPS), pick=st.integers(0, PICKS - 1), amount=st.integers(0, AMOUNTS - 1))
        def something_happens(self, step: str, pick: int, amount: int) -> None:
            self.world = taken(protocol, self.world, step, pick, amount)

        @invariant()
        def nothing_is_wrong(self) -> None:
            check(protocol, self.world)

        def teardown(self) -> None:
            settled(protocol, self.world)

    return Machine


def test_invariants_hold_whatever_happens() -> None:
    run_state_machine_as_test(machine(Protocol()), settings=settings(thorough, stateful_step_count=LENGTH))


@pytest.mark.parametrize("mutant", [SameEpochAgain, HoldsExpire])
def test_a_wrong_rule_is_found_by_searching(mutant: type[Protocol]) -> None:
    search = settings(
        thorough,
        max_examples=3000,
        stateful_step_count=LENGTH,
        phases=[Phase.generate],
        print_blob=False,
        database=None,
    )
    with pytest.raises((Broken, Overdrawn)):
        run_state_machine_as_test(machine(mutant()), settings=search)


@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_schedules(part: int) -> None:
    """Each comes to rest, and together they have seen everything that can become of a request."""
    seen: set[Any] = set()
    for seed in range(part * SCHEDULES // PARTS, (part + 1) * SCHEDULES // PARTS):
        world = played(Protocol(), seed, LENGTH)
        seen |= {request.progress for request in world.told.values()}
        seen |= {lease.state for lease in world.books.leases.values()}
        seen |= {"charge"} if world.books.charges else set()
    assert seen == {"held", "ended", "refused", "open", "closed", "charge"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_rule_breaks_a_schedule(mutant: type[Protocol]) -> None:
    broken = next((seed for seed in range(SCHEDULES) if _breaks(mutant(), seed)), None)
    assert broken is not None


def _breaks(protocol: Protocol, seed: int) -> bool:
    try:
        played(protocol, seed, 2 * LENGTH)
    except (Broken, Overdrawn):
        return True
    return False
