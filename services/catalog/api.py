"""The two questions that other services ask: what is on the shelf, and what was this price."""

import re
from typing import Final

import msgspec
from aiohttp import web

from libs import errors
from libs.contracts.catalog import MAX_WAIT_SECONDS, SNAPSHOT_PATH
from libs.runtime.app import JSON
from services.catalog import store
from services.catalog.parts import POOL, WINDOW

PRICE_PATH: Final = "/internal/v1/prices/{price_id}"
_SECONDS: Final = re.compile(r"\d{1,6}", re.ASCII)

routes: Final = web.RouteTableDef()


@routes.get(SNAPSHOT_PATH)
async def snapshot(request: web.Request) -> web.Response:
    """The shelf; with ``?wait=SECONDS`` a 304 is held back until the shelf changes or the time is over."""
    known = {tag.value for tag in request.if_none_match or ()}
    edition = await request.app[WINDOW].other_than(known, _wait(request))
    headers = {"etag": f'"{edition.etag}"'}
    if edition.etag in known:
        return web.Response(status=304, headers=headers)
    return web.Response(body=edition.body, headers=headers, content_type=JSON)


@routes.get(PRICE_PATH)
async def price(request: web.Request) -> web.Response:
    """One price version and when it was in force, whether it still is or not."""
    try:
        async with request.app[POOL].acquire() as connection:
            record = await store.price(connection, request.match_info["price_id"])
    except store.FAILED as error:
        raise errors.Unavailable("The catalog's database is away.", retry_after=1) from error
    if record is None:
        raise errors.NotFound("There is no such price.")
    return web.Response(body=msgspec.json.encode(record), content_type=JSON)


def _wait(request: web.Request) -> int:
    text = request.query.get("wait", "0")
    if not _SECONDS.fullmatch(text):
        raise errors.InvalidRequest("wait is a whole number of seconds.", param="wait")
    return min(int(text), MAX_WAIT_SECONDS)
