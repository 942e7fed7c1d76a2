"""The admin port of a service: probes and metrics, nothing else."""

from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from libs.runtime.health import HEALTH
from libs.runtime.metrics import METRICS

SERVICE: Final = web.AppKey("service", web.Application)


def admin_app(service: web.Application) -> web.Application:
    """The probes and metrics of ``service``."""
    app = web.Application()
    app[SERVICE] = service
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    return app


async def _livez(request: web.Request) -> web.Response:
    failure = request.app[SERVICE][HEALTH].failure
    return web.json_response({"status": failure or "alive"}, status=503 if failure else 200)


async def _readyz(request: web.Request) -> web.Response:
    reasons = request.app[SERVICE][HEALTH].reasons
    status = "waiting" if reasons else "ready"
    return web.json_response({"status": status, "reasons": reasons}, status=503 if reasons else 200)


async def _metrics(request: web.Request) -> web.Response:
    body = generate_latest(request.app[SERVICE][METRICS].registry)
    return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})
