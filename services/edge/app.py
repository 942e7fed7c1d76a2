"""The edge's composition root: wiring and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import web

from libs.runtime import catalog, client, postgres, redis
from libs.runtime.app import IDENTITY, new_app
from libs.runtime.health import HEALTH
from libs.runtime.holds import Holds
from libs.runtime.tasks import running, watched
from services.edge.admission import Admission
from services.edge.api import account, chat, count, messages, models
from services.edge.callers import Callers
from services.edge.neighbours import Billing
from services.edge.parts import ADMISSION, BILLING, CALLERS, HOLDS, RELAY, SETTINGS, SHELF
from services.edge.relay import Relay
from services.edge.settings import EdgeSettings


def create_app(settings: EdgeSettings) -> web.Application:
    """The public door."""
    app = new_app(settings, public=True, max_body=settings.max_body_bytes)
    app[SETTINGS] = settings
    app.cleanup_ctx.append(_resources)
    for routes in (chat.routes, messages.routes, count.routes, models.routes, account.routes):
        app.add_routes(routes)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings, health, identity = app[SETTINGS], app[HEALTH], app[IDENTITY]
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.pool(settings.database_url.get_secret_value(), "edge", settings.database_connections)
        )
        store = await stack.enter_async_context(
            redis.client(settings.redis_url.get_secret_value(), seconds=settings.redis_seconds)
        )
        neighbours = await stack.enter_async_context(client.session())
        relay = await stack.enter_async_context(client.session(total_seconds=None))
        app[SHELF] = await stack.enter_async_context(
            catalog.following(settings.catalog_url, identity, health, neighbours)
        )
        app[CALLERS] = Callers(pool, settings.key_pepper.get_secret_value().encode(), settings.key_cache_seconds)
        app[BILLING] = Billing(neighbours, settings.billing_url, identity)
        holds = app[HOLDS] = Holds(store)
        app[ADMISSION] = Admission(holds, app[BILLING], shard=settings.redis_shard, topup_url=settings.topup_url)
        app[RELAY] = Relay(relay, settings.router_url, identity, settings.answer_seconds)
        await stack.enter_async_context(watched(health, "postgres", lambda: pool.fetchval("SELECT 1")))
        stack.push_async_callback(holds.last_call)
        await stack.enter_async_context(running(health, "void holds", holds.keep_trying()))
        await stack.enter_async_context(watched(health, "redis", store.ping))
        yield
