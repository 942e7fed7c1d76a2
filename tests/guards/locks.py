"""The locks follow pyproject.toml, carry hashes, and name no address.

An address in a lock would make every checkout fetch from there; where packages come from is each machine's own matter.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
PIN: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


class Pin(NamedTuple):
    """One pinned package. Several pins of a name differ by their marker."""

    name: str
    version: str
    hashes: int


def pins(lock: str) -> list[Pin]:
    """The pins of a lock file."""
    found: list[Pin] = []
    for line in lock.splitlines():
        if match := PIN.match(line):
            found.append(Pin(canonicalize_name(match["name"]), match["version"], 0))
        elif line.lstrip().startswith("--hash=sha256:") and found:
            found[-1] = found[-1]._replace(hashes=found[-1].hashes + 1)
    return found


def addresses(name: str, lock: str) -> list[str]:
    """The lines that hold one."""
    return [f"{name}:{number}: an address" for number, line in enumerate(lock.splitlines(), 1) if "://" in line]


def faults(name: str, lock: str, wanted: Iterable[str]) -> list[str]:
    """What is wrong with one lock, given the requirements that it has to fulfil."""
    found = addresses(name, lock)
    pinned = pins(lock)
    found += [f"{name}: {pin.name} has no hash" for pin in pinned if not pin.hashes]
    for requirement in map(Requirement, wanted):
        versions = [pin.version for pin in pinned if pin.name == canonicalize_name(requirement.name)]
        if not versions:
            found.append(f"{name}: {requirement.name} is missing")
        found += [
            f"{name}: {requirement.name} {version} is not {requirement.specifier}"
            for version in versions
            if not requirement.specifier.contains(version, prereleases=True)
        ]
    return found


def disagreements(lock: str, dev_lock: str) -> list[str]:
    """Packages that tests would run in another version than the image."""
    tested = {(pin.name, pin.version) for pin in pins(dev_lock)}
    return [
        f"requirements-dev.lock: {pin.name} is not {pin.version}"
        for pin in pins(lock)
        if (pin.name, pin.version) not in tested
    ]


def check(root: Path) -> list[str]:
    """All faults of the repository's locks, those of the Node packages that tests drive among them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime, tools = project["dependencies"], project["optional-dependencies"]["dev"]
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    dev_lock = (root / "requirements-dev.lock").read_text(encoding="utf-8")
    found = faults("requirements.lock", lock, runtime)
    found += faults("requirements-dev.lock", dev_lock, [*runtime, *tools])
    for path in sorted(root.glob("tests/agents/*/package-lock.json")):
        found += addresses(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    return found + disagreements(lock, dev_lock)


def main() -> None:
    if found := check(ROOT):
        sys.exit("\n".join([*found, "The locks are wrong: run `make lock`."]))


if __name__ == "__main__":
    main()
