"""Redis: the machine's redis-server, or the fetched one; append-only file, a user per service, no eviction."""

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local import packages, processes
from deploy.local.part import answers
from deploy.local.processes import Program
from deploy.local.stack import ROOT, Stack, write_private
from deploy.stores import users

START_SECONDS: Final = 30
STOP_SECONDS: Final = 15


class Redis:
    """One server whose data survives a stop and, but for the last second, a kill."""

    name = "redis"
    title = "Redis"

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.run_dir / "redis"
        self._packages = stack.packages_dir
        self._port = stack.ports.redis
        self._passwords = stack.secrets.redis_passwords()
        self._password = stack.secrets.redis

    @property
    def ports(self) -> Mapping[str, int]:
        return {self.title: self._port}

    @property
    def record(self) -> Path:
        return self._folder / "pid"

    @property
    def current(self) -> bool:
        return all(path.exists() and path.read_text("utf-8") == text for path, text in self._files().items())

    def start(self) -> None:
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        for path, text in self._files().items():
            write_private(path, text)
        root = packages.root_of(self._packages)
        installed = shutil.which("redis-server")
        command = [installed or str(root / "usr/bin/redis-server"), str(self._folder / "redis.conf")]
        environment = dict(os.environ) if installed else packages.library_environment(root)
        program = Program(command, environment, self._folder / "log", self.record)
        processes.spawn(program, ROOT)
        processes.wait_for(self._ready, program, self.title, START_SECONDS)

    def stop(self) -> None:
        processes.end(self.record, signal.SIGTERM, STOP_SECONDS)

    def _ready(self) -> bool:
        return answers(self._port, f"AUTH {self._password}\r\nPING\r\n".encode(), b"+OK\r\n+PONG\r\n")

    def _files(self) -> dict[Path, str]:
        """What the server reads when it starts."""
        listed = users.filled(users.REDIS, self._passwords)
        return {self._folder / "redis.conf": self._configuration(), self._folder / "users.acl": listed}

    def _configuration(self) -> str:
        options = {
            "bind": "127.0.0.1",
            "port": self._port,
            "protected-mode": "yes",
            "aclfile": self._folder / "users.acl",
            "dir": self._folder / "data",
            "daemonize": "no",
            "databases": 1024,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in options.items())
