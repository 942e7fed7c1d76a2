"""The catalog's composition root: wiring and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from aiohttp import web

from libs.runtime import postgres
from libs.runtime.app import new_app
from libs.runtime.health import HEALTH
from libs.runtime.operators import listening
from libs.runtime.tasks import watched
from services.catalog import api
from services.catalog.following import following
from services.catalog.operator_api import operator_app
from services.catalog.parts import POOL, SETTINGS, WINDOW
from services.catalog.settings import CatalogSettings
from services.catalog.window import Window


def create_app(settings: CatalogSettings) -> web.Application:
    """The shelf, for the other services."""
    app = new_app(settings)
    app[SETTINGS] = settings
    app[WINDOW] = Window()
    app.cleanup_ctx.append(_resources)
    app.on_shutdown.append(_drain)
    app.add_routes(api.routes)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings, health = app[SETTINGS], app[HEALTH]
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.pool(settings.database_url.get_secret_value(), "catalog", settings.database_connections)
        )
        app[POOL] = pool
        await stack.enter_async_context(following(pool, app[WINDOW], health, settings.poll_seconds))
        await stack.enter_async_context(watched(health, "postgres", lambda: pool.fetchval("SELECT 1")))
        if settings.operator_port:
            await stack.enter_async_context(listening(operator_app(app, settings, pool), settings))
        yield


async def _drain(app: web.Application) -> None:
    app[WINDOW].close()
