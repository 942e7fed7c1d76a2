"""A Redis to be killed, and runs against it."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.fixtures.servers import Servers
from tests.fixtures.stores import FOLDER
from tests.simulator.server import RedisServer, own_redis
from tests.simulator.simulation import Simulation, Verdict
from tests.simulator.variant import Variant

Simulate = Callable[[int, Variant, float, float], Awaitable[Verdict]]
Tell = Callable[[object], None]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[RedisServer]:
    async with own_redis(Path(os.environ[FOLDER])) as running:
        yield running


@pytest.fixture
def simulate(server: RedisServer, servers: Servers) -> Simulate:
    """A run of a seed and a variant, for so many seconds; then it has the others to come to rest."""

    async def run(seed: int, variant: Variant, seconds: float, patience: float) -> Verdict:
        async with servers.new_database() as database:
            return await Simulation(server, seed, variant, patience=patience).run(database.billing_url, seconds)

    return run


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Tell:
    """For `make simulate`: what became of a run, as it ends."""

    def write(what: object) -> None:
        if "SIMULATE_TELL" in os.environ:
            with capsys.disabled():
                sys.stdout.write(f"\n{request.node.name}: {what}\n")

    return write
