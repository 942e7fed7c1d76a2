"""Every service's application: request id, errors in the caller's shape, one log line and the metrics of a request."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from libs import errors, ids
from libs.protocols import Protocol, protocol_of_path
from libs.runtime.clock import now_ms
from libs.runtime.health import HEALTH, Health
from libs.runtime.identity import Identity, NotTrusted
from libs.runtime.metrics import METRICS, Metrics, route_of
from libs.runtime.settings import ServiceSettings

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID: Final = web.RequestKey("request_id", UUID)
CALLERS_PROTOCOL: Final = web.RequestKey[Protocol]("callers_protocol")
ERROR: Final = web.RequestKey("error", errors.GatewayError)
FACTS: Final = web.RequestKey("facts", dict[str, object])
IDENTITY: Final = web.AppKey("identity", Identity)

JSON: Final = "application/json"
SERVER: Final = "tokenoutput"
_HTTP_ERRORS: Final[dict[int, Callable[[web.HTTPException], errors.GatewayError]]] = {
    404: lambda _: errors.NotFound(
        "There is nothing at this address. GET /v1/models lists what is sold; the docs list the addresses."
    ),
    405: lambda error: errors.MethodNotAllowed(f"This address takes {error.headers.get('allow', 'another method')}."),
    413: lambda _: errors.RequestTooLarge("The request body is larger than this gateway accepts."),
}


def new_app(settings: ServiceSettings, *, public: bool = False, max_body: int = 1 << 20) -> web.Application:
    """An application with the shell around it. Only a ``public`` one may be called without a service token."""
    middlewares = [_shell] if public else [_shell, _services_only]
    app = web.Application(middlewares=middlewares, client_max_size=max_body)
    app.on_response_prepare.append(_sign)
    app[HEALTH] = Health()
    app[METRICS] = Metrics(settings.scope)
    app[IDENTITY] = Identity(settings.scope, settings.internal_secret.get_secret_value().encode())
    return app


def note(request: web.Request, **facts: object) -> None:
    """Adds facts to the request's one log line. Never prompts, never keys."""
    request[FACTS].update(facts)


def _new_id() -> UUID:
    return ids.uuid7(now_ms(), secrets.token_bytes(ids.RANDOM_BYTES))


def error_response(request: web.Request, error: errors.GatewayError) -> web.Response:
    """The error in the shape of the caller's protocol."""
    request[ERROR] = error
    protocol = request.get(CALLERS_PROTOCOL) or protocol_of_path(request.path)
    return web.Response(
        status=errors.status_of(error, protocol),
        body=errors.body_of(error, protocol, ids.public(request[REQUEST_ID])),
        headers=errors.headers_of(error),
        content_type=JSON,
    )


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    """Both protocols' request-id header on every answer, streams and errors included."""
    request_id = request.get(REQUEST_ID) or _new_id()  # aiohttp answers some requests before they get here
    response.headers["x-request-id"] = response.headers["request-id"] = ids.public(request_id)
    response.headers["server"] = SERVER


@web.middleware
async def _shell(request: web.Request, handler: Handler) -> web.StreamResponse:
    started, metrics = time.perf_counter(), request.app[METRICS]
    request[REQUEST_ID] = _new_id()
    request[FACTS] = {}
    status = 499  # the caller hung up before there was an answer (nginx's number for it)
    metrics.in_flight.labels(metrics.service).inc()
    try:
        response = await _answer(request, handler)
        status = response.status
        return response
    finally:
        metrics.in_flight.labels(metrics.service).dec()
        seconds = time.perf_counter() - started
        metrics.count(request, status, seconds)
        _log_line(request, status, seconds)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except errors.GatewayError as error:
        response = error_response(request, error)
    except web.HTTPException as error:
        if error.status not in _HTTP_ERRORS:
            raise
        response = error_response(request, _HTTP_ERRORS[error.status](error))
    except ConnectionError:
        raise  # the caller is gone; there is nobody to answer
    except HttpProcessingError as error:
        response = error_response(request, errors.InvalidRequest(f"The body cannot be read: {error.message}."))
    except Exception:  # the last line of defence: a fault of ours becomes a 500 with an id
        log.exception("unhandled", request_id=ids.public(request[REQUEST_ID]), route=route_of(request))
        response = error_response(request, errors.InternalError("Something went wrong here; it has been recorded."))
    return response


def _log_line(request: web.Request, status: int, seconds: float) -> None:
    error = request.get(ERROR)
    log.info(
        "request",
        service=request.app[METRICS].service,
        request_id=ids.public(request[REQUEST_ID]),
        method=request.method,
        route=route_of(request),
        status=status,
        ms=round(seconds * 1000, 1),
        **({"error": error.code or error.openai_type} if error else {}),
        **({"why": error.message} if error and not error.quotes_provider else {}),
        **request[FACTS],
    )


@web.middleware
async def _services_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Internal ports answer nobody who cannot show a service token."""
    try:
        caller = request.app[IDENTITY].caller(request.headers.get("authorization"))
    except NotTrusted as error:
        raise errors.AuthenticationFailed(f"This is an internal address: {error}.") from error
    note(request, caller=caller)
    return await handler(request)
