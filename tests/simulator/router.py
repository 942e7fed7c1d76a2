"""A router without providers: a spool in memory that survives its kills, a floor, and a watermark."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from libs import ids
from libs.contracts.dispatch import Hold
from libs.contracts.evidence import Report
from libs.contracts.usage import UsageEvent
from libs.runtime import postgres
from libs.runtime.clock import now_ms
from libs.runtime.holds import Payer
from services.billing import reports
from services.billing.evidence import Rules
from services.billing.store import routers
from tests.simulator.events import event
from tests.simulator.oracle import Oracle

AGAIN_MS: Final = 1500  # after which a shipped record that nobody booked is shipped again
Standing = Literal["new", "known"]


@dataclass
class Record:
    """Of one request: without an event it runs. ``shipped_at``: 0 while the broker does not have it."""

    hold: Hold
    event: UsageEvent | None = None
    shipped_at: int = 0


class Router:
    """``up``: it is not killed at the moment."""

    def __init__(self, spool: str, oracle: Oracle, rules: Rules, chance: random.Random) -> None:
        self.spool = spool
        self.up = True
        self._kills = 0
        self._speaks = asyncio.Lock()  # one word after another, as one loop says them
        self.records: dict[UUID, Record] = {}
        self._oracle = oracle
        self._rules = rules
        self._chance = chance
        self._floor = 0
        self._standing: Standing = "new"

    def start(self, request: UUID, payer: Payer, hold: Hold) -> bool:
        """Whether it begins: as a start record on disk does, in one step with the floor."""
        if not self.up or self._standing != "known" or not self.begins(hold):
            return False
        self.records[request] = Record(hold)
        self._oracle.dispatched(request, payer, hold)
        return True

    def begins(self, hold: Hold) -> bool:
        stale = now_ms() - hold.authorized_at > self._rules.lag_ms * 4 // 5
        return hold.authorized_at >= self._floor and not stale

    def runs(self, request: UUID) -> bool:
        return self.records[request].event is None if request in self.records else False

    def finish(self, request: UUID, cost: int) -> int:
        """The terminal record; what the org pays."""
        paid = self._oracle.ended(request, cost)
        ended = self._oracle.requests[request]
        self.records[request].event = event(request, ended, ids.millisecond_of(request))
        return paid

    def kill(self) -> None:
        """What runs ends as its last record says: void, or with what was delivered until then."""
        self.up = False
        self._kills += 1
        for request, record in self.records.items():
            if record.event is None:
                delivered = self._chance.randrange(record.hold.amount + 1)
                self.finish(request, self._chance.choice((0, delivered)))

    def ship(self) -> list[UsageEvent]:
        """What the broker does not have, or has had for long."""
        if not self.up:
            return []
        now = now_ms()
        due = [
            record
            for record in self.records.values()
            if record.event is not None and (not record.shipped_at or now - record.shipped_at > AGAIN_MS)
        ]
        for record in due:
            record.shipped_at = now
        return [record.event for record in due if record.event is not None]

    async def report(self, pool: postgres.Pool) -> None:
        """The promise first, then what is booked is forgotten."""
        async with self._speaks:
            await self._report(pool)

    async def _report(self, pool: postgres.Pool) -> None:
        if not self.up:
            return
        report, kills = self._promised(goodbye=False), self._kills
        async with pool.acquire() as connection:
            known = await routers.hear(connection, self.spool, report, 0)
            booked = await routers.booked(connection, list(self.records))
        if kills != self._kills:
            return
        self._standing = "known" if reports.is_ready(known, self._rules) else "new"
        for request in self.forgettable(booked):
            self.records.pop(request, None)

    def forgettable(self, booked: list[UUID]) -> list[UUID]:
        return booked

    async def say_goodbye(self, pool: postgres.Pool) -> None:
        """Nobody waits for it afterwards, so it begins nothing before it is known again."""
        async with self._speaks:
            await self._say_goodbye(pool)

    async def _say_goodbye(self, pool: postgres.Pool) -> None:
        if not self.up or self.records or self._standing != "known":
            return
        self._standing = "new"
        async with pool.acquire() as connection:
            await routers.hear(connection, self.spool, self._promised(goodbye=True), 0)

    def _promised(self, *, goodbye: bool) -> Report:
        now = now_ms()
        lowest = min((record.hold.authorized_at for record in self.records.values()), default=now)
        self._floor = max(self._floor, min(lowest, now - self._rules.lag_ms))
        return Report(self.spool, self._floor, len(self.records), now, (), goodbye)
