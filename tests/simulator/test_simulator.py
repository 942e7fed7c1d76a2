"""Chaos against the project's own scripts and SQL: nobody ever spends what is not there, and every request is charged
once."""

import os
from typing import Final

import pytest

from tests.simulator.conftest import Simulate, Tell
from tests.simulator.variant import Variant

SEEDS: Final = range(1, 1 + int(os.environ.get("SIMULATE_SEEDS", "10")))
SECONDS: Final = float(os.environ.get("SIMULATE_SECONDS", "2.5"))
PATIENCE: Final = 60.0
# Connections to a server that is killed are not closed in peace.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize("seed", SEEDS)
async def test_nobody_overspends_and_everything_is_charged_once(seed: int, simulate: Simulate, tell: Tell) -> None:
    verdict = await simulate(seed, Variant(), SECONDS, PATIENCE)
    tell(verdict)
    assert verdict.violations == []
    assert verdict.difference is None
    assert verdict.dispatched
    assert verdict.strikes
