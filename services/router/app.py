"""The router's composition root: wiring and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

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
from services.router.upstream import Upstream


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
        store = await enter(redis.client(settings.redis_url.get_secret_value()))
        neighbours = await enter(client.session())
        providers = await enter(client.session(connect_seconds=settings.connect_seconds, total_seconds=None))
        live = await enter(catalog.following(settings.catalog_url, identity, health, neighbours))
        records = await enter(spool.opened(settings.spool_dir))
        broker = await enter(rabbit.publisher(settings.amqp_url.get_secret_value()))
        shipper = Shipper(records, broker, settings.instance)
        await enter(running(health, "ship usage", shipper.run()))
        upstream = Upstream(providers, silence_seconds=settings.silence_seconds, answer_seconds=settings.answer_seconds)
        app[SWITCHBOARD] = Switchboard(settings, live, upstream, records, Holds(store))
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
