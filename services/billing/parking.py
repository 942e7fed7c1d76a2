"""Where events wait that could not be booked: a table. What the broker itself gave up on is brought there too."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Gauge

from libs.runtime import backoff, postgres, rabbit
from services.billing import parcel
from services.billing.parcel import Parcel
from services.billing.store import parked
from services.billing.verdict import Judge

log = structlog.get_logger()

COUNT_SECONDS: Final = 30


class Parking:
    """Keeps events until somebody decides. Something has to run ``run`` and ``count`` beside it."""

    def __init__(self, pool: postgres.Pool, judge: Judge, registry: CollectorRegistry) -> None:
        self._pool = pool
        self._judge = judge
        self._inbox: asyncio.Queue[rabbit.Message] = asyncio.Queue()
        self._waiting = Gauge(
            "tokenoutput_parked_events", "Parked events that nobody has decided on.", registry=registry
        )

    async def park(self, parcels: Sequence[Parcel]) -> None:
        """Returns when they are kept. Raises one of ``postgres.TRANSIENT``."""
        for each in parcels:
            log.error("event_parked", reason=each.reason, request_id=str(each.request_id or ""), org=each.org)
        async with self._pool.acquire() as connection:
            await parked.park(connection, parcels)
            self._waiting.set(await parked.undecided(connection))

    async def take(self, message: rabbit.Message) -> None:
        """A message of the queue of dead letters."""
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        """A dead letter is acknowledged when each of its events is kept."""
        while True:
            message = await self._inbox.get()
            failures = 0
            while not await self._kept(message):
                failures += 1
                await asyncio.sleep(backoff.after(failures))
            try:
                await message.ack()
            except rabbit.Failed as error:
                log.info("ack_lost", error=repr(error))

    async def count(self) -> None:
        """Tells the gauge what other processes decided, now and then."""
        while True:
            try:
                async with self._pool.acquire() as connection:
                    self._waiting.set(await parked.undecided(connection))
            except postgres.TRANSIENT as error:
                log.warning("parked_count_waits", error=repr(error))
            await asyncio.sleep(COUNT_SECONDS)

    async def _kept(self, message: rabbit.Message) -> bool:
        try:
            await self.park(parcel.parcels(message.body, self._judge, reason_of(message)))
        except postgres.TRANSIENT as error:
            log.warning("parking_waits", error=repr(error))
            return False
        except Exception:  # a fault of ours: the message stays in its queue, and we are loud about it
            log.exception("parking_failed")
            return False
        return True


def reason_of(message: rabbit.Message) -> str:
    """Why the broker, or an older billing, put it there."""
    given = message.headers.get("reason") or message.headers.get("x-first-death-reason") or "no reason given"
    return f"dead letter: {given.decode('utf-8', 'replace') if isinstance(given, bytes) else given}"
