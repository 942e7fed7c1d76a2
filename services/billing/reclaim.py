"""Credit that nobody can spend any more goes back: leases in doubt, holds without a request, leases that idle. On
evidence, never by a clock alone: see ``evidence``.

Once a second a page of 500 open leases is looked at: a command to Redis for each, one more where something is held, in
two round trips, and one query of an index. That is 40 ms of a core at most, and 50,000 open leases are seen within two
minutes. Leases in doubt come out of an index of their own, 100 a second; each is one short transaction.

Any number of billing instances may run this. One at a time does the work for a Redis; that is for economy, and every
step is harmless when it is done twice.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import structlog

from libs.runtime import postgres, redis
from libs.runtime.clock import now_ms
from services.billing import evidence
from services.billing.evidence import Reading, Rules, Skew
from services.billing.leases import Leases
from services.billing.orphans import Looked, Marks, Orphans
from services.billing.reclaim_metrics import ReclaimMetrics
from services.billing.store import reclaiming, routers
from services.billing.store.charges import Leased

log = structlog.get_logger()

LOOKED_AT: Final = 500  # open leases in one turn
CLOSED: Final = 100  # leases in doubt in one turn
ENDED: Final = 100  # leases that idle, or whose Redis is lost, in one turn
MOST_BROKEN: Final = 1000
PATIENCE_SECONDS: Final = 5.0  # a machine that stalls makes clocks look apart for a moment
COMPLAIN_SECONDS: Final = 60.0


class Reclaimer:
    """Of one Redis. ``our_clock``: Unix milliseconds of this process."""

    def __init__(
        self,
        pool: postgres.Pool,
        client: redis.Client,
        leases: Leases,
        orphans: Orphans,
        rules: Rules,
        *,
        metrics: ReclaimMetrics,
        our_clock: Callable[[], int] = now_ms,
    ) -> None:
        self._pool = pool
        self._client = client
        self._leases = leases
        self._orphans = orphans
        self._rules = rules
        self._metrics = metrics
        self._our_clock = our_clock
        self._after = 0
        self._broken: set[Leased] = set()
        self._apart_since: float | None = None
        self._complained_at = -COMPLAIN_SECONDS

    async def run(self, seconds: float) -> None:
        """A turn every so often, for ever. What is away is waited for."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.turn()
            except (*postgres.TRANSIENT, *redis.Failed) as error:
                log.warning("reclaiming_waits", error=repr(error))
            except Exception:  # only this loop ever gives anything back
                log.exception("reclaiming_failed")
                await asyncio.sleep(PATIENCE_SECONDS)

    async def turn(self) -> None:
        """Raises one of ``postgres.TRANSIENT`` or ``redis.Failed``; what was done until then stays done."""
        async with self._pool.acquire() as connection:
            now, readings = await self._clocks(connection)
            known = await routers.known(connection)
            skew = evidence.widest(readings, known, now)
            low = evidence.low_mark(known, now, self._rules)
            self._metrics.show(known, await reclaiming.in_doubt(connection), now - low if low is not None else 0)
            if self._trusts(skew, readings):
                async with reclaiming.alone(connection, self._leases.shard) as mine:
                    if mine:
                        await self._reclaim(connection, self._marks(now, low))

    def _marks(self, now: int, low: int | None) -> Marks:
        before = evidence.given_back_before(low, self._rules) if low is not None else None
        return Marks(now, before, evidence.given_back_before(now - self._rules.lag_ms, self._rules))

    async def _clocks(self, connection: postgres.Connection) -> tuple[int, dict[str, Reading]]:
        """PostgreSQL's time, and how it and Redis's compare with ours."""
        asked = self._our_clock()
        postgres_ms = await reclaiming.clock(connection)
        between = self._our_clock()
        seconds, microseconds = await self._client.time()
        redis_ms = int(seconds) * 1000 + int(microseconds) // 1000
        return postgres_ms, {
            "postgresql": evidence.reading(asked, postgres_ms, between),
            "redis": evidence.reading(between, redis_ms, self._our_clock()),
        }

    def _trusts(self, skew: Skew, readings: dict[str, Reading]) -> bool:
        """Too late is harmless, too early is not: while clocks are apart, or may be, nothing is given back."""
        apart = skew.ms > self._rules.skew_ms
        self._metrics.paused.set(apart)
        self._complain(skew, apart=apart)
        return not apart and all(reading.error_ms <= self._rules.skew_ms for reading in readings.values())

    def _complain(self, skew: Skew, *, apart: bool) -> None:
        now = monotonic()
        if not apart:
            self._apart_since = None
            return
        self._apart_since = now if self._apart_since is None else self._apart_since
        if now - self._apart_since >= PATIENCE_SECONDS and now - self._complained_at >= COMPLAIN_SECONDS:
            self._complained_at = now
            log.error("clocks_apart", between=skew.between, ms=skew.ms, consequence="no credit is given back")

    async def _reclaim(self, connection: postgres.Connection, marks: Marks) -> None:
        page = await reclaiming.open_leases(connection, self._leases.shard, self._after, LOOKED_AT)
        looked = await self._sweep(connection, page, marks)
        self._after = page[-1][0] if len(page) == LOOKED_AT else 0
        if marks.given_back is not None:
            await self._close_doubts(connection, marks, marks.given_back)
        await self._end(looked, marks.now)

    async def _sweep(self, connection: postgres.Connection, leases: list[Leased], marks: Marks) -> list[Looked]:
        swept = await self._orphans.sweep(connection, leases, marks)
        self._metrics.ended(swept.settled, swept.voided)
        return swept.leases

    async def _close_doubts(self, connection: postgres.Connection, marks: Marks, before: int) -> None:
        """First what may be left of it in Redis, which is nobody's afterwards."""
        doubtful = await reclaiming.closable(connection, self._leases.shard, before, CLOSED)
        await self._sweep(connection, doubtful, marks)
        for leased in doubtful:
            with self._alone_with(leased):
                left = await reclaiming.close(connection, leased, before)
                if left is None:
                    continue
                self._metrics.closed.labels("doubt").inc()
                log.info("doubt_closed", org=leased[0], epoch=leased[1], cash=left.cash, plan=left.plan)

    async def _end(self, looked: list[Looked], now: int) -> None:
        """Leases that nobody uses, or that Redis has lost. The lease itself is looked at again, under its lock."""
        long_ago = now - self._rules.idle_ms
        found = [each for each in looked if each.lost or (each.idle_at is not None and each.idle_at < long_ago)]
        for each in found[:ENDED]:
            with self._alone_with(each.leased):
                if await self._leases.close_idle(each.leased[0], self._rules.idle_ms / 1000):
                    self._metrics.closed.labels("lost" if each.lost else "idle").inc()
        if len(found) > ENDED:
            self._after = found[ENDED - 1].leased[0]

    @contextmanager
    def _alone_with(self, leased: Leased) -> Iterator[None]:
        """What is wrong with one org stops nobody else's credit from coming back."""
        try:
            yield
        except postgres.TRANSIENT as error:  # somebody works on this org
            log.info("lease_stays", org=leased[0], error=repr(error))
        except redis.Failed:  # it is everybody's
            raise
        except Exception:  # a fault of ours or of one org's books: loud once, and the others go on
            if leased not in self._broken:
                log.exception("lease_cannot_be_ended", org=leased[0], epoch=leased[1])
            if len(self._broken) >= MOST_BROKEN:
                self._broken.clear()
            self._broken.add(leased)
