"""Random schedules of the protocol, the same for the same seed."""

import random
from typing import Final

from tests.simulator.model.invariants import check, settled
from tests.simulator.model.protocol import STEPS, Protocol, taken
from tests.simulator.model.till import Pair
from tests.simulator.model.world import World, new_world

CREDITS: Final = Pair(cash=60, plan=30)  # little, so that every mistake shows
PICKS: Final = 8
AMOUNTS: Final = 20


def played(protocol: Protocol, seed: int, steps: int) -> World:
    """The world after so many random steps and its coming to rest. Raises Broken or Overdrawn."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, no secret
    world = new_world(CREDITS)
    for _ in range(steps):
        step = chance.choice(STEPS)
        world = taken(protocol, world, step, chance.randrange(PICKS), chance.randrange(AMOUNTS))
        check(protocol, world)
    return settled(protocol, world)
