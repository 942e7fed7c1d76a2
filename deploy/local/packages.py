"""Redis and RabbitMQ: the machine's own where it has them, else Debian's packages in a folder of ours.

Several stacks of a checkout share what was fetched; the first one that needs it fetches it.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.local.debian import archive
from deploy.local.lock import locked
from deploy.local.progress import Progress

RABBITMQ: Final = "usr/lib/rabbitmq/lib"
# Debian writes the install path into Erlang's start scripts; this lets the environment name another.
ERLANG_HOME: Final = (b"ROOTDIR=/usr/lib/erlang", b'ROOTDIR="${ERL_ROOTDIR:-/usr/lib/erlang}"')


def wanted() -> list[str]:
    """The packages whose programs this machine does not have."""
    redis = [] if shutil.which("redis-server") else ["redis-server"]
    return redis if installed_rabbitmq() else [*redis, "rabbitmq-server"]


def installed_rabbitmq() -> bool:
    scripts = Path("/", RABBITMQ).glob("rabbitmq_server-*/sbin/rabbitmq-server")
    return shutil.which("erl") is not None and any(scripts)


def ensure(folder: Path, progress: Progress) -> None:
    """Makes sure that what this machine lacks is unpacked. Raises StackError where it cannot be fetched."""
    root, packages = root_of(folder), wanted()
    if not packages or _holds(root, packages):
        return
    with locked(folder / "lock", progress.say):
        if not _holds(root, packages):
            with progress.long_step(f"Fetching {' and '.join(packages)}"):
                _fetch(folder, packages)


def root_of(folder: Path) -> Path:
    """Where packages are unpacked as if it were ``/``."""
    return folder / "root"


def library_environment(root: Path) -> dict[str, str]:
    """The environment in which unpacked programs find unpacked libraries."""
    folders = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}


def erlang_environment(root: Path) -> dict[str, str]:
    """The same, and the unpacked Erlang comes first."""
    home = root / "usr/lib/erlang"
    path = f"{home / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return {**library_environment(root), "ERL_ROOTDIR": str(home), "PATH": path}


def needed(installed: Sequence[str]) -> list[str]:
    """What to unpack of all that an installation would install: the servers, their runtime and the libraries.
    The rest (users, log rotation, service files) only makes sense on a system."""
    return [name for name in installed if name.startswith(("redis-", "rabbitmq-", "erlang-", "lib"))]


def _holds(root: Path, packages: Sequence[str]) -> bool:
    return all((root / f".{package}").exists() for package in packages)


def _fetch(folder: Path, packages: Sequence[str]) -> None:
    root = root_of(folder)
    with archive(folder / "apt", " and ".join(packages)) as debian:
        debian.unpack(needed(debian.simulate(packages)), root)
    erlang = root / "usr/lib/erlang"
    for script in (*erlang.glob("bin/*"), *erlang.glob("erts-*/bin/*")):
        content = script.read_bytes()
        if content.startswith(b"#!") and ERLANG_HOME[0] in content:
            script.write_bytes(content.replace(*ERLANG_HOME))
    for package in packages:
        (root / f".{package}").touch()
