"""The programs that can build an image, and how each of them is told what to build."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from deploy.image.commands import ImageError, answer

PULL_SECONDS: Final = 600
NO_BUILDER: Final = (
    "There is no builder for images here: install docker (with buildx), podman or buildah, for example by "
    "`apt-get install buildah`, or run `make image INSTALL=1` as root on Debian."
)


@dataclass(frozen=True)
class Recipe:
    """What is built: a Dockerfile over a folder, with what the build may see but the image must not hold."""

    tag: str
    context: Path
    dockerfile: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    folders: Sequence[Path] = ()


class Builder(Protocol):
    """A program that builds images."""

    @property
    def name(self) -> str: ...

    def missing(self) -> str | None:
        """Why it cannot build here; None when it can."""

    def has(self, image: str) -> bool:
        """Whether the image is on this machine."""

    def build(self, recipe: Recipe) -> list[str]:
        """The command that builds. Raises ImageError when this builder cannot build that."""


class Docker:
    """BuildKit behind a running daemon."""

    name = "docker"

    def missing(self) -> str | None:
        if shutil.which("docker") is None:
            return "docker is not installed"
        if answer(["docker", "info"]) is None:
            return "the docker daemon does not answer"
        return None if answer(["docker", "buildx", "version"]) else "docker has no buildx, which the build needs"

    def has(self, image: str) -> bool:
        return answer(["docker", "image", "inspect", image]) is not None

    def build(self, recipe: Recipe) -> list[str]:
        if recipe.folders:
            named = ", ".join(map(str, recipe.folders))
            raise ImageError(
                f"pip takes packages from {named}, which docker cannot show a build: use podman or buildah."
            )
        return ["docker", "buildx", "build", "--load", *_options(recipe), str(recipe.context)]


@dataclass(frozen=True)
class Daemonless:
    """podman or buildah. A chroot suffices for our build, so that it also works inside a container."""

    name: str

    def missing(self) -> str | None:
        if shutil.which(self.name) is None:
            return f"{self.name} is not installed"
        if os.geteuid() != 0 and shutil.which("newuidmap") is None:
            return f"{self.name} needs newuidmap (package uidmap) to build without root"
        return None

    def has(self, image: str) -> bool:
        return answer([self.name, "inspect", "--type", "image", image]) is not None

    def build(self, recipe: Recipe) -> list[str]:
        folders = [f"--volume={folder}:{folder}:ro" for folder in recipe.folders]
        # The OCI format has no place for a health check.
        how = ["--isolation=chroot", "--format=docker", "--layers"]
        return [self.name, "build", *how, *folders, *_options(recipe), str(recipe.context)]


ALL: Final[tuple[Builder, ...]] = (Docker(), Daemonless("podman"), Daemonless("buildah"))


def first_usable(builders: Sequence[Builder] = ALL) -> Builder:
    """The first that can build here. Raises ImageError with the reason of every installed one that cannot."""
    reasons = []
    for builder in builders:
        reason = builder.missing()
        if reason is None:
            return builder
        if "not installed" not in reason:
            reasons.append(reason)
    raise ImageError(f"{NO_BUILDER} ({'; '.join(reasons)})" if reasons else NO_BUILDER)


def pulled(builder: Builder, image: str) -> bool:
    """Whether the image is here, fetched if need be."""
    return builder.has(image) or answer([builder.name, "pull", image], PULL_SECONDS) is not None


def _options(recipe: Recipe) -> list[str]:
    arguments = [f"--build-arg={name}={value}" for name, value in recipe.arguments.items()]
    secrets = [f"--secret=id={name},src={path}" for name, path in recipe.secrets.items()]
    return [f"--file={recipe.dockerfile}", f"--tag={recipe.tag}", *arguments, *secrets]
