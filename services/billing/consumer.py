"""Usage messages into the ledger: gather, judge, post, acknowledge, settle. A message is acknowledged only when every
event in it is in the books or parked."""

import asyncio
import time
from typing import Final

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter

from libs.contracts import usage
from libs.pricing import Price
from libs.runtime import backoff, postgres, rabbit
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds
from services.billing.poster import Poster, Unpostable
from services.billing.verdict import Accepted, Refused, judge

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
MOST_OF_A_REASON: Final = 200
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Batch:
    """What was gathered, and how far its booking has come: a retry goes on where the last try stopped."""

    def __init__(self, messages: list[rabbit.Message]) -> None:
        self.messages = messages
        self.prices: dict[str, Price] = {}
        self.accepted: list[Accepted] = []
        self.parking: list[tuple[bytes, str]] = []
        self.posted = False


class Consumer:
    """Takes messages one by one and books them in batches."""

    def __init__(
        self,
        poster: Poster,
        holds: Holds,
        parking: rabbit.Publisher,
        *,
        secret: bytes,
        batch_events: int,
        batch_messages: int,
        registry: CollectorRegistry,
    ) -> None:
        self._poster = poster
        self._holds = holds
        self._parking = parking
        self._secret = secret
        self._batch_events = batch_events
        self._batch_messages = batch_messages
        self._inbox: asyncio.Queue[rabbit.Message] = asyncio.Queue()
        self._fates = Counter("tokenoutput_usage_events_total", "Usage events by fate.", ["fate"], registry=registry)

    async def take(self, message: rabbit.Message) -> None:
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        while True:
            await self._until_done(self._judge(await self._gather()))

    async def _gather(self) -> list[rabbit.Message]:
        """At least one message, at most a batch of them, and none later than 20 ms after the first."""
        messages = [await self._inbox.get()]
        deadline = time.monotonic() + GATHER_SECONDS
        while len(messages) < self._batch_messages and (message := await self._next(deadline)) is not None:
            messages.append(message)
        return messages

    async def _next(self, deadline: float) -> rabbit.Message | None:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await self._inbox.get()
        except TimeoutError:
            return None

    def _judge(self, messages: list[rabbit.Message]) -> Batch:
        """Opens every message once. What makes no sense is set apart, and its neighbours do not suffer for it."""
        batch = Batch(messages)
        for message in messages:
            try:
                envelope = usage.decode_envelope(message.body)
            except UNREADABLE as error:
                batch.parking.append((message.body, f"malformed envelope: {error}"))
                continue
            for raw in envelope.events:
                try:
                    accepted = judge(bytes(raw), envelope.prices, self._secret, now_ms())
                except Refused as error:
                    batch.parking.append((_alone(raw, envelope.prices), str(error)))
                else:
                    batch.accepted.append(accepted)
                    batch.prices[accepted.event.price_id] = envelope.prices[accepted.event.price_id]
        return batch

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
        if batch.accepted and not batch.posted:
            await self._post(batch)
        while batch.parking:
            await self._park(*batch.parking[-1])
            batch.parking.pop()
        for message in batch.messages:
            await _acknowledge(message)
        events = [item.event for item in batch.accepted]
        await self._holds.settle_all(Ended(e.org, e.request_id, min(e.cost, e.hold.amount)) for e in events)

    async def _post(self, batch: Batch) -> None:
        refused: list[Unpostable] = []
        for start in range(0, len(batch.accepted), self._batch_events):
            refused += await self._poster.post(batch.accepted[start : start + self._batch_events], batch.prices)
        batch.posted = True
        for item in refused:
            batch.accepted.remove(item.event)
            raw = msgspec.Raw(usage.encode_event(item.event.event))
            batch.parking.append((_alone(raw, batch.prices), item.reason))
        self._fates.labels("booked").inc(len(batch.accepted))

    async def _park(self, body: bytes, reason: str) -> None:
        """Out of the way and kept in the queue of parked events, for an operator to look at."""
        log.error("event_parked", reason=reason)
        await self._parking.publish(
            usage.PARKING_EXCHANGE, "", body, message_id="parked", reason=reason[:MOST_OF_A_REASON]
        )
        self._fates.labels("parked").inc()


def _alone(raw: msgspec.Raw, prices: dict[str, Price]) -> bytes:
    """One event in an envelope of its own."""
    return usage.encode_envelope(usage.Envelope(usage.SCHEMA, "billing", now_ms(), prices, [raw]))


async def _acknowledge(message: rabbit.Message) -> None:
    """A lost acknowledgement means a second delivery, which the ledger expects."""
    try:
        await message.ack()
    except rabbit.Failed as error:
        log.info("ack_lost", error=repr(error))
