"""Installs the Node packages that the tests drive: `python -m tests.agents.install [sdks claude others]`."""

import hashlib
import os
import sys
from pathlib import Path
from typing import Final

from deploy.local.errors import StackError
from deploy.local.lock import locked
from deploy.local.processes import run
from deploy.local.stack import ROOT

FOLDER: Final = Path(__file__).parent
PACKAGES: Final = ("sdks", "claude", "others")
SECONDS: Final = 600
HINT: Final = "The tests with Node clients need Node.js 20 or newer with npm, and once a package registry."


def install(name: str) -> Path:
    """The folder of a package, holding exactly what its lock file names. Raises StackError when it cannot be had."""
    folder = FOLDER / name
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed"  # npm removes the folder first, so half a package has no stamp
    with locked(ROOT / ".run-test" / f"npm-{name}.lock"):
        if not stamp.exists() or stamp.read_text("ascii") != lock:
            done = run(["npm", "ci", "--loglevel=error"], os.environ, cwd=folder, seconds=SECONDS)
            if done.code != 0:
                raise StackError(f"`npm ci` in {folder} failed: {done.errors.strip()[-800:]}")
            stamp.write_text(lock, "ascii")
    return folder


def main(names: list[str]) -> int:
    """Where Node is optional, its absence is said and forgiven: the tests that need it are skipped."""
    try:
        for name in names or PACKAGES:
            install(name)
    except StackError as error:
        sys.stderr.write(f"{error}\n{HINT}\n")
        return 1 if os.environ.get("TOKENOUTPUT_REQUIRE_NODE") == "1" else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
