"""A base image made from Debian packages, for machines that reach a Debian mirror but no image registry.

It has the same Debian and the same Python as the real base, and so shows that the build and the image work. What is
shipped is built on the real one.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from deploy.image.builders import Builder, Recipe
from deploy.image.commands import ImageError, answer, watched

NAME: Final = "localhost/tokenoutput-base:bookworm"
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,python3-pip,ca-certificates"
# What a running system makes anew, and what only apt needs.
LEFT_OUT: Final = ("./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")
MIRROR: Final = (
    "apt-get",
    "indextargets",
    "--format=$(REPO_URI)",
    "Identifier: Packages",
    f"Codename: {SUITE}",
    "Component: main",
)


def ensure(builder: Builder, base: str) -> str:
    """The stand-in's name; made when it is not there yet. Raises ImageError where it cannot be made."""
    if builder.has(NAME):
        return NAME
    if lacking := _lacking():
        raise ImageError(f"The base image {base} cannot be pulled, and {lacking}.")
    with tempfile.TemporaryDirectory(prefix="tokenoutput-base-") as name:
        folder = Path(name)
        watched(debootstrap(folder / "root", _mirror()))
        (folder / "context").mkdir()
        watched(packed(folder / "root", folder / "context" / "root.tar"))
        (folder / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n", encoding="ascii")
        watched(builder.build(Recipe(NAME, folder / "context", folder / "Dockerfile")))
    return NAME


def debootstrap(root: Path, mirror: str | None) -> list[str]:
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    return [*command, mirror] if mirror else command


def packed(root: Path, archive: Path) -> list[str]:
    exclude = [f"--exclude={pattern}" for pattern in LEFT_OUT]
    return ["tar", "--create", f"--file={archive}", f"--directory={root}", "--numeric-owner", *exclude, "."]


def _lacking() -> str | None:
    if os.geteuid() != 0:
        return "only root can make a stand-in for it with debootstrap"
    if shutil.which("debootstrap") is None:
        return "without debootstrap there is no stand-in for it: `apt-get install debootstrap`"
    return None


def _mirror() -> str | None:
    """The mirror that apt uses here; None leaves the choice to debootstrap."""
    lines = (answer(MIRROR) or "").split()
    return lines[0] if lines else None
