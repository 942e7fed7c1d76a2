"""Processes that outlive the command that started them: known by a record file, ended by their pid.

A record holds the pid and the kernel's start time of the process, so that a pid that was given out again is never taken
for ours.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deploy.local.errors import StackError

TAIL_LINES: Final = 12
POLL_SECONDS: Final = 0.02
KILL_SECONDS: Final = 5


class Program(NamedTuple):
    """How a process is started, and where its output and its record go."""

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    record: Path


class Finished(NamedTuple):
    """What a short command left behind."""

    code: int
    output: str
    errors: str


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    text: str = "",
    seconds: float | None = None,
) -> Finished:
    """Runs a command to its end. Raises StackError when there is none or it takes longer than ``seconds``."""
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this package's own
            command, env=environment, cwd=cwd, input=text, timeout=seconds, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise StackError(f"There is no `{command[0]}` here: install it.") from error
    except subprocess.TimeoutExpired as error:
        raise StackError(f"`{' '.join(command)}` did not end within {seconds} s.") from error
    return Finished(done.returncode, done.stdout, done.stderr)


def spawn(program: Program, cwd: Path) -> int:
    """Starts the program in a session of its own, without our terminal. Returns its pid."""
    program.log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    command = ["env", f"--chdir={cwd}", *program.command]
    pid = os.posix_spawnp(
        command[0],
        command,
        program.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(program.log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT),
    )
    note(program.record, pid)
    return pid


def note(record: Path, pid: int) -> None:
    """Writes the record of a process."""
    record.write_text(f"{pid} {_start_time(pid)}\n", encoding="ascii")


def running(record: Path) -> int | None:
    """The pid in the record, while that very process runs."""
    try:
        pid, started = record.read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def end(record: Path, number: signal.Signals, patience: float) -> None:
    """Asks the recorded process to end, and kills its group when it does not within ``patience`` seconds."""
    if (pid := running(record)) is not None:
        os.kill(pid, number)
        if not _gone(record, patience):
            kill(record)
    record.unlink(missing_ok=True)


def kill(record: Path) -> None:
    """Kills the recorded process and its group at once, and returns when it is gone."""
    if (pid := running(record)) is None:
        return
    os.killpg(pid, signal.SIGKILL)
    if not _gone(record, KILL_SECONDS):
        raise StackError(f"Process {pid} does not die.")


def wait_for(ready: Callable[[], bool], program: Program, name: str, seconds: float) -> None:
    """Waits until the spawned program is ready; quotes its log when it ends before, or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if running(program.record) is None:
            raise StackError(f"{name} ended while starting; the end of {program.log}:\n{tail(program.log)}")
        if time.monotonic() > deadline:
            late = f"{name} is not ready after {seconds:.0f} s"
            raise StackError(f"{late}; the end of {program.log}:\n{tail(program.log)}")
        time.sleep(POLL_SECONDS)


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    return quoted(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else "    (no such file)"


def quoted(text: str) -> str:
    """The last lines of a text, indented."""
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-TAIL_LINES:])


def _gone(record: Path, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while running(record) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _start_time(pid: int) -> str | None:
    """The start time in the kernel's clock ticks; None for a process that has ended, reaped or not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":
        _reap(pid)
        return None
    return fields[19]


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # somebody else's child; its parent reaps it
