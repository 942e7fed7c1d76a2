"""What of the breakers a scrape sees: read when it is asked for, so nothing has to be kept up to date."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.router.switch import Switch

OPENNESS: Final = {"closed": 0, "cooling": 1, "half_open": 2, "open": 3}


class BreakerStates(Collector):
    """One series for each offer, credential and pair of both that was called."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "tokenoutput_breaker_state", "0 closed, 1 cooling, 2 half open, 3 open.", labels=["subject"]
        )
        opens = CounterMetricFamily("tokenoutput_breaker_opens", "How often it opened.", labels=["subject"])
        for health in self._switch.health():
            state.add_metric([health.subject], OPENNESS[health.state])
            opens.add_metric([health.subject], health.opens_total)
        yield from (state, opens)
