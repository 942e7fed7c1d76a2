"""`make up` and `make down` as a person runs them, on a stack of their own."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from deploy.local import ports, processes
from deploy.local.demo import CREDIT
from deploy.local.stack import ROOT
from tests.fixtures import servers as private
from tests.fixtures.servers import BASES
from tests.fixtures.stores import FOLDER

SECONDS: Final = 170
BALANCE_SECONDS: Final = 20
CALL: Final = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "Hello"}]}


class Local(NamedTuple):
    """One stack, by its commands."""

    folder: Path
    base: int

    def make(self, command: str, **environment: str) -> processes.Finished:
        stack = {"TOKENOUTPUT_RUN_DIR": str(self.folder), "TOKENOUTPUT_PORT_BASE": str(self.base)}
        told = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_KEY_FILE"))}
        words = [sys.executable, "-m", "deploy.local", *command.split()]
        done = processes.run(words, told | stack | environment, cwd=ROOT, seconds=SECONDS)
        assert done.code == 0, done.errors
        return done

    def settings(self) -> dict[str, str]:
        lines = (self.folder / "env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def running(self) -> dict[str, str]:
        return {
            line.rsplit("  ", 1)[0].strip(): line for line in self.make("status").output.splitlines() if "runs" in line
        }


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    claim = ports.claim(BASES)
    made = Local(Path(os.environ[FOLDER]) / f"up-{claim.base}", claim.base)
    yield made
    private.end(made.folder)
    shutil.rmtree(made.folder, ignore_errors=True)
    claim.close()


@pytest.fixture(scope="module")
def first(local: Local) -> str:
    """What the very first ``up`` said."""
    return local.make("up").output


def ask(settings: Mapping[str, str], method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = HTTPConnection(settings["GATEWAY_URL"].removeprefix("http://"), timeout=30)
    headers = {"authorization": f"Bearer {settings['API_KEY']}", "content-type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def balance(settings: Mapping[str, str]) -> Decimal:
    return Decimal(ask(settings, "GET", "/v1/billing/balance")[1]["balance_exact"])


def becomes(settings: Mapping[str, str], amount: Decimal) -> bool:
    """Whether the balance becomes this amount; charges follow the answer."""
    deadline = time.monotonic() + BALANCE_SECONDS
    while balance(settings) != amount and time.monotonic() < deadline:
        time.sleep(0.1)
    return balance(settings) == amount


def test_the_printed_call_works(local: Local, first: str) -> None:
    settings = local.settings()
    assert f"curl {settings['GATEWAY_URL']}/v1/chat/completions" in first
    assert settings["API_KEY"] in first
    status, answer = ask(settings, "POST", "/v1/chat/completions", CALL)
    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert becomes(settings, Decimal(CREDIT) - Decimal(answer["usage"]["cost"]))


def test_offers_without_a_credential_are_said_to_be_simulated(first: str) -> None:
    lines = [line.split() for line in first.splitlines()]
    assert ["simulated", "DeepSeek:", "deepseek-chat,", "deepseek-reasoner"] in lines
    assert not any(words[:1] == ["real"] for words in lines)


def test_everything_runs_under_the_run_directory(local: Local, first: str) -> None:
    assert first
    assert len(local.running()) == 5
    assert oct((local.folder / "env").stat().st_mode)[-3:] == "600"
    assert oct(local.folder.stat().st_mode)[-3:] in {"700", "711"}


def test_a_second_up_restarts_nothing(local: Local, first: str) -> None:
    assert first
    before, key = local.running(), local.settings()["API_KEY"]
    assert "Base URL" in local.make("up").output
    assert local.running() == before
    assert local.settings()["API_KEY"] == key


def test_changed_settings_restart_the_services_alone(local: Local, first: str) -> None:
    assert first
    before = local.running()
    local.make("up", TOKENOUTPUT_LOG_LEVEL="debug")
    changed = {name for name, line in local.running().items() if before[name] != line}
    assert changed == {"Services"}


@pytest.mark.parametrize("part", ["services", "simulator", "redis", "postgres"])
def test_up_brings_back_what_was_killed(local: Local, first: str, part: str) -> None:
    assert first
    local.make(f"kill9 {part}")
    assert len(local.running()) == 4
    local.make("up")
    assert len(local.running()) == 5
    assert ask(local.settings(), "GET", "/v1/models")[0] == 200


def test_down_stops_everything_and_up_finds_the_same_money(local: Local, first: str) -> None:
    assert first
    settings, before = local.settings(), balance(local.settings())
    cost = Decimal(ask(settings, "POST", "/v1/chat/completions", CALL)[1]["usage"]["cost"])
    assert becomes(settings, before - cost)
    local.make("down")
    assert local.running() == {}
    assert ports.first_taken(range(local.base, local.base + ports.CLAIM)) is None
    local.make("up")
    assert local.settings() == settings
    assert balance(settings) == before - cost
