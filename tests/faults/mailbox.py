"""The usage exchange as somebody sees it who may do anything there: copies of what is published, and forgeries."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage

from libs import pricing
from libs.contracts import dispatch, usage
from libs.contracts.dispatch import Hold
from libs.contracts.usage import UsageEvent
from libs.pricing import Price
from libs.runtime import rabbit
from libs.runtime.clock import now_ms
from tests.fixtures import samples

HOLD_SECRET = b"hold-secret-of-the-tests"
MODEL = "deepseek-chat"


class Mailbox:
    """Publishes as a router does, and may say anything."""

    def __init__(self, publisher: rabbit.Publisher, price: Price) -> None:
        self._publisher = publisher
        self._price = price
        self._number = 0
        self.copies: list[bytes] = []

    async def send(self, body: bytes, org: int = 1) -> None:
        self._number += 1
        key = usage.routing_key(usage.partition_of(org))
        await self._publisher.publish(usage.EXCHANGE, key, body, message_id=f"forged:{self._number}")

    async def tell(self, org: int, *events: UsageEvent | msgspec.Raw) -> None:
        """These events in one message."""
        await self.send(self.envelope(*events), org)

    def envelope(self, *events: UsageEvent | msgspec.Raw) -> bytes:
        raws = [event if isinstance(event, msgspec.Raw) else msgspec.Raw(usage.encode_event(event)) for event in events]
        prices = {pricing.version_of(self._price): self._price}
        return usage.encode_envelope(usage.Envelope(usage.SCHEMA, "router-0", now_ms(), prices, raws))

    def event(self, org: int, key: int, epoch: int, **changes: Any) -> UsageEvent:
        """One that an honest router could send, of a request that nobody made."""
        self._number += 1
        now = now_ms()
        held = Hold(cash=1_000, plan=0, epoch=epoch, shard="r0", authorized_at=now)
        times = {"accepted_at": now, "started_at": now, "ended_at": now}
        request_id = samples.request_id(now, self._number)
        given = {"request_id": request_id, "org": org, "key": key, "hold": held, **times, **changes}
        return samples.event(self._price, HOLD_SECRET, **given)

    def events(self) -> dict[UUID, UsageEvent]:
        """Those of the copies, by request."""
        raws = [raw for body in self.copies for raw in usage.decode_envelope(body).events]
        return {event.request_id: event for event in map(usage.decode_event, raws)}


def dearer(event: UsageEvent, price: Price) -> UsageEvent:
    """The same request, with more of an answer than it had."""
    more = msgspec.structs.replace(event.usage, output=event.usage.output + 1)
    return msgspec.structs.replace(event, usage=more, cost=pricing.cost(price, more, event.started_at))


def signed(event: UsageEvent) -> UsageEvent:
    """With the edge's word for what it says now."""
    sig = dispatch.sign_hold(event.request_id, event.org, event.key, event.price_id, event.hold, secret=HOLD_SECRET)
    return msgspec.structs.replace(event, sig=sig)


@asynccontextmanager
async def opened(amqp_url: str, price: Price) -> AsyncIterator[Mailbox]:
    """Collects copies of every usage message while the context lasts."""
    async with rabbit.publisher(amqp_url) as publisher, await aio_pika.connect(amqp_url) as connection:
        mailbox = Mailbox(publisher, price)
        channel = await connection.channel()
        await rabbit.declare(channel)
        queue = await channel.declare_queue(exclusive=True)
        for partition in range(usage.PARTITIONS):
            await queue.bind(usage.EXCHANGE, usage.routing_key(partition))

        async def keep(message: AbstractIncomingMessage) -> None:
            mailbox.copies.append(message.body)

        await queue.consume(keep, no_ack=True)
        yield mailbox


async def send_all(mailbox: Mailbox, bodies: Sequence[bytes], at_once: int = 20) -> None:
    """Many messages, some of them at a time."""
    for start in range(0, len(bodies), at_once):
        await asyncio.gather(*(mailbox.send(body) for body in bodies[start : start + at_once]))
