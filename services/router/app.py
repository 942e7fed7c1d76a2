"""The router's composition root: wiring and nothing else."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import aiohttp
from aiohttp import web

from libs.runtime import catalog, client, operators, rabbit, redis
from libs.runtime.app import IDENTITY, new_app
from libs.runtime.health import HEALTH
from libs.runtime.holds import Holds
from libs.runtime.metrics import METRICS
from libs.runtime.run import DRAINS
from libs.runtime.tasks import running, watched
from services.router import api, spool
from services.router.api import SETTINGS, SWITCHBOARD
from services.router.breaker import Breakers, Rule
from services.router.credentials import Keyring
from services.router.dispatch import Switchboard
from services.router.metrics import BreakerStates, Records, SpoolStates
from services.router.operator_api import operator_app
from services.router.report import Mailbox, Reporter
from services.router.room import MIB, Room
from services.router.settings import RouterSettings
from services.router.shipper import Shipper
from services.router.signatures import Signatures
from services.router.switch import Switch
from services.router.upstream import Upstream, reuse_noted

DAY_SECONDS: Final = 86_400
LAST_WORDS_SECONDS: Final = 0.5


def create_app(settings: RouterSettings) -> web.Application:
    """The switchboard between edges and providers."""
    app = new_app(settings, max_body=settings.max_body_bytes)
    app[SETTINGS] = settings
    app.cleanup_ctx.append(_resources)
    app.add_routes(api.routes)
    app.on_shutdown.append(_drain)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings, health, identity = app[SETTINGS], app[HEALTH], app[IDENTITY]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(redis.client(settings.redis_url.get_secret_value(), seconds=settings.redis_seconds))
        neighbours = await enter(client.session())
        providers = await enter(client.session(total_seconds=None, traces=[reuse_noted()]))
        live = await enter(catalog.following(settings.catalog_url, identity, health, neighbours))
        kept = await enter(_records(app, neighbours))
        holds = Holds(store)
        signatures = Signatures(
            ttl=DAY_SECONDS, max_entries=settings.signatures_kept, max_bytes=settings.signatures_bytes
        )
        keyring = Keyring(live, settings.ring())
        switch = Switch(
            live,
            keyring.held,
            Breakers(_rule(settings)),
            most_at_once=keyring.most_at_once,
            simulator_url=settings.simulator_url,
            most_cooling_ms=int(settings.most_cooling_seconds * 1000),
        )
        calls = Upstream(providers)
        app[SWITCHBOARD] = Switchboard(
            settings,
            switch,
            calls,
            kept.spool,
            holds,
            signatures=signatures,
            noted=Records(app[METRICS].registry).note,
            refusing=lambda: kept.reporter.refusing or kept.room.refusing,
        )
        if settings.operator_port:
            await enter(operators.listening(operator_app(app, settings, switch, calls), settings))
        stack.push_async_callback(holds.last_call)
        await enter(running(health, "settle holds", holds.keep_trying()))
        await enter(watched(health, "redis", store.ping))
        app[METRICS].registry.register(BreakerStates(switch))
        yield


class Kept(NamedTuple):
    """Where records are kept, and who knows why none may be begun."""

    spool: spool.Spool
    reporter: Reporter
    room: Room


@asynccontextmanager
async def _records(app: web.Application, neighbours: aiohttp.ClientSession) -> AsyncIterator[Kept]:
    """The spool and all that work on it. At the end what can be shipped and forgotten is, and then goodbye is said."""
    settings, health = app[SETTINGS], app[HEALTH]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        room = Room(settings.spool_dir, settings.spool_least_free_mb * MIB)
        records = await enter(spool.opened(settings.spool_dir, room))
        broker = await enter(rabbit.publisher(settings.amqp_url.get_secret_value()))
        shipper = Shipper(records, broker, settings.instance)
        mailbox = Mailbox(neighbours, settings.billing_url, app[IDENTITY], records.id)
        reporter = Reporter(
            records,
            mailbox,
            settings.instance,
            reship_ms=int(settings.reship_seconds * 1000),
            behind_ms=int(settings.watermark_lag_seconds * 1000),
        )
        stack.push_async_callback(reporter.last_call)
        stack.push_async_callback(shipper.last_call)
        await enter(running(health, "ship usage", shipper.run()))
        await enter(running(health, "report", reporter.run(lambda why: health.report("billing", why))))
        watch = room.watch(lambda: records.in_flight, records.try_write, lambda why: health.report("spool", why))
        await enter(running(health, "look for room", watch))
        app[METRICS].registry.register(SpoolStates(records, shipper, reporter))
        yield Kept(records, reporter, room)


async def _drain(app: web.Application) -> None:
    """A little before connections are closed for good, so that there is time to say so."""
    app[SWITCHBOARD].drain(max(0.0, app[SETTINGS].drain_seconds / DRAINS - LAST_WORDS_SECONDS))


def _rule(settings: RouterSettings) -> Rule:
    return Rule(
        errors=settings.breaker_errors,
        of=settings.breaker_of,
        window_ms=int(settings.breaker_window_seconds * 1000),
        pause_ms=int(settings.breaker_pause_seconds * 1000),
    )
