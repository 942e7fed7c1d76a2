"""Rules of conversion, each broken on purpose: the test that stands for it must fail.

A rule whose test passes all the same is not tested, whatever the test is called.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from tests.fixtures.mutant import VARIABLE, Mutant

ROOT = Path(__file__).parents[4]
FAILED = 1  # pytest's exit code for tests that ran and failed
ROUTER = "services.router"
MUTANTS = {
    "a stream of events is kept apart by their names": Mutant(
        f"{ROUTER}.converting",
        'encoded(event), event["type"])',
        "encoded(event))",
        "tests/unit/router/test_passages.py",
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
async def test_a_broken_rule_is_noticed(rule: str) -> None:
    mutant = MUTANTS[rule]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "tests.fixtures.mutant"),
        *mutant.test.split(),
        cwd=ROOT,
        env={**os.environ, VARIABLE: msgspec.json.encode(mutant).decode()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == FAILED, said.decode()[-2000:]
