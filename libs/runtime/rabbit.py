"""RabbitMQ: the usage topology, a publisher that knows what arrived, a reader that comes back.

aio-pika's robust connection waits without limit for a broker that is away, so reconnecting is done here: a failed call
drops the connection, and the next one opens another. Every wait has an end.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import AMQPError as WireError
from pamqp.common import FieldValue
from yarl import URL

from libs.contracts import usage
from libs.runtime import backoff

log = structlog.get_logger()

Message: TypeAlias = AbstractIncomingMessage
Failed: Final = (AMQPError, WireError, OSError, TimeoutError, RuntimeError)

PUBLISH_SECONDS: Final = 5
OPEN_SECONDS: Final = 10
DELIVERY_LIMIT: Final = (
    100  # RabbitMQ 4 defaults to 20, and a consumer that dies counts too: good money would be parked
)
QUORUM: Final[dict[str, FieldValue]] = {"x-queue-type": "quorum"}


async def declare(channel: AbstractChannel) -> AbstractExchange:
    """Declares everything `usage.v1` needs, as both sides do at every connection. Returns the exchange.

    There is no alternate exchange on purpose: a message without a queue must come back to its publisher, who keeps it.
    """
    parking = await channel.declare_exchange(usage.PARKING_EXCHANGE, "fanout", durable=True)
    await (await channel.declare_queue(usage.PARKED_QUEUE, durable=True, arguments=dict(QUORUM))).bind(parking)
    direct = await channel.declare_exchange(usage.EXCHANGE, "direct", durable=True)
    arguments: dict[str, FieldValue] = {
        **QUORUM,
        "x-single-active-consumer": True,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": usage.PARKING_EXCHANGE,
        "x-dead-letter-strategy": "at-least-once",
    }
    for partition in range(usage.PARTITIONS):
        queue_ = await channel.declare_queue(usage.queue_name(partition), durable=True, arguments=dict(arguments))
        await queue_.bind(direct, usage.routing_key(partition))
    return direct


async def connect(url: str) -> AbstractConnection:
    """Opens a connection. Raises one of ``Failed``.

    One that could not be opened is closed all the same: aio-pika's own ``connect`` leaves it open, and its finaliser
    then starts a coroutine wherever the collector happens to run, with no loop to await it.
    """
    connection = aio_pika.Connection(URL(url))
    try:
        await connection.connect(timeout=OPEN_SECONDS)
    except BaseException:
        await connection.close()
        raise
    return connection


class Publisher:
    """Publishes with confirms. A call that returns has been stored by the broker; one that raises may have been.

    ``declares``: False for whoever may publish and nothing else; without billing's queues it gets its messages back.
    """

    def __init__(self, url: str, *, declares: bool = True) -> None:
        self._url = url
        self._declares = declares
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._lock = asyncio.Lock()

    async def publish(self, exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        """Raises one of ``Failed`` when the broker did not confirm in time or could not route."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS + OPEN_SECONDS):
                channel = await self._open()
                target = await channel.get_exchange(exchange, ensure=False)
                message = aio_pika.Message(
                    body,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    content_type="application/json",
                    message_id=message_id,
                )
                await target.publish(message, routing_key=key, mandatory=True, timeout=PUBLISH_SECONDS)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await _close(connection)

    async def _open(self) -> AbstractChannel:
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                await self.close()
                self._connection = await connect(self._url)
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                if self._declares:
                    await declare(self._channel)
            return self._channel


@asynccontextmanager
async def publisher(url: str, *, declares: bool = True) -> AsyncIterator[Publisher]:
    opened = Publisher(url, declares=declares)
    try:
        yield opened
    finally:
        await opened.close()


Handle: TypeAlias = Callable[[Message], Awaitable[None]]
USAGE_QUEUES: Final = tuple(usage.queue_name(partition) for partition in range(usage.PARTITIONS))


async def read(
    url: str, queues: Sequence[str], prefetch: int, handle: Handle, report: Callable[[str | None], None]
) -> None:
    """Feeds every message of these queues to ``handle`` until cancelled, over as many connections as that takes.

    ``handle`` owns the message and its acknowledgement. ``report`` hears why there is no broker, or None.
    """
    failures = 0
    while True:
        try:
            connection = await connect(url)
        except Failed as error:
            log.warning("broker_away", error=repr(error))
            report("the broker is away")
            failures += 1
            await asyncio.sleep(backoff.after(failures))
            continue
        try:
            closed = await _subscribe(connection, queues, prefetch, handle)
            report(None)
            failures = 0
            await closed.wait()
        except Failed as error:
            log.warning("broker_away", error=repr(error))
            await asyncio.sleep(backoff.after(1))
        finally:
            report("the broker is away")
            await _close(connection)


async def _subscribe(
    connection: AbstractConnection, queues: Sequence[str], prefetch: int, handle: Handle
) -> asyncio.Event:
    closed = asyncio.Event()

    async def queue_deleted(_: object) -> None:
        closed.set()

    connection.close_callbacks.add(lambda *_: closed.set())
    async with asyncio.timeout(OPEN_SECONDS):
        channel = await connection.channel(publisher_confirms=False)
        channel.close_callbacks.add(lambda *_: closed.set())
        wire = await channel.get_underlay_channel()
        wire.on_consumer_cancel_callbacks.add(queue_deleted)
        await channel.set_qos(prefetch_count=prefetch)
        await declare(channel)
        for name in queues:
            queue = await channel.get_queue(name, ensure=False)
            await queue.consume(handle)
    return closed


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(2):
            await connection.close()
    except Failed:
        log.debug("broker_close_failed")
