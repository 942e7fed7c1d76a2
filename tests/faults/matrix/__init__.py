"""The rows of the fault matrix."""

from typing import Final

from tests.faults.matrix import broker, callers, deaths, disk_and_clock, events, network, regions, stores
from tests.faults.scenario import Scenario

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *deaths.SCENARIOS,
    *broker.SCENARIOS,
    *stores.SCENARIOS,
    *network.SCENARIOS,
    *events.SCENARIOS,
    *callers.SCENARIOS,
    *regions.SCENARIOS,
    *disk_and_clock.SCENARIOS,
)
