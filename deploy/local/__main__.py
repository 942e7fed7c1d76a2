"""`python -m deploy.local COMMAND`: one stack, from ``TOKENOUTPUT_RUN_DIR`` and ``TOKENOUTPUT_PORT_BASE``."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from deploy.local import processes, servers, up
from deploy.local.errors import StackError
from deploy.local.lock import locked
from deploy.local.part import Part
from deploy.local.progress import Progress
from deploy.local.stack import Stack, from_environment


def status(stack: Stack, _: Progress) -> None:
    for part in up.parts(stack):
        pid = processes.running(part.record)
        port = next(iter(part.ports.values()))
        print(f"  {part.title:<20} {f'runs as {pid}, port {port}' if pid else 'is down'}")


def env(stack: Stack, _: Progress) -> None:
    if not stack.env_file.exists():
        raise StackError("This stack was never up: run `make up` first.")
    print(stack.env_file.read_text(encoding="utf-8"), end="")


def servers_up(stack: Stack, progress: Progress) -> None:
    with locked(stack.run_dir / "lock", progress.say):
        servers.start(stack, servers.servers(stack), progress)


def servers_down(stack: Stack, progress: Progress) -> None:
    with locked(stack.run_dir / "lock", progress.say):
        servers.stop(servers.servers(stack), progress)


def kill9(part: Part, _: Progress) -> None:
    processes.kill(part.record)


def start(part: Part, progress: Progress) -> None:
    if processes.running(part.record) is None:
        with progress.step(part.title):
            part.start()


STACK_COMMANDS: Final[Mapping[str, tuple[Callable[[Stack, Progress], None], str]]] = {
    "up": (up.up, "start everything, and say how to use it"),
    "down": (up.down, "stop everything; the data stays"),
    "status": (status, "say what runs"),
    "env": (env, "print the settings of the running stack"),
    "servers-up": (servers_up, "start PostgreSQL, Redis and RabbitMQ only"),
    "servers-down": (servers_down, "stop those three"),
}
PART_COMMANDS: Final[Mapping[str, tuple[Callable[[Part, Progress], None], str]]] = {
    "kill9": (kill9, "kill one part without warning"),
    "start": (start, "start one part"),
}
NAMES: Final = ("postgres", "redis", "rabbitmq", "simulator", "services")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in STACK_COMMANDS.items():
        commands.add_parser(name, help=text)
    for name, (_, text) in PART_COMMANDS.items():
        commands.add_parser(name, help=text).add_argument("part", choices=NAMES)
    given = parser.parse_args()
    os.umask(0o077)  # everything a stack writes is its owner's alone
    try:
        run(given.command, getattr(given, "part", None))
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; what has started still runs: `make down` stops it")


def run(command: str, part_name: str | None) -> None:
    stack = from_environment(os.environ)
    if part_name is None:
        STACK_COMMANDS[command][0](stack, Progress())
    else:
        part = next(part for part in up.parts(stack) if part.name == part_name)
        PART_COMMANDS[command][0](part, Progress())


if __name__ == "__main__":
    main()
