"""What ``make up`` says while it works: one line a step, with its seconds."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

WIDTH: Final = 58


class Progress:
    """Prints steps as they end. Steps may run side by side; a quiet one says nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()

    def say(self, text: str = "") -> None:
        if not self._quiet:
            with self._lock:
                print(text, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step that says so when it is done. One that fails says nothing: its error will."""
        started = time.monotonic()
        yield
        self.say(line(text, time.monotonic() - started))

    @contextmanager
    def long_step(self, text: str) -> Iterator[None]:
        """A step that takes long enough to be announced before it starts."""
        self.say(f"  {text} …")
        with self.step(f"{text}: done"):
            yield


def line(text: str, seconds: float) -> str:
    return f"  {text:<{WIDTH}}{seconds:6.1f} s"
