"""structlog, set up once: JSON lines on stdout, colours on a terminal, no secret in either."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRETS: Final = re.compile(
    r"(\bsk-(?:[a-z]+-)*)[\w-]{8,}"  # ours and most providers' keys
    r"|\b[0-9a-f]{32}\.[A-Za-z0-9]{16}\b"  # Zhipu's
    r"|(\b(?i:bearer) )\S{8,}"
    r"|(://[^:/\s]*:)[^@\s]+(?=@)"
)


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Blanks keys, tokens and passwords inside URLs wherever they turn up in a line."""
    return {name: _blanked(value) for name, value in event.items()}


def _blanked(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_encodable(str(name)): _blanked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_blanked(inner) for inner in value]
    return SECRETS.sub(_keep_prefix, _encodable(str(value)))


def _encodable(text: str) -> str:
    """Headers come with bytes that are no UTF-8 as lone surrogates; a line must not fail for them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _keep_prefix(match: re.Match[str]) -> str:
    return f"{match[1] or match[2] or match[3] or ''}[redacted]"


def _to_json(event: Any, **_: Any) -> bytes:
    return msgspec.json.encode(event)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]


def configure(log_format: Literal["auto", "json", "console"], level: str) -> None:
    """Everything that logs in this process, libraries included, logs this way from here on."""
    console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    numeric = logging.getLevelNamesMapping()[level.upper()]
    renderer: Processor
    if console:  # its own tracebacks would show local variables, prompts among them
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        factory: Any = structlog.PrintLoggerFactory(sys.stdout)
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_to_json)
        factory = structlog.BytesLoggerFactory(sys.stdout.buffer)
    structlog.configure(
        processors=[*_shared(), structlog.processors.format_exc_info, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    for broker in ("aio_pika", "aiormq"):
        logging.getLogger(broker).setLevel(logging.CRITICAL)  # that a broker is away is ours to say, once
    logging.basicConfig(handlers=[_ToStructlog(level=logging.WARNING)], level=logging.WARNING, force=True)


class _ToStructlog(logging.Handler):
    """Hands what libraries log through the standard library to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger().bind(logger=record.name).log(level, _message(record), exc_info=record.exc_info or None)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong log call must not break the library
        return str(record.msg)
