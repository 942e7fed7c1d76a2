"""What programs log: one line each, whoever logs it, and no secret in any."""

import json
import logging
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog

from libs.runtime.logging import configure, redact

OURS = "sk-to-" + "A1b2" * 12
SECRETS = [
    OURS,
    "sk-ant-api03-AbCdEf0123456789-xyz",
    "sk-proj-AbCdEf0123456789",
    "sk-3f8a9b7c6d5e4f3a2b1c0d9e8f7a6b5c",
    "0123456789abcdef0123456789abcdef.AbCdEf0123456789",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "bearer eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "postgresql://tokenoutput_edge:hunter2hunter2@db:5432/x",
    "redis://:hunter2hunter2@store:6379/0",
    "amqp://u:p%40ss/word@broker/",
]
CORES = ["A1b2A1b2", "AbCdEf0123456789", "3f8a9b7c6d5e", "eyJhbGci", "hunter2", "p%40ss"]

Lines = Callable[[], list[str]]


@pytest.fixture
def restored() -> Iterator[None]:
    before, handlers = structlog.get_config(), logging.root.handlers[:]
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


@pytest.fixture
def logged(restored: None, capfdbinary: pytest.CaptureFixture[bytes]) -> Lines:
    def read() -> list[str]:
        return capfdbinary.readouterr().out.decode().splitlines()

    return read


def clean(line: dict[str, Any]) -> dict[str, Any]:
    assert line.pop("ts").endswith("Z")
    return line


def test_a_line_is_one_json_object(logged: Lines) -> None:
    configure("json", "info")
    structlog.get_logger().info("request", status=200, id=uuid.UUID(int=1), ok=True, none=None, ms=1.5)
    line = json.loads(logged()[0])
    assert clean(line) == {
        "event": "request",
        "level": "info",
        "status": 200,
        "id": "00000000-0000-0000-0000-000000000001",
        "ok": True,
        "none": None,
        "ms": 1.5,
    }


def test_lines_below_the_level_are_left_out(logged: Lines) -> None:
    configure("json", "info")
    structlog.get_logger().debug("hidden")
    structlog.get_logger().warning("shown")
    assert [line["event"] for line in [json.loads(line) for line in logged()]] == ["shown"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: f"before {s} after",
        lambda s: {"headers": {"x": s}},
        lambda s: [s, (s,)],
        ValueError,
        lambda s: {"deep": [ValueError(s)]},
    ],
)
def test_a_secret_is_blanked_wherever_it_turns_up(secret: str, wrap: Callable[[str], Any]) -> None:
    said = str(redact(None, "info", {"event": secret, "value": wrap(secret)}))
    assert "[redacted]" in said
    assert not [core for core in CORES if core in said]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_has_no_secret_and_no_prompt(log_format: Literal["json", "console"], logged: Lines) -> None:
    configure(log_format, "info")
    try:
        away(prompt=" ".join(["the", "caller's", "own", "words"]))
    except ValueError:
        structlog.get_logger().exception("unhandled")
    text = "\n".join(logged())
    assert "Traceback (most recent call last)" in text
    assert "ValueError: postgresql://tokenoutput_edge:[redacted]@db" in text
    assert "hunter2" not in text
    assert "caller's own" not in text


def away(prompt: str) -> None:
    raise ValueError(f"{SECRETS[7]} is away after {len(prompt)}")


@pytest.mark.parametrize(
    "text",
    ["task-force-management", "disk-space-available", "http://127.0.0.1:8080/v1/models", "a request: id@host", "sk-1"],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(None, "info", {"event": text}) == {"event": text}


def test_what_libraries_log_comes_out_the_same_way(logged: Lines) -> None:
    configure("json", "info")
    library = logging.getLogger("a.library")
    library.warning("slow %s", SECRETS[5])
    library.info("chatter")
    library.log(45, "between two levels")
    library.error("wrong %d arguments", "x")
    assert [clean(json.loads(line)) for line in logged()] == [
        {"event": "slow Bearer [redacted]", "level": "warning", "logger": "a.library"},
        {"event": "between two levels", "level": "error", "logger": "a.library"},
        {"event": "wrong %d arguments", "level": "error", "logger": "a.library"},
    ]


def test_a_library_s_exception_keeps_its_traceback(logged: Lines) -> None:
    configure("json", "info")
    try:
        int("lost")
    except ValueError:
        logging.getLogger("a.library").exception("it failed")
    line = json.loads(logged()[0])
    assert "invalid literal for int() with base 10: 'lost'" in line["exception"]


def test_text_that_is_no_text_does_not_break_the_line(logged: Lines) -> None:
    configure("json", "info")
    structlog.get_logger().info("odd", header="caf\udce9", key={"\ud800": 1})
    line = json.loads(logged()[0])
    assert line["header"] == r"caf\udce9"


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_colours_are_for_terminals_unless_the_operator_says_otherwise(
    log_format: Literal["json", "console", "auto"],
    terminal: bool,
    is_json: bool,
    logged: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    configure(log_format, "info")
    structlog.get_logger().info("seen")
    assert logged()[0].startswith("{") is is_json


@pytest.mark.parametrize("log_format", ["json", "console", "auto"])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_every_setting_works(log_format: Literal["json", "console", "auto"], level: str, logged: Lines) -> None:
    configure(log_format, level)
    structlog.get_logger().error("seen", number=1)
    assert "seen" in "".join(logged())
