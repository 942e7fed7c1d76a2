"""Each service's user in RabbitMQ: the router publishes usage, billing reads it, and neither does the other's work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused, ConnectionClosed

from libs.contracts import usage
from libs.runtime import rabbit
from tests.fixtures.servers import Servers
from tests.fixtures.stores import Stores

QUEUES: Final = (*map(usage.queue_name, range(usage.PARTITIONS)), usage.PARKED_QUEUE)
BODY: Final = b"a word"
# What whoever only publishes has no business with.
BEYOND: Final[tuple[Callable[[AbstractChannel], Awaitable[object]], ...]] = (
    lambda opened: opened.declare_exchange(usage.EXCHANGE, "direct", durable=True),
    lambda opened: opened.queue_delete(usage.queue_name(2)),
    lambda opened: opened.declare_queue("mine"),
)


@asynccontextmanager
async def channel(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel with confirms. One refusal ends it."""
    connection = await rabbit.connect(url)
    try:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)
    finally:
        await connection.close()


async def publish(url: str, exchange: str, key: str) -> None:
    async with channel(url) as opened:
        target = await opened.get_exchange(exchange, ensure=False) if exchange else opened.default_exchange
        await target.publish(aio_pika.Message(BODY), key, mandatory=True, timeout=20)


async def purged(stores: Stores, partition: int) -> int | None:
    """How many messages billing emptied the queue of."""
    async with channel(stores.billing_amqp_url) as billing:
        queue = await billing.get_queue(usage.queue_name(partition), ensure=False)
        return (await queue.purge()).message_count


@pytest.fixture(scope="module")
async def declared(fresh_stores: Stores) -> Stores:
    """The topology, as billing makes it on a broker that has none."""
    async with channel(fresh_stores.billing_amqp_url) as billing:
        await rabbit.declare(billing)
    return fresh_stores


async def test_usage_goes_from_the_router_to_billing(declared: Stores) -> None:
    """Through the project's own publisher and reader."""
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(message: rabbit.Message) -> None:
        await message.ack()
        got.put_nowait(message.body)

    async with rabbit.publisher(declared.router_amqp_url) as router:
        reading = asyncio.create_task(
            rabbit.read(declared.billing_amqp_url, rabbit.USAGE_QUEUES, 10, take, lambda _: None)
        )
        try:
            for partition in range(usage.PARTITIONS):
                await router.publish(usage.EXCHANGE, usage.routing_key(partition), BODY, message_id=f"m{partition}")
            assert [await asyncio.wait_for(got.get(), 20) for _ in range(usage.PARTITIONS)] == [BODY] * usage.PARTITIONS
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_billing_empties_the_queue_of_what_the_broker_gave_up_on(declared: Stores) -> None:
    await publish(declared.amqp_url, usage.PARKING_EXCHANGE, "")
    async with channel(declared.billing_amqp_url) as billing:
        message = await (await billing.get_queue(usage.PARKED_QUEUE, ensure=False)).get(timeout=20)
        assert message is not None
        assert message.body == BODY
        await message.ack()


async def test_a_lost_binding_is_made_again_by_the_router(declared: Stores) -> None:
    async with channel(declared.amqp_url) as admin:
        queue = await admin.get_queue(usage.queue_name(0))
        await queue.unbind(usage.EXCHANGE, usage.routing_key(0))
    async with channel(declared.router_amqp_url) as router:
        await rabbit.declare(router)
    await publish(declared.router_amqp_url, usage.EXCHANGE, usage.routing_key(0))
    assert await purged(declared, 0) == 1


async def test_a_lost_queue_is_made_again_by_billing_only(declared: Stores) -> None:
    """Whoever makes a queue that dead-letters has to be able to read it, and the router must not."""
    async with channel(declared.amqp_url) as admin:
        await admin.queue_delete(usage.queue_name(1))
    with pytest.raises(ChannelAccessRefused):
        async with channel(declared.router_amqp_url) as router:
            await rabbit.declare(router)
    async with channel(declared.billing_amqp_url) as billing:
        await rabbit.declare(billing)
    async with channel(declared.router_amqp_url) as router:
        await rabbit.declare(router)
    await publish(declared.router_amqp_url, usage.EXCHANGE, usage.routing_key(1))
    assert await purged(declared, 1) == 1


