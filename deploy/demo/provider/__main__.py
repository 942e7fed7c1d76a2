"""`python -m deploy.demo.provider --host 127.0.0.1 --port N --log FILE` runs the simulator until it is told to stop."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from deploy.demo.provider.app import running


async def run(host: str, port: int, log: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(host, port, log) as url:
        print(f"The provider simulator listens on {url} and logs to {log}.", flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.provider", description="A provider that obeys cues.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True, help="file that gets one JSON line per event")
    given = parser.parse_args()
    try:
        asyncio.run(run(given.host, given.port, given.log))
    except OSError as error:
        sys.exit(f"The provider simulator cannot start: {error}")


if __name__ == "__main__":
    main()
