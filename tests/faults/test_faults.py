"""Those faults that take little time, in one world, each with a seed of its own. `make faults` runs all of them."""

import logging
from collections.abc import AsyncIterator

import pytest

from tests.faults import report, world
from tests.faults.matrix import SCENARIOS
from tests.faults.scenario import Scenario, judge
from tests.faults.world import World
from tests.fixtures.stores import OwnStack

FAST = [scenario for scenario in SCENARIOS if scenario.fast]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
async def running(own_stack: OwnStack) -> AsyncIterator[World]:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a proxy's peers are killed all the time
    async with world.opened(own_stack) as made:
        yield made


@pytest.mark.parametrize("scenario", FAST, ids=lambda scenario: scenario.number)
async def test_money_survives(running: World, scenario: Scenario) -> None:
    verdict = await judge(scenario, running, seed=1)
    assert verdict.problems == [], report.line(verdict)
    assert verdict.requests > 0
