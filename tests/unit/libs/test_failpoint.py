"""Failpoints: what they do when named, that they do nothing when not, and that images do not have them at all."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime import failpoint
from libs.runtime.failpoint import Armed, FailpointReached

ROOT = Path(__file__).parents[3]
REACH = "import asyncio\nfrom libs.runtime import failpoint\nasync def main():\n"
PROGRAM = f"""{REACH}    for number in range(3):
        if __debug__: await failpoint.reached("here")
        print(number, flush=True)
asyncio.run(main())
"""


def run(value: str, *options: str, env: str = "dev") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOKENOUTPUT_ENV": env, failpoint.VARIABLE: value}
    command = [sys.executable, *options, "-c", PROGRAM]
    return subprocess.run(  # noqa: S603 - this interpreter
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_value_names_places_actions_and_times() -> None:
    assert failpoint.parse("a.b:kill@3,c:pause=1.5,d:fail") == {
        "a.b": Armed("kill", 3),
        "c": Armed("pause=1.5", 0),
        "d": Armed("fail", 0),
    }
    assert failpoint.parse("") == {}


@pytest.mark.parametrize("text", ["a", "a:", "a:explode", "a:kill@x", "kill"])
def test_what_would_silently_do_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME:ACTION|invalid literal"):
        failpoint.parse(text)


async def test_a_place_that_nobody_named_does_nothing() -> None:
    with failpoint.armed("elsewhere:fail"):
        await failpoint.reached("here")
        with pytest.raises(FailpointReached):
            await failpoint.reached("elsewhere")


async def test_it_happens_each_time_or_at_the_time_that_was_named() -> None:
    with failpoint.armed("here:fail"):
        for _ in range(2):
            with pytest.raises(FailpointReached):
                await failpoint.reached("here")
    with failpoint.armed("here:fail@2"):
        await failpoint.reached("here")
        with pytest.raises(FailpointReached):
            await failpoint.reached("here")
        await failpoint.reached("here")
    await failpoint.reached("here")


def test_kill_ends_the_process_as_kill_9_does() -> None:
    done = run("here:kill@2")
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n")


def test_a_failure_is_the_kind_that_networks_make() -> None:
    assert issubclass(FailpointReached, OSError)
    done = run("here:fail@3")
    assert (done.returncode, done.stdout) == (1, "0\n1\n")
    assert "FailpointReached" in done.stderr


@pytest.mark.parametrize("env", ["production", "staging", ""])
def test_outside_of_development_the_variable_is_not_read(env: str) -> None:
    done = run("here:kill", env=env)
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_images_do_not_have_them() -> None:
    """They run with -O, which leaves out what stands behind ``if __debug__``."""
    done = run("here:kill", "-O")
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_every_failpoint_stands_behind_the_switch_that_leaves_it_out() -> None:
    sources = {path: path.read_text("utf-8") for top in ("services", "libs") for path in (ROOT / top).rglob("*.py")}
    calls = guarded = 0
    for path, text in sources.items():
        if path.name == "failpoint.py" or "failpoint" not in text:
            continue
        tree = ast.parse(text)
        calls += sum(_is_call(node) for node in ast.walk(tree))
        guarded += sum(_guarded(node) for node in ast.walk(tree))
    assert calls == guarded


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reached"


def _guarded(node: ast.AST) -> int:
    """Calls under ``if __debug__:``, where nothing else may stand."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Name) or node.test.id != "__debug__":
        return 0
    awaited = [each.value for each in node.body if isinstance(each, ast.Expr) and isinstance(each.value, ast.Await)]
    return sum(_is_call(each.value) for each in awaited) if len(awaited) == len(node.body) else 0
