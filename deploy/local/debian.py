"""Debian's packages, fetched by apt-get as whoever we are and unpacked into a folder, never installed.

Also a command, for what has to be there before the virtual environment is:
`python -m deploy.local.debian ROOT PACKAGE INSTEAD` unpacks one; ``INSTEAD`` is what could be installed by hand.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.local import processes
from deploy.local.errors import StackError

DPKG_STATUS: Final = Path("/var/lib/dpkg/status")


class Archive:
    """The archives that this machine's apt knows, seen with lists, cache and status of our own."""

    def __init__(self, work: Path, instead: str) -> None:
        self._work = work
        self._instead = instead

    def simulate(self, packages: Sequence[str]) -> list[str]:
        """The names of what installing ``packages`` would install."""
        output = self._run("apt-get", "-qq", "--simulate", "--no-install-recommends", "install", *packages)
        return [line.split()[1] for line in output.splitlines() if line.startswith("Inst ")]

    def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Fetches these packages, without what they depend on, and unpacks them as if ``root`` were ``/``."""
        self._run("apt-get", "-qq", "download", *packages)
        for package in sorted((self._work / "packages").glob("*.deb")):
            self._run("dpkg-deb", "--extract", str(package), str(root))
            package.unlink()

    def open(self) -> None:
        """Reads the machine's configuration and fetches the lists."""
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise StackError(f"There is no apt-get here: install {self._instead}, which will then be used.")
        for name in ("lists/partial", "cache/archives/partial", "parts", "packages"):
            (self._work / name).mkdir(parents=True)
        status = DPKG_STATUS.read_text(encoding="utf-8") if DPKG_STATUS.exists() else ""
        (self._work / "status").write_text(without_erlang(status), encoding="utf-8")
        dump = self._run("apt-config", "dump")
        (self._work / "conf").write_text(configuration(dump, self._work), encoding="utf-8")
        self._run("apt-get", "-qq", "update")

    def _run(self, *command: str) -> str:
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        if (self._work / "conf").exists():
            environment["APT_CONFIG"] = str(self._work / "conf")
        done = processes.run(command, environment, cwd=self._work / "packages")
        with (self._work / "log").open("a", encoding="utf-8") as log:
            log.write(done.errors)
        if done.code:
            raise StackError(
                "Debian's packages cannot be fetched: check the network and /etc/apt/sources.list, "
                f"or install {self._instead} yourself. {command[0]} says: {_reason(self._work / 'log')}"
            )
        return done.output


@contextmanager
def archive(work: Path, instead: str) -> Iterator[Archive]:
    """The archive, with its lists fetched into ``work``, which is removed at the end. Raises StackError offline."""
    shutil.rmtree(work, ignore_errors=True)
    opened = Archive(work, instead)
    opened.open()
    yield opened
    shutil.rmtree(work)


def without_erlang(status: str) -> str:
    """A dpkg status in which no Erlang is installed: half of one cannot be completed from elsewhere."""
    return "\n\n".join(part for part in status.split("\n\n") if not part.startswith("Package: erlang-"))


def configuration(dump: str, work: Path) -> str:
    """An apt configuration that needs no rights and changes nothing outside ``work``.

    Of the machine's own only the ways to the archive stay (proxies, for one): its hooks clean the system's caches.
    """
    options = {
        "Dir::Etc::parts": work / "parts",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "15",
        "Acquire::https::Timeout": "15",
    }
    kept = [line for line in dump.splitlines() if line.startswith(("Acquire::", "APT::Architecture"))]
    return "\n".join([*kept, *(f'{name} "{value}";' for name, value in options.items()), ""])


def _reason(log: Path) -> str:
    """The first complaint: what fails later only follows from it."""
    lines = log.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(("E: ", "W: Failed"))), lines[-1] if lines else "nothing")


def main(root: str, package: str, instead: str) -> None:
    try:
        with archive(Path(root).resolve().with_name("apt-early"), instead) as opened:
            opened.unpack([package], Path(root).resolve())
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
