"""Processes that are known by their record."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import ports, processes
from deploy.local.errors import StackError
from deploy.local.processes import Program
from tests.fixtures.servers import BASES


def program(folder: Path, code: str) -> Program:
    return Program([sys.executable, "-c", code], os.environ, folder / "log", folder / "pid")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Program]:
    started = program(tmp_path, "import time; print('here', flush=True); time.sleep(600)")
    processes.spawn(started, tmp_path)
    yield started
    processes.kill(started.record)


def test_a_spawned_process_is_known_until_it_ends(sleeper: Program) -> None:
    pid = processes.running(sleeper.record)
    assert pid is not None
    processes.end(sleeper.record, signal.SIGTERM, 10)
    assert processes.running(sleeper.record) is None
    assert not sleeper.record.exists()


def test_a_process_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    deaf = program(tmp_path, code)
    processes.spawn(deaf, tmp_path)
    processes.wait_for(lambda: "deaf" in deaf.log.read_text(), deaf, "Deaf", 20)
    processes.end(deaf.record, signal.SIGTERM, 0.1)
    assert processes.running(deaf.record) is None


def test_a_pid_that_was_given_out_again_is_not_ours(sleeper: Program) -> None:
    pid, started = sleeper.record.read_text().split()
    assert processes.running(sleeper.record) == int(pid)
    sleeper.record.write_text(f"{pid} {int(started) - 1}\n")
    assert processes.running(sleeper.record) is None
    processes.kill(sleeper.record)
    sleeper.record.write_text(f"{pid} {started}\n")
    assert processes.running(sleeper.record) == int(pid)


def test_a_child_that_nobody_waited_for_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        processes.note(tmp_path / "pid", child.pid)
        assert processes.running(tmp_path / "pid") == child.pid
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.running(tmp_path / "pid") is None
        child.returncode = -signal.SIGKILL  # reaped above, which Popen cannot know


def test_a_start_that_fails_quotes_the_end_of_its_log(tmp_path: Path) -> None:
    failing = program(tmp_path, "import sys; sys.exit('the disk is full')")
    processes.spawn(failing, tmp_path)
    with pytest.raises(
        StackError, match=f"Server ended while starting; the end of {failing.log}:\n    the disk is full"
    ):
        processes.wait_for(lambda: False, failing, "Server", 20)


def test_a_start_that_takes_too_long_quotes_the_end_of_its_log(sleeper: Program) -> None:
    processes.wait_for(lambda: "here" in sleeper.log.read_text(), sleeper, "Server", 20)
    with pytest.raises(StackError, match=r"Server is not ready after 0 s; the end of .*/log:\n    here"):
        processes.wait_for(lambda: False, sleeper, "Server", 0)


def test_a_missing_command_is_one_sentence() -> None:
    with pytest.raises(StackError, match="There is no `no-such-command` here"):
        processes.run(["no-such-command"], os.environ)


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket() as server:
        server.bind((ports.HOST, 0))
        port = server.getsockname()[1]
        server.listen()
        assert not ports.is_free(port)
        assert ports.first_taken([port]) == port
    assert ports.is_free(port)


def test_a_claimed_range_is_nobody_elses() -> None:
    claim = ports.claim(BASES)
    with pytest.raises(StackError, match="No 40 ports in a row are free"):
        ports.claim([claim.base])
    claim.close()


def test_a_range_with_a_taken_port_is_not_claimed() -> None:
    with socket.socket() as server:
        server.bind((ports.HOST, 0))
        server.listen()
        with pytest.raises(StackError, match="No 40 ports in a row are free"):
            ports.claim([server.getsockname()[1] - 12])
