"""One process, any number of services: start in order, stop in the reverse order when asked to."""

import asyncio
import errno
import gc
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from libs.runtime.admin import admin_app
from libs.runtime.health import HEALTH
from libs.runtime.settings import ServiceSettings

log = structlog.get_logger()

CANCEL_AGAIN_SECONDS: Final = 10
DRAINS: Final = 2  # aiohttp waits for its shutdown timeout twice: for handlers, then for connections


class _CallersFault(logging.Filter):
    """HTTP that cannot be parsed and callers that hang up are nobody's fault here: aiohttp would log a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], (HttpProcessingError, ConnectionError)):
            record.levelno, record.levelname, record.exc_info = logging.INFO, "INFO", None
        return True


http_log = logging.getLogger("tokenoutput.http")
http_log.addFilter(_CallersFault())


class PortTaken(SystemExit):
    """Another program listens where this one should."""


class Part(NamedTuple):
    """A service and the settings that say where it listens."""

    app: web.Application
    settings: ServiceSettings


async def serve(parts: Sequence[Part], stop: asyncio.Event | None = None) -> None:
    """Runs the services until SIGTERM, SIGINT or ``stop``. Put the ones that others call first: they stop last."""
    stop = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if not await _unless(stop, _start_all(parts, stack)):
            return
        gc.freeze()
        await stop.wait()
        log.info("draining", services=[part.settings.scope for part in parts])
        for part in parts:
            part.app[HEALTH].report("drain", "draining")


async def _start_all(parts: Sequence[Part], stack: AsyncExitStack) -> SystemExit | None:
    """A refusal to start comes back as a value: raised inside a task it would tear the event loop down."""
    try:
        for part in parts:
            await stack.enter_async_context(started(part))
    except SystemExit as refusal:
        return refusal
    return None


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, SystemExit | None]) -> bool:
    """Whether the work was done; False when it was given up because ``stop`` was set first. Raises its refusal."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    while not working.done():
        working.cancel()
        await asyncio.wait({working}, timeout=CANCEL_AGAIN_SECONDS)
    if working.cancelled():
        return False
    if (refusal := await working) is not None:
        raise refusal
    return True


@asynccontextmanager
async def started(part: Part) -> AsyncIterator[None]:
    """One service on its two ports, until the context ends and its requests have finished or the drain time is over."""
    app, settings = part
    async with AsyncExitStack() as stack:
        admin = await _set_up(web.AppRunner(admin_app(app), access_log=None), stack)
        await _listen(admin, settings.admin_host, settings.admin_port, settings.scope)
        service = await _set_up(
            web.AppRunner(
                app,
                access_log=None,
                logger=http_log,
                shutdown_timeout=settings.drain_seconds / DRAINS,
                max_field_size=settings.header_bytes,
                auto_decompress=False,  # whoever reads a body says what he takes, and how much of it
            ),
            stack,
        )
        await _listen(service, settings.host, settings.port, settings.scope)
        app[HEALTH].report("start", None)
        log.info("listening", service=settings.scope, port=settings.port, admin_port=settings.admin_port)
        yield


async def _set_up(runner: web.AppRunner, stack: AsyncExitStack) -> web.AppRunner:
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    return runner


async def _listen(runner: web.AppRunner, host: str, port: int, service: str) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(f"{service}: port {port} on {host} is taken; set TOKENOUTPUT_{service.upper()}_PORT") from error
