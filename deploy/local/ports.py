"""Ports of this machine: which are free, which answer, and how to claim a range of them."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from deploy.local.errors import StackError

HOST: Final = "127.0.0.1"
SPAN: Final = 40
CLAIM: Final = SPAN - 1
SERVICES: Final = ("edge", "router", "billing", "catalog")


@dataclass(frozen=True)
class Ports:
    """The ports of one stack, counted from its base."""

    base: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= 65536 - SPAN:
            raise StackError(f"TOKENOUTPUT_PORT_BASE={self.base} must be between 1024 and {65536 - SPAN}.")

    @property
    def postgres(self) -> int:
        return self.base

    @property
    def redis(self) -> int:
        return self.base + 1

    @property
    def amqp(self) -> int:
        return self.base + 2

    @property
    def erlang(self) -> int:
        return self.base + 3

    @property
    def epmd(self) -> int:
        return self.base + 4

    def service(self, name: str) -> int:
        return self.base + 10 + SERVICES.index(name)

    def admin(self, name: str) -> int:
        return self.base + 20 + SERVICES.index(name)

    @property
    def simulator(self) -> int:
        return self.base + 30


class Claim:
    """A range of ports that no other claimant on this machine will choose, for as long as the claim is open.

    It is a bound socket on the range's last port: the kernel forgets it with the process, whatever ends that.
    """

    def __init__(self, sock: socket.socket, base: int) -> None:
        self._socket = sock
        self.base = base

    def close(self) -> None:
        self._socket.close()


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bind(sock, port)


def first_taken(ports: Iterable[int]) -> int | None:
    return next((port for port in ports if not is_free(port)), None)


def claim(bases: Iterable[int]) -> Claim:
    """Claims the first base whose whole range is free."""
    for base in bases:
        sock = socket.socket()
        if _bind(sock, base + CLAIM) and first_taken(range(base, base + CLAIM)) is None:
            return Claim(sock, base)
        sock.close()
    raise StackError(f"No {SPAN} ports in a row are free on {HOST}.")


def _bind(sock: socket.socket, port: int) -> bool:
    try:
        sock.bind((HOST, port))
    except OSError:
        return False
    return True
