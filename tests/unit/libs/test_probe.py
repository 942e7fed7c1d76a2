"""The health check of a container."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from libs.runtime import probe

EDGE, ROUTER = "http://127.0.0.1:9080/livez", "http://127.0.0.1:9081/livez"


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ({EDGE: 200}, True),
        ({EDGE: 200, ROUTER: 200}, True),
        ({EDGE: 200, ROUTER: None}, True),
        ({EDGE: 200, ROUTER: 503}, False),
        ({EDGE: 200, ROUTER: 0}, False),
        ({EDGE: 503}, False),
        ({EDGE: 204}, False),
        ({EDGE: None, ROUTER: None}, False),
        ({}, False),
    ],
)
def test_one_service_must_be_there_and_all_that_are_must_be_well(heard: dict[str, int | None], expected: bool) -> None:
    assert probe.healthy(heard) is expected


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/readyz"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that nobody listens on, and that stays so: it is bound."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_a_service_that_is_well_is_healthy_beside_an_address_where_nobody_listens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(200) as url, silent_port() as port:
        assert probe.main([url, f"http://127.0.0.1:{port}/readyz"]) == 0
    assert "nobody listens" in capsys.readouterr().out


def test_a_service_that_is_not_ready_is_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(503) as url:
        assert probe.main([url]) == 1
    assert f"{url}: 503" in capsys.readouterr().out


def hang_up_on_one(server: socket.socket) -> None:
    connection, _ = server.accept()
    connection.close()


def test_a_service_that_hangs_up_without_an_answer_is_unhealthy() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=hang_up_on_one, args=[server])
        thread.start()
        assert probe.ask(f"http://127.0.0.1:{server.getsockname()[1]}/livez") == 0
        thread.join()


def test_nothing_at_all_is_unhealthy() -> None:
    with silent_port() as port:
        assert probe.main([f"http://127.0.0.1:{port}/livez"]) == 1
