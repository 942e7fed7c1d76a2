"""`python -m deploy.image [--tag NAME] [--base NAME] [--install]`: builds the image and says how to run it."""

import argparse
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from deploy.image import builders, pip_settings, stand_in
from deploy.image.builders import Builder, Recipe
from deploy.image.commands import ImageError, answer, watched

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
TAG: Final = "tokenoutput:local"  # what compose.yaml runs
BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
TOOLS: Final = ("buildah", "debootstrap")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.image", description="Builds the container image.")
    parser.add_argument("--tag", default=TAG)
    parser.add_argument("--base", default=BASE, help="image with Python 3.11 and pip to build on")
    parser.add_argument("--install", action="store_true", help=f"first install {' and '.join(TOOLS)}; root on Debian")
    given = parser.parse_args()
    try:
        if given.install:
            install()
        image(given.tag, given.base)
    except ImageError as error:
        sys.exit(str(error))


def install() -> None:
    """Installs what is missing for a build without a daemon, and for a stand-in of the base image."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and (os.geteuid() != 0 or shutil.which("apt-get") is None):
        raise ImageError(f"INSTALL=1 needs root and apt-get: install {' and '.join(missing)} yourself.")
    if missing:
        watched(["apt-get", "update", "--quiet"])
        watched(["apt-get", "install", "--yes", "--no-install-recommends", *missing])


def image(tag: str, base: str) -> None:
    """Builds the image on ``base``, or on a stand-in where that cannot be had."""
    builder = builders.first_usable()
    print(f"{builder.name} builds {tag} on {base}.", flush=True)
    real = builders.pulled(builder, base)
    if not real:
        print(f"{base} cannot be pulled here: a root made of Debian's packages stands in for it.", flush=True)
    build(builder, tag, base if real else stand_in.ensure(builder, base))
    print(f"\nBuilt {tag}. `docker compose --profile demo up` runs it; so does `{builder.name} run {tag} ROLE`.")
    if not real:
        print(f"It stands on {stand_in.NAME}, not on {base}: good for a check, not for shipping.")


def build(builder: Builder, tag: str, base: str) -> None:
    listing = answer([sys.executable, "-m", "pip", "config", "list"]) or ""  # without pip there is nothing to hand on
    settings = pip_settings.settings_of(listing, os.environ)
    with tempfile.TemporaryDirectory(prefix="tokenoutput-image-") as folder:
        recipe = Recipe(
            tag=tag,
            context=ROOT,
            dockerfile=DOCKERFILE,
            arguments={"BASE": base, "VERSION": _version(), "REVISION": _revision()},
            secrets=pip_settings.write(settings, Path(folder)),
            folders=settings.folders,
        )
        watched(builder.build(recipe))


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _revision() -> str:
    return (answer(["git", "-C", str(ROOT), "rev-parse", "HEAD"]) or "unknown").strip()


if __name__ == "__main__":
    main()