@pytest.mark.parametrize("queue", QUEUES)
async def test_the_router_reads_no_queue_and_empties_none(declared: Stores, queue: str) -> None:
    async def never(message: rabbit.Message) -> None:
        raise AssertionError(message.body)

    with pytest.raises(ChannelAccessRefused):
        async with channel(declared.router_amqp_url) as router:
            await (await router.get_queue(queue, ensure=False)).consume(never)
    with pytest.raises(ChannelAccessRefused):
        async with channel(declared.router_amqp_url) as router:
            await (await router.get_queue(queue, ensure=False)).get(fail=False)
    with pytest.raises(ChannelAccessRefused):
        async with channel(declared.router_amqp_url) as router:
            await (await router.get_queue(queue, ensure=False)).purge()


@pytest.mark.parametrize("role", ["router", "billing"])
async def test_nobody_listens_in_on_usage_with_a_queue_of_its_own(declared: Stores, role: str) -> None:
    url = getattr(declared, f"{role}_amqp_url")
    for name in (None, "mine", "usage.mine", "usage.v1.px"):
        with pytest.raises(ChannelAccessRefused):
            async with channel(url) as opened:
                await opened.declare_queue(name, exclusive=True)
    with pytest.raises(ChannelAccessRefused):
        async with channel(url) as opened:
            await opened.declare_exchange("usage.mine")


@pytest.mark.parametrize(
    ("role", "exchange", "key"),
    [
        ("billing", usage.EXCHANGE, usage.routing_key(0)),
        ("billing", "", usage.queue_name(0)),
        ("router", "", usage.queue_name(0)),
        ("router", "", usage.PARKED_QUEUE),
        ("router", usage.PARKING_EXCHANGE, ""),
        ("router", "amq.topic", "anything"),
    ],
)
async def test_usage_comes_from_the_router_alone_and_by_its_exchange(
    declared: Stores, role: str, exchange: str, key: str
) -> None:
    with pytest.raises(ChannelAccessRefused):
        await publish(getattr(declared, f"{role}_amqp_url"), exchange, key)


async def test_another_producer_publishes_usage_and_can_do_nothing_else(servers: Servers, declared: Stores) -> None:
    vhost = unquote(urlsplit(declared.amqp_url).path.removeprefix("/"))
    url = await asyncio.to_thread(servers.new_producer, vhost)
    async with rabbit.publisher(url, declares=False) as producer:
        await producer.publish(usage.EXCHANGE, usage.routing_key(2), BODY, message_id="m")
    assert await purged(declared, 2) == 1
    for attempt in BEYOND:
        with pytest.raises(ChannelAccessRefused):
            async with channel(url) as opened:
                await attempt(opened)
    with pytest.raises(ChannelAccessRefused):
        async with channel(url) as opened:
            await (await opened.get_queue(usage.queue_name(2), ensure=False)).get(fail=False)
    with pytest.raises(ChannelAccessRefused):
        await publish(url, usage.PARKING_EXCHANGE, "")


async def test_the_edge_the_catalog_and_strangers_have_no_user(declared: Stores) -> None:
    address = declared.router_amqp_url.partition("@")[2]
    edge, router = (urlsplit(url).password for url in (declared.edge_redis_url, declared.router_amqp_url))
    for user in (
        f"tokenoutput_edge:{edge}",
        f"tokenoutput_catalog:{router}",
        f"tokenoutput_billing:{router}",
        "guest:guest",
    ):
        with pytest.raises((AMQPError, ConnectionClosed)):
            await rabbit.connect(f"amqp://{user}@{address}")
