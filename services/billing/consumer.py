"""Usage messages into the ledger: gather, judge, post, acknowledge, settle. A message is acknowledged only when every
event in it is in the books or parked."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter

from libs.contracts import usage
from libs.pricing import Price
from libs.runtime import postgres, rabbit, redis
from libs.runtime.holds import Holds
from services.billing.poster import Poster
from services.billing.verdict import Accepted, Refused, judge

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
BACKOFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)


class Parcel(NamedTuple):
    """A message and what is in it."""

    message: rabbit.Message
    producer: str
    prices: dict[str, Price]
    events: list[msgspec.Raw]


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
        registry: CollectorRegistry,
    ) -> None:
        self._poster = poster
        self._holds = holds
        self._parking = parking
        self._secret = secret
        self._batch_events = batch_events
        self._inbox: asyncio.Queue[rabbit.Message] = asyncio.Queue()
        self._posted = Counter("tokenoutput_usage_events_total", "Usage events by fate.", ["fate"], registry=registry)

    async def take(self, message: rabbit.Message) -> None:
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        while True:
            parcels = await self._gather()
            if parcels:
                await self._until_done(parcels)

    async def _gather(self) -> list[Parcel]:
        """At least one message, at most a batch, and no longer than 20 ms after the first."""
        parcels, count = [], 0
        message: rabbit.Message | None = await self._inbox.get()
        deadline = time.monotonic() + GATHER_SECONDS
        while message is not None:
            parcel = await self._open(message)
            if parcel is not None:
                parcels.append(parcel)
                count += len(parcel.events)
            message = None if count >= self._batch_events else await self._next(deadline)
        return parcels

    async def _next(self, deadline: float) -> rabbit.Message | None:
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await self._inbox.get()
        except TimeoutError:
            return None

    async def _open(self, message: rabbit.Message) -> Parcel | None:
        """None for a message that is no envelope: it is parked as it is."""
        try:
            envelope = usage.decode_envelope(message.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            await self._park(message.body, f"malformed envelope: {error}", message.message_id or "")
            await _acknowledge(message)
            return None
        return Parcel(message, envelope.producer, envelope.prices, envelope.events)

    async def _until_done(self, parcels: Sequence[Parcel]) -> None:
        """A database that is away is waited for; the messages stay unacknowledged meanwhile and lose nothing."""
        failures = 0
        while True:
            try:
                await self._book(parcels)
            except (*postgres.TRANSIENT, *rabbit.Failed) as error:
                log.warning("booking_waits", error=repr(error))
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
            else:
                return

    async def _book(self, parcels: Sequence[Parcel]) -> None:
        accepted: list[Accepted] = []
        prices: dict[str, Price] = {}
        for parcel in parcels:
            accepted += await self._judge(parcel)
            prices.update(parcel.prices)
        refused = await self._poster.post(accepted, prices) if accepted else []
        for item in refused:
            await self._park_event(usage.encode_event(item.event.event), prices, item.reason)
        self._posted.labels("booked").inc(len(accepted) - len(refused))
        for parcel in parcels:
            await _acknowledge(parcel.message)
        unbooked = {item.event.event.request_id for item in refused}
        await self._settle([item for item in accepted if item.event.request_id not in unbooked])

    async def _judge(self, parcel: Parcel) -> list[Accepted]:
        accepted, now_ms = [], time.time_ns() // 1_000_000
        for raw in parcel.events:
            try:
                accepted.append(judge(bytes(raw), parcel.prices, self._secret, now_ms))
            except Refused as error:
                await self._park_event(bytes(raw), parcel.prices, str(error))
        return accepted

    async def _park_event(self, raw: bytes, prices: dict[str, Price], reason: str) -> None:
        envelope = usage.Envelope(usage.SCHEMA, "billing", time.time_ns() // 1_000_000, prices, [msgspec.Raw(raw)])
        await self._park(usage.encode_envelope(envelope), reason, "parked")

    async def _park(self, body: bytes, reason: str, message_id: str) -> None:
        """Out of the way and kept: an operator replays it or voids it."""
        log.error("event_parked", reason=reason)
        self._posted.labels("parked").inc()
        await self._parking.publish(usage.PARKING_EXCHANGE, "", body, message_id=message_id, reason=reason[:200])

    async def _settle(self, items: Sequence[Accepted]) -> None:
        """The router did so at once; this is for holds whose router could not."""
        for item in items:
            event = item.event
            try:
                await self._holds.settle(event.org, event.request_id, min(event.cost, event.hold.amount))
            except redis.Failed as error:
                log.warning("settle_failed", error=repr(error), left=len(items))
                return


async def _acknowledge(message: rabbit.Message) -> None:
    """A lost acknowledgement means a second delivery, which the ledger expects."""
    try:
        await message.ack()
    except rabbit.Failed as error:
        log.info("ack_lost", error=repr(error))
