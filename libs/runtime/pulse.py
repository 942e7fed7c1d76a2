"""Something to do every so often while something else goes on."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def pulse(seconds: float, beat: Callable[[], None]) -> Iterator[None]:
    """Calls ``beat`` every so many seconds until the block is left. A timer and no task: a thousand cost nothing."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def again() -> None:
        nonlocal timer
        timer = loop.call_later(seconds, again)
        beat()

    timer = loop.call_later(seconds, again)
    try:
        yield
    finally:
        timer.cancel()
