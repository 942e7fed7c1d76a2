"""Usage messages into the ledger: gather, judge, post, acknowledge, settle. A message is acknowledged only when every
event in it is in the books or parked."""

import asyncio
import time
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from libs.contracts import usage
from libs.pricing import Price
from libs.runtime import backoff, failpoint, postgres, rabbit
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds
from services.billing import parcel
from services.billing.parcel import Parcel
from services.billing.parking import Parking
from services.billing.poster import Booked, Poster
from services.billing.verdict import Accepted, Judge, Refused, honest

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
BATCHES_AT_ONCE: Final = 2  # one is judged while the other is in the database


class Batch:
    """What was gathered, and how far its booking has come: a retry goes on where the last try stopped."""

    def __init__(self) -> None:
        self.messages: list[rabbit.Message] = []
        self.prices: dict[str, Price] = {}
        self.accepted: list[Accepted] = []
        self.booked: list[Booked] = []
        self.parcels: list[Parcel] = []


class Consumer:
    """Takes messages one by one and books them in batches."""

    def __init__(
        self,
        poster: Poster,
        holds: Holds,
        parking: Parking,
        judge: Judge,
        *,
        batch_events: int,
        batch_messages: int,
        registry: CollectorRegistry,
    ) -> None:
        self._poster = poster
        self._holds = holds
        self._parking = parking
        self._judge = judge
        self._batch_events = batch_events
        self._batch_messages = batch_messages
        self._inbox: asyncio.Queue[rabbit.Message] = asyncio.Queue()
        self._fates = Counter("tokenoutput_usage_events_total", "Usage events by fate.", ["fate"], registry=registry)
        self._odd = Counter(
            "tokenoutput_anomalies_total", "What was booked and has to be looked at.", ["kind"], registry=registry
        )

    async def take(self, message: rabbit.Message) -> None:
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(BATCHES_AT_ONCE):
                group.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._until_done(await self._gather())

    async def _gather(self) -> Batch:
        """At least one message, at most a batch of them, and none that comes later than 20 ms after the first."""
        batch = Batch()
        message: rabbit.Message | None = await self._inbox.get()
        deadline = time.monotonic() + GATHER_SECONDS
        while message is not None:
            self._open(batch, message)
            await asyncio.sleep(0)  # others of this process want their turn
            message = None if self._is_full(batch) else await self._next(deadline)
        return batch

    def _is_full(self, batch: Batch) -> bool:
        room = self._batch_events - len(batch.accepted)
        return room < usage.MAX_EVENTS or len(batch.messages) >= self._batch_messages

    async def _next(self, deadline: float) -> rabbit.Message | None:
        if not self._inbox.empty():
            return self._inbox.get_nowait()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await self._inbox.get()
        except TimeoutError:
            return None

    def _open(self, batch: Batch, message: rabbit.Message) -> None:
        """Opens a message once. What makes no sense is set apart, and its neighbours do not suffer for it."""
        batch.messages.append(message)
        try:
            envelope = self._judge.open(message.body)
        except Refused as error:
            batch.parcels.append(parcel.of_message(message.body, str(error)))
            return
        prices, now = honest(envelope.prices), now_ms()
        batch.prices |= prices
        for raw in map(bytes, envelope.events):
            try:
                batch.accepted.append(self._judge.judge(raw, envelope, prices, now))
            except Refused as error:
                batch.parcels.append(
                    parcel.of_event(raw, envelope.producer, envelope.prices, self._judge.keys, str(error))
                )

    async def _until_done(self, batch: Batch) -> None:
        """Whatever is away is waited for; the messages stay unacknowledged meanwhile and lose nothing."""
        failures = 0
        while True:
            try:
                return await self._book(batch)
            except (*postgres.TRANSIENT, *rabbit.Failed) as error:
                log.warning("booking_waits", error=repr(error))
            except Exception:  # parking is for events that are wrong, not for faults of ours: wait, loudly
                log.exception("booking_failed")
            failures += 1
            await asyncio.sleep(backoff.after(failures))

    async def _book(self, batch: Batch) -> None:
        while batch.accepted:
            await self._post_some(batch)
        if batch.parcels:
            await self._park(batch)
        while batch.messages:
            await _acknowledge(batch.messages.pop())
        if __debug__:
            await failpoint.reached("billing.acked")
        await self._holds.settle_all(Ended(item.event.org, item.event.request_id, paid) for item, paid in batch.booked)

    async def _post_some(self, batch: Batch) -> None:
        """One transaction's worth. What is posted leaves ``accepted``, so that a retry does not judge it again."""
        posted = await self._poster.post(batch.accepted[: self._batch_events], batch.prices)
        del batch.accepted[: self._batch_events]
        batch.booked += posted.booked
        batch.parcels += [
            parcel.of_event(item.raw, item.producer, batch.prices, self._judge.keys, reason)
            for item, reason in posted.refused
        ]
        self._fates.labels("booked").inc(len(posted.booked))
        for kind in posted.odd:
            self._odd.labels(kind).inc()

    async def _park(self, batch: Batch) -> None:
        """Out of the way and kept, for an operator to look at."""
        await self._parking.park(batch.parcels)
        self._fates.labels("parked").inc(len(batch.parcels))
        batch.parcels = []


async def _acknowledge(message: rabbit.Message) -> None:
    """A lost acknowledgement means a second delivery, which the ledger expects."""
    try:
        await message.ack()
    except rabbit.Failed as error:
        log.info("ack_lost", error=repr(error))
