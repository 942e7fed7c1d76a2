"""Liveness and readiness. A probe never asks a neighbour: it reads what a background check last saw."""

from typing import Final

import structlog
from aiohttp import web

log = structlog.get_logger()


class Health:
    """Why this service is not ready, if it is not: one sentence per reason."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self._reasons: dict[str, str] = {"start": "starting"}

    def report(self, name: str, reason: str | None) -> None:
        """Sets or clears (None) one reason; a change is logged."""
        before = self._reasons.get(name)
        if reason is None:
            self._reasons.pop(name, None)
        else:
            self._reasons[name] = reason
        if before != reason and name != "start":
            log.info("readiness_changed", part=name, reason=reason or "ready")

    def fail(self, reason: str) -> None:
        """Something in here is beyond repair: the process should be replaced."""
        self.failure = reason
        self.report("failure", reason)

    @property
    def reasons(self) -> dict[str, str]:
        return dict(self._reasons)


HEALTH: Final = web.AppKey("health", Health)
