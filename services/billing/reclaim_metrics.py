"""What a scrape sees of credit that is not where it belongs."""

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.billing.evidence import Router, State
from services.billing.store.reclaiming import Doubt

STATES: Final[tuple[State, ...]] = get_args(State)


class ReclaimMetrics:
    """The ledger's own figures come from any instance; the counters are each instance's work."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._doubt = Gauge("tokenoutput_doubt_nano", "Leased credit in doubt, nano-USD.", registry=registry)
        self._oldest = Gauge("tokenoutput_doubt_seconds", "For how long the oldest of it has been.", registry=registry)
        self._lag = Gauge(
            "tokenoutput_watermark_lag_seconds", "How far the lowest watermark is behind now.", registry=registry
        )
        self._routers = Gauge("tokenoutput_routers", "Routers by state.", ["state"], registry=registry)
        self._holds = Counter(
            "tokenoutput_orphan_holds_total",
            "Holds that outlived their request: settled with its charge, or voided.",
            ["end"],
            registry=registry,
        )
        self.closed = Counter(
            "tokenoutput_leases_closed_total",
            "Leases ended: idle, lost with their Redis, and at last closed out of doubt.",
            ["why"],
            registry=registry,
        )
        self.paused = Gauge(
            "tokenoutput_reclaim_paused",
            "1 while clocks are so far apart that nothing is given back.",
            registry=registry,
        )

    def show(self, known: Iterable[Router], doubt: Doubt, lag_ms: int) -> None:
        states = [router.state for router in known]
        for state in STATES:
            self._routers.labels(state).set(states.count(state))
        self._doubt.set(doubt.nano)
        self._oldest.set(doubt.oldest_seconds)
        self._lag.set(lag_ms / 1000)

    def ended(self, settled: int, voided: int) -> None:
        self._holds.labels("settled").inc(settled)
        self._holds.labels("voided").inc(voided)
