"""Billing's composition root: wiring and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import structlog
from aiohttp import web

from libs.contracts import usage
from libs.runtime import postgres, rabbit, redis
from libs.runtime.app import new_app
from libs.runtime.health import HEALTH
from libs.runtime.holds import Holds
from libs.runtime.metrics import METRICS
from libs.runtime.tasks import running, watched
from services.billing import api, months, reports, statement_api
from services.billing.api import LEASES, POOL, SETTINGS, TILL
from services.billing.consumer import Consumer
from services.billing.leases import Leases
from services.billing.orphans import Orphans
from services.billing.parking import Parking
from services.billing.poster import Poster
from services.billing.reclaim import Reclaimer
from services.billing.reclaim_metrics import ReclaimMetrics
from services.billing.settings import BillingSettings
from services.billing.till import Till

log = structlog.get_logger()

PARTITIONS_AHEAD: Final = 3
DAY_SECONDS: Final = 24 * 3600
DEAD_LETTERS: Final = 10  # taken from the broker before one is kept


def create_app(settings: BillingSettings) -> web.Application:
    """The ledger and its readers."""
    app = new_app(settings)
    app[SETTINGS] = settings
    app.middlewares.append(api.stores_may_be_away)
    app.cleanup_ctx.append(_resources)
    app.add_routes(api.routes)
    app.add_routes(reports.routes)
    app.add_routes(statement_api.routes)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings, health = app[SETTINGS], app[HEALTH]
    redis_url, amqp_url = settings.redis_url.get_secret_value(), settings.amqp_url.get_secret_value()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = app[POOL] = await enter(
            postgres.pool(settings.database_url.get_secret_value(), "billing", settings.database_connections)
        )
        await ensure_partitions(pool)
        await enter(running(health, "make partitions", _daily(pool)))
        await enter(running(health, "close months", months.keep_closing(settings.database_url.get_secret_value())))
        once = await enter(redis.client(redis_url, seconds=settings.redis_seconds, retries=0))
        leases = app[LEASES] = Leases(
            pool, once, settings.redis_shard, settings.lease_chunk_nano, settings.lease_most_nano
        )
        settling = await enter(redis.client(redis_url, seconds=settings.redis_seconds))
        judge, registry = settings.judge(), app[METRICS].registry
        parking = Parking(pool, judge, registry)
        holds = Holds(settling)
        app[TILL] = Till(holds, leases, settings.hold_secret.get_secret_value().encode())
        consumer = Consumer(
            Poster(pool, settings.revenue_shard),
            holds,
            parking,
            judge,
            batch_events=settings.batch_events,
            batch_messages=settings.prefetch_messages,
            registry=registry,
        )
        reading = rabbit.read(
            amqp_url,
            rabbit.USAGE_QUEUES,
            settings.prefetch_messages,
            consumer.take,
            lambda why: health.report("rabbitmq", why),
        )
        dead = rabbit.read(amqp_url, [usage.PARKED_QUEUE], DEAD_LETTERS, parking.take, lambda _: None)
        stack.push_async_callback(holds.last_call)
        await enter(running(health, "settle holds", holds.keep_trying()))
        await enter(running(health, "book usage", consumer.run()))
        await enter(running(health, "read usage", reading))
        await enter(running(health, "park dead letters", parking.run()))
        await enter(running(health, "read dead letters", dead))
        await enter(running(health, "count parked events", parking.count()))
        orphans, reclaimed = Orphans(settling, holds), ReclaimMetrics(registry)
        reclaimer = Reclaimer(pool, settling, leases, orphans, settings.rules(), metrics=reclaimed)
        await enter(running(health, "reclaim credit", reclaimer.run(settings.reclaim_seconds)))
        await enter(watched(health, "postgres", lambda: pool.fetchval("SELECT 1")))
        await enter(watched(health, "redis", settling.ping))
        yield


async def _daily(pool: postgres.Pool) -> None:
    while True:
        await asyncio.sleep(DAY_SECONDS)
        try:
            await ensure_partitions(pool)
        except postgres.TRANSIENT as error:
            log.warning("partitions_wait", error=repr(error))


async def ensure_partitions(pool: postgres.Pool) -> None:
    await pool.execute("SELECT ensure_partitions($1)", PARTITIONS_AHEAD)
