"""RabbitMQ: the machine's, or the fetched one; a node of our own with its name server, both on 127.0.0.1."""

import os
import secrets
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.local import packages, processes
from deploy.local.errors import StackError
from deploy.local.part import answers
from deploy.local.ports import HOST, is_free
from deploy.local.processes import Program
from deploy.local.stack import Stack, write_private
from deploy.stores import users

START_SECONDS: Final = 90
STOP_SECONDS: Final = 30
CONTROL_SECONDS: Final = 30
FOLDERS: Final = ("home", "data", "log", "generated", "schema", "conf.d")
THIS_MACHINE: Final = "-kernel inet_dist_use_interface {127,0,0,1}"
# Threads that wait a moment before they sleep, on whichever core is free, halve the time a start takes; `+S 2:2` keeps
# the node to two of them, because it shares the machine with everything else.
THREADS: Final = "+S 2:2 +stbt u +sbwt short +sbwtdio short"


class RabbitMQ:
    """One node. Its name server (epmd) belongs to it alone and is started and stopped with it."""

    name = "rabbitmq"
    title = "RabbitMQ"

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.run_dir / "rabbitmq"
        self._packages = stack.packages_dir
        self._ports = stack.ports
        self._passwords = stack.secrets.amqp_passwords()

    @property
    def ports(self) -> Mapping[str, int]:
        named = {self.title: self._ports.amqp, "Erlang": self._ports.erlang}
        return named if processes.running(self._folder / "epmd") else named | {"epmd": self._ports.epmd}

    @property
    def record(self) -> Path:
        return self._folder / "pid"

    @property
    def current(self) -> bool:
        return all(path.exists() and path.read_text("utf-8") == text for path, text in self._files().items())

    def start(self) -> None:
        self._prepare()
        names = self._program(["epmd", "-address", HOST, "-port", str(self._ports.epmd)], "epmd")
        if processes.running(names.record) is None:
            processes.spawn(names, self._folder)
            processes.wait_for(lambda: not is_free(self._ports.epmd), names, "epmd", START_SECONDS)
        node = self._program([str(self._scripts() / "rabbitmq-server")], "pid")
        processes.spawn(node, self._folder)
        processes.wait_for(self._ready, node, self.title, START_SECONDS)

    def stop(self) -> None:
        processes.end(self.record, signal.SIGTERM, STOP_SECONDS)
        processes.end(self._folder / "epmd", signal.SIGTERM, STOP_SECONDS)

    def control(self, *arguments: str) -> None:
        """Runs ``rabbitmqctl``. Raises StackError with what it says."""
        command = [str(self._scripts() / "rabbitmqctl"), "--quiet", *arguments]
        done = processes.run(command, self._environment(), seconds=CONTROL_SECONDS)
        if done.code:
            raise StackError(f"`rabbitmqctl {arguments[0]}` says:\n{processes.quoted(done.output + done.errors)}")

    def _ready(self) -> bool:
        """A broker answers the protocol header with a method frame on channel 0."""
        return answers(self._ports.amqp, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00")

    def _program(self, command: list[str], record: str) -> Program:
        return Program(command, self._environment(), self._folder / "output", self._folder / record)

    def _scripts(self) -> Path:
        """The node's own scripts: those in /usr/sbin insist on a system user."""
        root = Path("/") if packages.installed_rabbitmq() else packages.root_of(self._packages)
        found = sorted((root / packages.RABBITMQ).glob("rabbitmq_server-*/sbin"))
        if not found:
            raise StackError(f"RabbitMQ is missing from {root}: remove {self._packages} and run `make up` again.")
        return found[-1]

    def _prepare(self) -> None:
        for name in FOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        cookie = self._folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(20))
            cookie.chmod(0o400)
        for path, text in self._files().items():
            write_private(path, text)
        (self._folder / "enabled_plugins").write_text("[].\n", encoding="ascii")

    def _files(self) -> dict[Path, str]:
        """What the node reads when it starts. It takes over the users each time, whatever its data says of them."""
        listed = users.filled(users.RABBITMQ, self._passwords)
        return {self._folder / "rabbitmq.conf": self._configuration(), self._folder / "users.json": listed}

    def _configuration(self) -> str:
        options = {
            "listeners.tcp.1": f"{HOST}:{self._ports.amqp}",
            "load_definitions": self._folder / "users.json",
            "vm_memory_high_watermark.absolute": "1GiB",
            "disk_free_limit.absolute": "200MB",
            "log.console": "false",
        }
        return "".join(f"{name} = {value}\n" for name, value in options.items())

    def _environment(self) -> dict[str, str]:
        folder, ports = self._folder, self._ports
        node = {
            "CONF_ENV_FILE": "/dev/null",
            "NODENAME": f"tokenoutput{ports.base}@localhost",
            "NODE_IP_ADDRESS": HOST,
            "NODE_PORT": ports.amqp,
            "DIST_PORT": ports.erlang,
            "MNESIA_BASE": folder / "data",
            "LOG_BASE": folder / "log",
            "CONFIG_FILE": folder / "rabbitmq.conf",
            "CONFIG_FILES": folder / "conf.d",
            "ADVANCED_CONFIG_FILE": folder / "advanced.config",
            "GENERATED_CONFIG_DIR": folder / "generated",
            "SCHEMA_DIR": folder / "schema",
            "ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
            "PID_FILE": folder / "node.pid",
            "SERVER_ADDITIONAL_ERL_ARGS": f"{THIS_MACHINE} {THREADS}",
            "CTL_ERL_ARGS": THIS_MACHINE,
        }
        root = packages.root_of(self._packages)
        environment = dict(os.environ) if packages.installed_rabbitmq() else packages.erlang_environment(root)
        return {
            **environment,
            **{f"RABBITMQ_{name}": str(value) for name, value in node.items()},
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(ports.epmd),
            # Makes the start script become the node instead of waiting for it, so that its pid is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
