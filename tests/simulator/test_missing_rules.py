"""Every rule that holds and leases rest on is one whose lack the simulator notices."""

from typing import Final

import asyncpg
import pytest

from services.billing.store.leases import NoSuchLease
from tests.simulator.conftest import Simulate, Tell
from tests.simulator.mutants import MUTANTS
from tests.simulator.variant import Variant

SECONDS: Final = 3.0
PATIENCE: Final = 30.0
TRIES: Final = range(100, 110)
REFUSED: Final = (asyncpg.IntegrityConstraintViolationError, NoSuchLease)  # the schema is the last to notice
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
async def test_a_missing_rule_is_noticed(mutant: type[Variant], simulate: Simulate, tell: Tell) -> None:
    for seed in TRIES:
        try:
            verdict = await simulate(seed, mutant(), SECONDS, PATIENCE)
        except REFUSED as error:
            tell(f"seed {seed}: {error}")
            return
        tell(f"seed {seed}: {verdict}")
        if not verdict.clean:
            return
    pytest.fail("nobody noticed")
