"""A service's door for its operator: a port of its own, which only the operator's token opens."""

import errno
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from libs import errors
from libs.runtime.app import Handler, new_app
from libs.runtime.metrics import METRICS
from libs.runtime.run import PortTaken, http_log
from libs.runtime.settings import ServiceSettings

MIN_TOKEN: Final = 24
MAX_BODY: Final = 64 << 10
TOKEN: Final = web.AppKey("token", bytes)


class OperatorSettings(ServiceSettings):
    """What a service with such a door reads."""

    operator_host: str = Field(default="127.0.0.1", description="Address of the admin API.")
    operator_port: int = Field(default=0, description="Port of the admin API; 0 is off.", ge=0, le=65535)
    operator_token: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description=f"Secret: the admin API's bearer token, at least {MIN_TOKEN} characters. Needed where that is on.",
    )

    @field_validator("operator_token", mode="before")
    @classmethod
    def _no_token(cls, value: object) -> object:
        return value or None

    @field_validator("operator_token")
    @classmethod
    def _refuse_weak_token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("operator_port"):
            raise ValueError("is empty, and the admin API is on")
        if value is not None and info.data.get("env") != "dev" and len(value.get_secret_value()) < MIN_TOKEN:
            raise ValueError(f"is shorter than {MIN_TOKEN} characters")
        return value


def new_operator_app(service: web.Application, settings: OperatorSettings) -> web.Application:
    """An application that only the operator may call; it counts into the metrics of ``service``."""
    if settings.operator_token is None:
        raise ValueError("the admin API needs a token")
    app = new_app(settings, public=True, max_body=MAX_BODY)
    app.middlewares.append(_operators_only)
    app[METRICS] = service[METRICS]
    app[TOKEN] = settings.operator_token.get_secret_value().encode()
    return app


@asynccontextmanager
async def listening(app: web.Application, settings: OperatorSettings) -> AsyncIterator[None]:
    """Answers on the operator's port until the context ends."""
    runner = web.AppRunner(app, access_log=None, logger=http_log, auto_decompress=False)
    await runner.setup()
    try:
        await _listen(runner, settings)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: OperatorSettings) -> None:
    host, port = settings.operator_host, settings.operator_port
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        name = f"TOKENOUTPUT_{settings.scope.upper()}_OPERATOR_PORT"
        raise PortTaken(f"{settings.scope}: port {port} on {host} is taken; set {name}") from error


@web.middleware
async def _operators_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nothing but the operator's own token, whatever else is a good one elsewhere. Compared in constant time."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    sent = token.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() != "bearer" or not hmac.compare_digest(sent, request.app[TOKEN]):
        raise errors.AuthenticationFailed("This is the admin API: it wants the operator's token as a bearer.")
    return await handler(request)
