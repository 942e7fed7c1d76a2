"""Background work that lives as long as a context, and is heard of when it dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from libs.runtime.health import Health

log = structlog.get_logger()

CHECK_SECONDS: Final = 2.0
CANCEL_AGAIN_SECONDS: Final = 0.5


@asynccontextmanager
async def running(health: Health, name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs ``work``, which is meant never to end. If it does, the service is no longer alive and says so."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda done: _report(health, name, done))
    try:
        yield
    finally:
        while not task.done():  # once is not always enough: `asyncio.wait_for` could swallow it before Python 3.12
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)


@asynccontextmanager
async def watched(health: Health, name: str, probe: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Runs ``probe`` every two seconds and reports what it raises as the reason for not being ready."""
    async with running(health, f"watch {name}", _watch(health, name, probe)):
        yield


async def _watch(health: Health, name: str, probe: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await probe()
        except Exception as error:  # noqa: BLE001 - whatever a probe raises is the answer to its question
            health.report(name, f"{type(error).__name__}: {error}".rstrip(": "))
        else:
            health.report(name, None)
        await asyncio.sleep(CHECK_SECONDS)


def _report(health: Health, name: str, task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return
    log.error("background_work_died", work=name, exc_info=task.exception())
    health.fail(f"{name} has stopped")
