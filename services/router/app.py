"""The router's composition root: wiring and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import aiohttp
from aiohttp import web
from prometheus_client import Gauge

from libs.runtime import catalog, client, rabbit, redis
from libs.runtime.app import IDENTITY, new_app
from libs.runtime.health import HEALTH
from libs.runtime.holds import Holds
from libs.runtime.metrics import METRICS
from libs.runtime.tasks import running, watched
from services.router import api, spool
from services.router.api import SETTINGS, SWITCHBOARD
from services.router.dispatch import Switchboard
from services.router.settings import RouterSettings
from services.router.shipper import Shipper
from services.router.signatures import Signatures
from services.router.upstream import Upstream, reuse_noted

DAY_SECONDS: Final = 86_400


def create_app(settings: RouterSettings) -> web.Application:
    """The switchboard between edges and providers."""
    app = new_app(settings, max_body=settings.max_body_bytes)
    app[SETTINGS] = settings
    app.cleanup_ctx.append(_resources)
    app.add_routes(api.routes)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings, health, identity = app[SETTINGS], app[HEALTH], app[IDENTITY]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(redis.client(settings.redis_url.get_secret_value(), seconds=settings.redis_seconds))
        neighbours = await enter(client.session())
        providers = await enter(client.session(total_seconds=None, traces=[reuse_noted()]))
        live = await enter(catalog.following(settings.catalog_url, identity, health, neighbours))
        records = await enter(spool.opened(settings.spool_dir))
        broker = await enter(rabbit.publisher(settings.amqp_url.get_secret_value()))
        shipper = Shipper(records, broker, settings.instance)
        stack.push_async_callback(shipper.last_call)
        await enter(running(health, "ship usage", shipper.run()))
        holds = Holds(store)
        timeout = aiohttp.ClientTimeout(
            total=settings.answer_seconds, sock_connect=settings.connect_seconds, sock_read=settings.silence_seconds
        )
        upstream = Upstream(providers, timeout)
        signatures = Signatures(
            ttl=DAY_SECONDS, max_entries=settings.signatures_kept, max_bytes=settings.signatures_bytes
        )
        app[SWITCHBOARD] = Switchboard(settings, live, upstream, records, holds, signatures=signatures)
        stack.push_async_callback(holds.last_call)
        await enter(running(health, "settle holds", holds.keep_trying()))
        await enter(watched(health, "redis", store.ping))
        _gauges(app, shipper)
        yield


def _gauges(app: web.Application, shipper: Shipper) -> None:
    waiting = Gauge(
        "tokenoutput_spool_waiting",
        "Terminal records that the broker does not have yet.",
        registry=app[METRICS].registry,
    )
    waiting.set_function(lambda: shipper.waiting)
