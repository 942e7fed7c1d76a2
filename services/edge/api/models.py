"""GET /v1/models: the public shelf, without a key, in the shape of whoever asks."""

from aiohttp import web

from libs.contracts.catalog import Model
from libs.errors import InvalidRequest, NotFound
from libs.protocols import ANTHROPIC_MESSAGES
from libs.runtime.app import CALLERS_PROTOCOL
from services.edge import listing
from services.edge.parts import SHELF

routes = web.RouteTableDef()


@routes.get("/")
async def root(_: web.Request) -> web.Response:
    """Agents probe the base URL before their first call; it must be quick, free and without a key."""
    return web.json_response({"service": "tokenoutput", "models": "/v1/models"})


@routes.get("/v1/models")
async def list_models(request: web.Request) -> web.Response:
    models = request.app[SHELF].shelf.snapshot.models
    if not _asks_as_anthropic(request):
        return web.json_response(listing.openai_list(models))
    page = listing.page(models, _limit(request), request.query.get("after_id"), request.query.get("before_id"))
    return web.json_response(listing.anthropic_list(page))


@routes.get("/v1/models/{id}")
async def show_model(request: web.Request) -> web.Response:
    shape = listing.anthropic_model if _asks_as_anthropic(request) else listing.openai_model
    return web.json_response(shape(_find(request)))


def _find(request: web.Request) -> Model:
    name = request.match_info["id"]
    model = request.app[SHELF].shelf.models.get(name)
    if model is None:
        raise NotFound(f"There is no model {name[:100]!r} here. GET /v1/models lists what there is.")
    return model


def _asks_as_anthropic(request: web.Request) -> bool:
    """Whether they do; if so, errors are in their shape too."""
    asks = "anthropic-version" in request.headers or "x-api-key" in request.headers
    if asks:
        request[CALLERS_PROTOCOL] = ANTHROPIC_MESSAGES
    return asks


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(listing.DEFAULT_LIMIT))
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= listing.MAX_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {listing.MAX_LIMIT}.", param="limit")
    return int(text)
