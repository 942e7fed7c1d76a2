"""Holds and settlements through the real scripts, on one Redis, over several connections at once.

``unpipelined``: each connection has one command on its way, as requests have. ``pipelined``: a batch of them, as
billing has when it settles.
"""

import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import hiredis

from deploy.local import processes
from libs.contracts.account import lease_keys
from libs.runtime.holds import HOLD, SETTLE
from tests.bench.spent import spent
from tests.fixtures.servers import Servers

COUNT: Final = 100_000
ORGS: Final = 1000
CONNECTIONS: Final = 16
PIPELINE: Final = 100
NEED: Final = "10000000"
COST: Final = "614000"


class Connection:
    """One connection that says what it is told to and counts the answers."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._socket = socket.create_connection((parts.hostname, parts.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        login = [unquote(part) for part in (parts.username, parts.password) if part]
        self.ask("AUTH", *login)
        self.ask("SELECT", parts.path.strip("/") or "0")

    def ask(self, *words: str | int) -> Any:
        self.send(_packed(words))
        return self.answers(1)[0]

    def send(self, commands: bytes) -> None:
        self._socket.sendall(commands)

    def answers(self, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 16))
            else:
                found.append(answer)
        return found


def lease_out(connection: Connection, orgs: Iterable[int]) -> str:
    """A lease for each org, of epoch 1, that covers everything; the run id of the Redis that has them."""
    told = connection.ask("INFO", "server").decode().splitlines()
    run_id: str = next(line.removeprefix("run_id:") for line in told if line.startswith("run_id:"))
    zero = [word for name in ("used", "held", "pused", "pheld", "plim", "r") for word in (name, 0)]
    now = time.time_ns() // 1_000_000
    for org in orgs:
        connection.ask("HSET", lease_keys(org).lease, "e", 1, "g", run_id, "t", now, "lim", 8 * 10**15, *zero)
    return run_id


def holds(sha: str, ids: list[str]) -> list[bytes]:
    return [_script(sha, number, request_id, NEED, 70, "") for number, request_id in enumerate(ids)]


def settlements(sha: str, ids: list[str]) -> list[bytes]:
    return [_script(sha, number, request_id, COST) for number, request_id in enumerate(ids)]


def _script(sha: str, number: int, *words: str | int) -> bytes:
    keys = lease_keys(number % ORGS)
    return _packed(("EVALSHA", sha, 3, keys.lease, keys.holds, keys.keys, *words))


def _packed(words: tuple[str | int, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # its stub knows one word only
    return packed


def run(connections: list[Connection], commands: list[bytes], at_once: int) -> float:
    """Seconds. Every command must do something, or this measures nothing."""
    waves = [b"".join(commands[start : start + at_once]) for start in range(0, len(commands), at_once)]
    began = time.perf_counter()
    for start in range(0, len(waves), len(connections)):
        now = list(zip(connections, waves[start : start + len(connections)], strict=False))
        for connection, wave in now:
            connection.send(wave)
        for connection, _ in now:
            for answer in connection.answers(at_once):
                assert answer[0] == b"OK", answer
    return time.perf_counter() - began


async def measure(servers: Servers) -> list[tuple[str, dict[str, Any]]]:
    async with servers.new_stores() as stores:
        connections = [Connection(stores.redis_url) for _ in range(CONNECTIONS)]
        pid = processes.running(servers.part("redis").record)
        assert pid is not None
        return list(_figures(connections, pid))


def _figures(connections: list[Connection], pid: int) -> Iterator[tuple[str, dict[str, Any]]]:
    first = connections[0]
    lease_out(first, range(ORGS))
    hold, settle = (first.ask("SCRIPT", "LOAD", text).decode() for text in (HOLD, SETTLE))
    for name, at_once in (("unpipelined", 1), ("pipelined", PIPELINE)):
        ids = [uuid4().hex for _ in range(COUNT)]
        for what, commands in (("holds", holds(hold, ids)), ("settles", settlements(settle, ids))):
            before = spent(pid)
            seconds = run(connections, commands, at_once)
            cpu = (spent(pid).seconds - before.seconds) / COUNT * 1e6
            yield f"{what}, {name}", {f"{what}/s": round(COUNT / seconds), "redis_cpu_µs": round(cpu, 1)}
