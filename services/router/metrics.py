"""What a scrape sees of attempts, prompt caches and breakers. Labels are ids of the shelf, never words of a caller."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from libs.contracts.usage import UsageEvent
from libs.runtime.clock import now_ms
from services.router.report import Reporter
from services.router.shipper import Shipper
from services.router.spool import Spool
from services.router.switch import Switch

OPENNESS: Final = {"closed": 0, "cooling": 1, "half_open": 2, "open": 3}


class Records:
    """Counts what terminal records say. Cached over all prompt tokens is the hit rate of a provider's cache."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "tokenoutput_attempts_total", "Attempts by how they ended.", ["offer", "reason"], registry=registry
        )
        self._prompt = Counter(
            "tokenoutput_prompt_tokens_total",
            "Prompt tokens: read from the provider's cache, written to it, or neither.",
            ["offer", "cache"],
            registry=registry,
        )

    def note(self, event: UsageEvent) -> None:
        for attempt in event.attempts:
            self._attempts.labels(attempt.offer, attempt.reason).inc()
        used = event.usage
        for name, tokens in (
            ("read", used.cache_read),
            ("write", used.cache_write + used.cache_write_1h),
            ("none", used.input),
        ):
            self._prompt.labels(event.offer, name).inc(tokens)


class SpoolStates(Collector):
    """What lies on this router's disk, and how far its promise is behind."""

    def __init__(self, spool: Spool, shipper: Shipper, reporter: Reporter) -> None:
        self._spool = spool
        self._shipper = shipper
        self._reporter = reporter

    def collect(self) -> Iterator[Metric]:
        now, promised = now_ms(), self._reporter.promised
        for name, help_, value in (
            ("spool_waiting", "Terminal records that the broker does not have.", self._shipper.waiting),
            ("spool_unbooked", "Records that billing is not known to have.", promised.unbooked),
            ("spool_oldest_seconds", "Since the oldest of those was authorized.", _age(promised.oldest, now)),
            ("watermark_lag_seconds", "How far the watermark is behind.", _age(promised.floor or None, now)),
        ):
            yield GaugeMetricFamily(f"tokenoutput_{name}", help_, value=value)
        for name, help_, value in (
            ("checkpoints", "How often it was written down what a stream has delivered.", self._spool.checkpoints),
            (
                "spool_sent_again",
                "Records that were sent again because they stayed unbooked.",
                self._reporter.sent_again,
            ),
        ):
            yield CounterMetricFamily(f"tokenoutput_{name}", help_, value=value)


def _age(unix_ms: int | None, now: int) -> float:
    return 0.0 if unix_ms is None else max(now - unix_ms, 0) / 1000


class BreakerStates(Collector):
    """Read when it is asked for, so nothing has to be kept up to date. One series for each subject that was called."""

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
