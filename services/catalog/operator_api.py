"""The admin API: a port and a token of its own. What it is asked for is done at the desk."""

from typing import Final, TypeVar

import msgspec
from aiohttp import web

from libs import errors
from libs.runtime.app import JSON, Handler, note
from libs.runtime.operators import new_operator_app
from libs.runtime.postgres import Pool
from services.catalog import desk, store
from services.catalog.overlay import Kind
from services.catalog.parts import POOL
from services.catalog.settings import CatalogSettings

ROOT: Final = "/admin/v1"
KINDS: Final[dict[str, Kind]] = {"providers": "provider", "offers": "offer", "credentials": "credential"}
THING: Final = "/{kind:" + "|".join(KINDS) + "}"

T = TypeVar("T")
SEAL: Final = web.AppKey[desk.Seal | None]("seal")

routes: Final = web.RouteTableDef()


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is paused, for the next person who looks."""

    reason: str


def operator_app(service: web.Application, settings: CatalogSettings, pool: Pool) -> web.Application:
    """The admin API beside ``service``."""
    app = new_operator_app(service, settings)
    app.middlewares.append(_explained)
    app[POOL] = pool
    ring = settings.ring()
    app[SEAL] = None if ring is None else ring.seal  # only that: nothing in here opens
    app.add_routes(routes)
    return app


@routes.get(ROOT + THING)
async def look(request: web.Request) -> web.Response:
    """Everything of a kind. Secrets are never among it."""
    async with request.app[POOL].acquire() as connection:
        return _answer({"object": "list", "data": await desk.look(connection, _kind(request))})


@routes.post(ROOT + "/credentials")
async def add(request: web.Request) -> web.Response:
    """Stores a credential. Its secret goes in here and comes out nowhere."""
    wanted = await _body(request, desk.Wanted)
    note(request, provider=wanted.provider, credential=wanted.id)
    async with request.app[POOL].acquire() as connection:
        return _answer(await desk.add(connection, request.app[SEAL], wanted), 201)


@routes.delete(ROOT + "/credentials/{id}")
async def remove(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    async with request.app[POOL].acquire() as connection:
        await desk.remove(connection, name)
    note(request, credential=name)
    return _answer({"id": name, "deleted": True})


@routes.post(ROOT + THING + "/{id}/pause")
async def pause(request: web.Request) -> web.Response:
    kind, name = _kind(request), request.match_info["id"]
    said = await _body(request, Reason)
    async with request.app[POOL].acquire() as connection:
        answer = await desk.pause(connection, kind, name, said.reason)
    note(request, **{kind: name})
    return _answer(answer)


@routes.post(ROOT + THING + "/{id}/resume")
async def resume(request: web.Request) -> web.Response:
    kind, name = _kind(request), request.match_info["id"]
    async with request.app[POOL].acquire() as connection:
        answer = await desk.resume(connection, kind, name)
    note(request, **{kind: name})
    return _answer(answer or {"id": name, "paused": False})


@web.middleware
async def _explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except desk.Unknown as error:
        raise errors.NotFound(error.reason, param=error.param) from error
    except desk.NotDone as error:
        raise errors.InvalidRequest(error.reason, param=error.param) from error
    except store.FAILED as error:
        raise errors.Unavailable("The catalog's database is away.", retry_after=1) from error


def _kind(request: web.Request) -> Kind:
    return KINDS[request.match_info["kind"]]


async def _body(request: web.Request, shape: type[T]) -> T:
    """Its mistakes are told by place, never by value: the value may be a secret."""
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.ValidationError as error:
        raise errors.InvalidRequest(f"The body does not fit: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.InvalidRequest("The body is not JSON.") from error


def _answer(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type=JSON)
