"""The commands of make and of `tokenoutput`, and what stands around them."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer import main as typer_main

from deploy.local import processes
from deploy.local.stack import ROOT
from services.cli import app

# A make that runs these tests would otherwise speak to the ones below.
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
TARGETS: Final = {"help", "up", "down", "status", "check", "test", "e2e", "lock", "fmt", "migrate", "image", "clean"}


def run(*command: str, **environment: str) -> processes.Finished:
    return processes.run(command, ENVIRONMENT | environment, cwd=ROOT)


def test_make_explains_itself() -> None:
    done = run("make")
    assert done.code == 0
    listed = set(re.findall(r"^  make ([a-z0-9-]+) +\w", done.output, re.MULTILINE))
    assert listed >= TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_can_be_planned(target: str) -> None:
    done = run("make", "--dry-run", target)
    assert done.code == 0, done.errors
    assert done.output


def test_a_checkout_is_checked_and_tested_by_the_same_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^(?:[A-Z_]+=\S+ )*(make .*)$", script, re.MULTILINE) == ["make check", "make test"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_commit_hooks_are_well_formed() -> None:
    assert run(sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml").code == 0
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert "://" not in hooks


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("Python 3.9.2", "Python 3.9.2 is too old: install Python 3.11 or newer"),
        (None, "There is no .*: install Python 3.11 or newer"),
    ],
)
def test_an_unfit_python_is_one_sentence(tmp_path: Path, version: str | None, sentence: str) -> None:
    python = tmp_path / "python3"
    if version is not None:
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit\nexit 1\n')
        python.chmod(0o755)
    done = run("sh", "deploy/local/venv.sh", PYTHON=str(python), TOKENOUTPUT_CACHE_DIR=str(tmp_path / "cache"))
    assert done.code == 1
    assert re.match(sentence, done.errors)
    assert done.errors.count("\n") == 1


def operators() -> Iterator[tuple[str, list[str]]]:
    """Each command of `tokenoutput` and its parameters as they are typed."""
    waiting = [("", typer_main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        if inside := getattr(command, "commands", None):
            waiting += [(f"{name} {each}".strip(), inside[each]) for each in inside]
        else:
            yield name, [option for parameter in command.params for option in parameter.opts]


def test_every_command_of_the_operator_answers_a_program_too() -> None:
    commands = dict(operators())
    assert [name for name, options in commands.items() if "--json" not in options] == ["settings"]
    assert len(commands) > 20


def test_the_ledger_has_the_commands_that_its_page_describes() -> None:
    commands = {name for name, _ in operators() if name.startswith(("ledger ", "usage ", "router "))}
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`tokenoutput ((?:ledger|usage parked|router) [a-z-]+)", page))
    assert {name for name in commands if name.startswith("ledger ")} <= described <= commands
