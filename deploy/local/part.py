"""What every part of a stack can do: be looked at, started and stopped."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deploy.local.ports import HOST

PROBE_SECONDS = 2


class Part(Protocol):
    """A process of the stack. ``start`` returns when it serves, ``stop`` when it is gone."""

    name: str
    title: str

    @property
    def ports(self) -> Mapping[str, int]: ...

    @property
    def record(self) -> Path: ...

    @property
    def current(self) -> bool:
        """Whether what it was last started from is what it would be started from now."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether the server on ``port`` says ``answer`` first when it is sent ``question``."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_SECONDS) as sock:
            sock.sendall(question)
            said = b""
            while len(said) < len(answer) and (part := sock.recv(len(answer) - len(said))):
                said += part
            return said == answer
    except OSError:
        return False
