"""How a process starts, refuses to start, and stops."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = """
import asyncio, sys
from libs.runtime.app import new_app
from libs.runtime.run import Part, serve
from libs.runtime.settings import ServiceSettings

settings = ServiceSettings(
    env="dev", host="127.0.0.1", port=int(sys.argv[1]), admin_port=0, internal_secret="a-secret-of-the-tests"
)

async def slow(app):
    await asyncio.sleep(float(sys.argv[2]))
    yield

app = new_app(settings)
app.cleanup_ctx.append(slow)
asyncio.run(serve([Part(app, settings)]))
"""


async def started(port: int, seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(port),
        str(seconds),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_taken_port_is_one_clear_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = await started(port, 0)
        _, complaint = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    [line] = complaint.decode().splitlines()
    assert f"port {port} on 127.0.0.1 is taken" in line


async def test_sigterm_ends_a_process_that_is_still_starting() -> None:
    process = await started(0, 60)
    await asyncio.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, complaint = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, complaint) == (0, b"")


async def test_sigterm_ends_a_running_process_cleanly() -> None:
    process = await started(0, 0)
    assert process.stdout is not None
    while b"listening" not in (line := await asyncio.wait_for(process.stdout.readline(), 30)):
        assert line, "it ended before it listened"
    process.send_signal(signal.SIGTERM)
    _, complaint = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, complaint) == (0, b"")
