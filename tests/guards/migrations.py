"""A migration that has landed stays as it is: databases out there have applied it, and its digest is on record.

Landed means: in the history that HEAD follows. The first version found there counts; in a shallow clone that is the
oldest one that was fetched. Before the first commit, and outside a repository or without git, nothing has landed.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = ":(glob)services/*/migrations/*.sql"


def landed(root: Path) -> dict[str, str]:
    """The commit that first added each migration, by path."""
    if (
        not (root / ".git").exists()
        or shutil.which("git") is None
        or not _git(root, "rev-list", "--all", "--max-count=1")
    ):
        return {}
    # A merge is looked at as one change, which is what it was for the branch it went into.
    arguments = ["--first-parent", "-m", "--no-renames", "--diff-filter=A", "--format=commit %H", "--name-only"]
    log = _git(root, "-c", "core.quotePath=false", "log", *arguments, "--", FILES)
    found, commit = {}, ""
    for line in log.decode().splitlines():
        if line.startswith("commit "):
            commit = line.removeprefix("commit ")
        elif line:
            found[line] = commit  # newest first: the last one said about a path is its first
    return found


def check(root: Path) -> list[str]:
    """The landed migrations that are now different, or gone."""
    found = []
    for path, commit in sorted(landed(root).items()):
        file = root / path
        if not file.exists():
            found.append(f"{path} was removed; it landed with {commit[:10]}")
        elif file.read_bytes() != _git(root, "show", f"{commit}:{path}"):
            found.append(f"{path} was changed after it landed with {commit[:10]}")
    return found


def _git(root: Path, *arguments: str) -> bytes:
    """What git says about the repository, whoever owns its files."""
    done = subprocess.run(  # noqa: S603 - git, with this file's arguments
        ["git", "-c", "safe.directory=*", "-C", str(root), *arguments],  # noqa: S607 - whichever git there is
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"git cannot read this repository: {done.stderr.decode().strip()}")
    return done.stdout


def main() -> None:
    if found := check(ROOT):
        sys.exit("\n".join([*found, "Migrations are never edited: add the next number instead."]))


if __name__ == "__main__":
    main()
