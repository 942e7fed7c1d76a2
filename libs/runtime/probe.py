"""`python -m libs.runtime.probe URL…`: a container's health check, which needs nothing but Python.

A container may run any of the services: those are the addresses where somebody listens. Exits with 0 when there is one
and every one of them answers 200, else says what it heard and exits with 1.
"""

import http.client
import sys
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

SECONDS: Final = 3


def healthy(heard: Mapping[str, int | None]) -> bool:
    """The verdict over what each address answered; None is where nobody listens."""
    statuses = [status for status in heard.values() if status is not None]
    return bool(statuses) and all(status == 200 for status in statuses)


def ask(url: str) -> int | None:
    """The status of one GET; None when nobody listens there, 0 when somebody does and gives no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main(urls: Sequence[str]) -> int:
    heard = {url: ask(url) for url in urls}
    for url, status in heard.items():
        print(f"{url}: {status or ('nobody listens' if status is None else 'no answer')}")  # noqa: T201 - its output
    return 0 if healthy(heard) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
