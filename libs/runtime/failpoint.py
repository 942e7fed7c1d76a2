"""Named places at which a fault test makes this process die, stand still or fail.

Written as ``if __debug__: await failpoint.reached("…")``: `python -O`, as which images run, compiles such lines away,
so that there is nothing left to be switched on. Without ``-O`` they do nothing unless ``TOKENOUTPUT_FAILPOINT`` names
them, and that is read for ``TOKENOUTPUT_ENV=dev`` alone.

The value is ``NAME:ACTION[@N]``, several with commas. ACTION is ``kill`` (as kill -9 does), ``stop`` (as kill -STOP
does), ``pause=SECONDS`` or ``fail``; with ``@N`` it happens at the Nth time only, else each time.
"""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

VARIABLE: Final = "TOKENOUTPUT_FAILPOINT"


class FailpointReached(OSError):
    """What ``fail`` raises: the kind of error that a network or a disk makes."""


class Armed(NamedTuple):
    """What happens at a place, and at which time; 0 for each."""

    action: str
    at: int


def parse(text: str) -> dict[str, Armed]:
    """The value of the variable. Raises ValueError for what would silently do nothing."""
    found = {}
    for each in filter(None, text.split(",")):
        name, _, rest = each.partition(":")
        action, _, at = rest.partition("@")
        if action not in ("kill", "stop", "fail") and not action.startswith("pause="):
            raise ValueError(f"{VARIABLE}: {each!r} is not NAME:ACTION[@N]")
        found[name] = Armed(action, int(at or 0))
    return found


def from_environment(environment: Mapping[str, str]) -> dict[str, Armed]:
    """What is armed in this process: nothing outside of development."""
    if environment.get("TOKENOUTPUT_ENV") != "dev":
        return {}
    return parse(environment.get(VARIABLE, ""))


_armed: Final = from_environment(os.environ)
_passed: Final[Counter[str]] = Counter()


async def reached(name: str) -> None:
    """Does what is armed here. Raises FailpointReached for ``fail``."""
    armed = _armed.get(name)
    if armed is None:
        return
    _passed[name] += 1
    if armed.at and _passed[name] != armed.at:
        return
    if armed.action == "fail":
        raise FailpointReached(f"failpoint {name}")
    if armed.action.startswith("pause="):
        await asyncio.sleep(float(armed.action.removeprefix("pause=")))
    else:
        os.kill(os.getpid(), signal.SIGKILL if armed.action == "kill" else signal.SIGSTOP)


@contextmanager
def armed(text: str) -> Iterator[None]:
    """For tests inside the process."""
    before = dict(_armed)
    _armed.update(parse(text))
    _passed.clear()
    try:
        yield
    finally:
        _armed.clear()
        _armed.update(before)
