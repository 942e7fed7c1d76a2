"""The services under test as real processes: killed, frozen and ended by their pid."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from deploy.local import processes
from deploy.local.processes import Program
from deploy.local.stack import ROOT
from libs.runtime import failpoint
from tests.fixtures.gateway import until

READY_SECONDS: Final = 60
END_SECONDS: Final = 40


def environment_of(role: str, settings: BaseSettings) -> dict[str, str]:
    """What makes a process of this role read the same settings."""
    fields: dict[str, Any] = settings.model_dump()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOKENOUTPUT_")}
    return {
        **kept,
        "TOKENOUTPUT_ENV": "dev",
        "TOKENOUTPUT_LOG_FORMAT": "json",
        **{f"TOKENOUTPUT_{role}_{name}".upper(): _shown(value) for name, value in fields.items() if value is not None},
    }


def _shown(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


class Service:
    """One process and how it is started. Its record lies where the end of a test run looks for what is left."""

    def __init__(
        self,
        name: str,
        folder: Path,
        command: list[str],
        environment: Mapping[str, str],
        *,
        session: aiohttp.ClientSession,
        ready_url: str,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.environment = dict(environment)
        self._record = folder / name / "pid"
        self._command = command
        self._session = session
        self._ready_url = ready_url

    async def start(
        self, failpoints: str = "", *, settings: Mapping[str, str] | None = None, wrapper: tuple[str, ...] = ()
    ) -> None:
        """Starts it, for this run with these failpoints armed, these names set and this command before its own."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        environment = {**self.environment, **(settings or {}), failpoint.VARIABLE: failpoints}
        program = Program([*wrapper, *self._command], environment, self.log, self._record)
        await asyncio.to_thread(processes.spawn, program, ROOT)

    async def ready(self) -> None:
        assert await until(self.is_ready, READY_SECONDS), f"{self.name} is not ready:\n{processes.tail(self.log)}"

    async def is_ready(self) -> bool:
        try:
            async with self._session.get(self._ready_url) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    @property
    def pid(self) -> int | None:
        return processes.running(self._record)

    async def kill(self) -> None:
        """As kill -9 does."""
        await asyncio.to_thread(processes.kill, self._record)

    async def end(self) -> None:
        """As an operator does: SIGTERM, and patience."""
        await asyncio.to_thread(processes.end, self._record, signal.SIGTERM, END_SECONDS)

    async def died(self, seconds: float = 60) -> bool:
        """Whether it came to its end by itself, as at a failpoint."""

        async def gone() -> bool:
            return self.pid is None

        return await until(gone, seconds)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)


def role_command(role: str) -> list[str]:
    return [sys.executable, "-m", "services", role]
