"""The project's own processes in a stack: the provider simulator, and the four services in one process.

Each remembers what it was started from, so that a second ``up`` restarts what has changed and nothing else.
"""

import hashlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.ports import HOST, SERVICES
from deploy.local.processes import Program
from deploy.local.stack import ROOT, STACK_NAMES, Stack, service_environment

START_SECONDS: Final = 60
DRAIN_SECONDS: Final = 30
SETTLE_SECONDS: Final = 8
PROBE_SECONDS: Final = 2


class Simulator:
    """Stands in for every provider that has no credential; keeps a log of what it served."""

    name = "simulator"
    title = "Provider simulator"

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.run_dir / self.name
        self._port = stack.ports.simulator

    @property
    def ports(self) -> Mapping[str, int]:
        return {self.title: self._port}

    @property
    def record(self) -> Path:
        return self._folder / "pid"

    @property
    def current(self) -> bool:
        return _remembered(self._folder) == self._version()

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        arguments = ["--host", HOST, "--port", str(self._port), "--log", str(self._folder / "served.jsonl")]
        command = [sys.executable, "-m", "deploy.demo.provider", *arguments]
        program = Program(command, os.environ, self._folder / "log", self.record)
        _start(program, self.title, {self.title: self._port}, "/healthz")
        _remember(self._folder, self._version())

    def stop(self) -> None:
        processes.end(self.record, signal.SIGTERM, DRAIN_SECONDS)

    def _version(self) -> str:
        return version(_files("libs", "deploy/demo"), {})


class Services:
    """All four services, as ``python -m services`` runs them."""

    name = "services"
    title = "Services"

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.run_dir / self.name
        self._stack = stack

    @property
    def ports(self) -> Mapping[str, int]:
        ports = self._stack.ports
        named = {service: ports.service(service) for service in SERVICES}
        return named | {f"{service} admin": ports.admin(service) for service in SERVICES}

    @property
    def record(self) -> Path:
        return self._folder / "pid"

    @property
    def current(self) -> bool:
        return _remembered(self._folder) == self._version()

    def settle(self) -> bool:
        """Whether they run from what is here now and are ready, or get ready when their servers have just come back."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while processes.running(self.record) and self.current and time.monotonic() < deadline:
            if _waiting(self._admin_ports(), "/readyz") is None:
                return True
            time.sleep(0.1)
        return False

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "services"]
        program = Program(command, self.environment(), self._folder / "log", self.record)
        _start(program, self.title, self._admin_ports(), "/readyz")
        _remember(self._folder, self._version())

    def stop(self) -> None:
        processes.end(self.record, signal.SIGTERM, DRAIN_SECONDS)

    def environment(self) -> dict[str, str]:
        """Ours over the caller's, which carries the providers' credentials and what the developer wants tuned."""
        given = {name: value for name, value in os.environ.items() if name not in STACK_NAMES}
        return given | service_environment(self._stack)

    def _admin_ports(self) -> dict[str, int]:
        return {service: self._stack.ports.admin(service) for service in SERVICES}

    def _version(self) -> str:
        told = ("TOKENOUTPUT_", *(name for name in os.environ if "_API_KEY" in name))
        seen = {name: value for name, value in self.environment().items() if name.startswith(told)}
        return version([*_files("libs", "services"), ROOT / "pyproject.toml"], seen)


def version(files: Iterable[Path], environment: Mapping[str, str]) -> str:
    """A digest of the files and the environment that a process is made from."""
    digest = hashlib.sha256(json.dumps(sorted(environment.items())).encode())
    for file in sorted(files):
        digest.update(f"\0{file.relative_to(ROOT)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def _remembered(folder: Path) -> str | None:
    try:
        return (folder / "version").read_text(encoding="ascii")
    except FileNotFoundError:
        return None


def _remember(folder: Path, made_from: str) -> None:
    (folder / "version").write_text(made_from, encoding="ascii")


def _start(program: Program, title: str, ports: Mapping[str, int], path: str) -> None:
    processes.spawn(program, ROOT)
    try:
        processes.wait_for(lambda: not _waiting(ports, path), program, title, START_SECONDS)
    except StackError as error:
        if waiting := _waiting(ports, path) if processes.running(program.record) else None:
            raise StackError(f"{error}\n  {waiting}") from error
        raise


def _waiting(ports: Mapping[str, int], path: str) -> str | None:
    """The first one that is not ready, and what it says; None when all are."""
    for name, port in ports.items():
        connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return f"{name} does not answer: {error}"
        finally:
            connection.close()
        if answer.status != 200:
            return f"{name} is not ready: {body.decode(errors='replace')}"
    return None
