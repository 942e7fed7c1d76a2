"""How a builder is chosen and told what to build."""

from pathlib import Path
from typing import Final, NamedTuple

import pytest

from deploy.image import builders
from deploy.image.builders import Daemonless, Docker, Recipe
from deploy.image.commands import ImageError

RECIPE: Final = Recipe(
    tag="tokenoutput:local",
    context=Path("/checkout"),
    dockerfile=Path("/checkout/deploy/Dockerfile"),
    arguments={"BASE": "python:3.11"},
    secrets={"pip_conf": Path("/tmp/x/pip.conf")},  # noqa: S108 - a name, nothing is written there
    folders=[Path("/srv/wheels")],
)


class Candidate(NamedTuple):
    """A builder with or without a reason for not being usable."""

    name: str
    reason: str | None

    def missing(self) -> str | None:
        return self.reason

    def has(self, image: str) -> bool:
        return False

    def build(self, recipe: Recipe) -> list[str]:
        return []


def test_the_first_builder_that_can_build_is_taken() -> None:
    able, also = Candidate("podman", None), Candidate("buildah", None)
    assert builders.first_usable([Candidate("docker", "the docker daemon does not answer"), able, also]) is able


def test_without_a_builder_one_sentence_says_what_to_install_and_why_those_here_will_not_do() -> None:
    here = [Candidate("docker", "the docker daemon does not answer"), Candidate("podman", "podman is not installed")]
    with pytest.raises(ImageError, match="install docker") as raised:
        builders.first_usable(here)
    assert "the docker daemon does not answer" in str(raised.value)
    assert "podman is not installed" not in str(raised.value)


def test_a_builder_without_a_daemon_sees_local_packages_and_keeps_the_health_check() -> None:
    command = Daemonless("buildah").build(RECIPE)
    assert command[:2] == ["buildah", "build"]
    assert command[-1] == "/checkout"
    assert {
        "--isolation=chroot",
        "--format=docker",
        "--volume=/srv/wheels:/srv/wheels:ro",
        "--build-arg=BASE=python:3.11",
        "--secret=id=pip_conf,src=/tmp/x/pip.conf",
        "--file=/checkout/deploy/Dockerfile",
        "--tag=tokenoutput:local",
    } <= set(command)


def test_docker_says_that_it_cannot_see_local_packages() -> None:
    with pytest.raises(ImageError, match="/srv/wheels"):
        Docker().build(RECIPE)


def test_docker_builds_what_needs_no_local_packages() -> None:
    command = Docker().build(Recipe(RECIPE.tag, RECIPE.context, RECIPE.dockerfile, secrets=RECIPE.secrets))
    assert command[:3] == ["docker", "buildx", "build"]
    assert "--secret=id=pip_conf,src=/tmp/x/pip.conf" in command
