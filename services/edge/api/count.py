"""POST /v1/messages/count_tokens: how long a request is. Free, and an estimate of our own: no provider is asked."""

import asyncio
from typing import Final

from aiohttp import web

from libs import tokens
from libs.runtime.app import note
from services.edge.api import body
from services.edge.api.complete import find_model
from services.edge.head import model_to_count
from services.edge.parts import CALLERS, SETTINGS

LARGE: Final = 1 << 18  # a thread of its own: others wait for this one

routes = web.RouteTableDef()


@routes.post("/v1/messages/count_tokens")
async def count_tokens(request: web.Request) -> web.Response:
    caller = await request.app[CALLERS].identify(request)
    note(request, org=caller.org, key=caller.key)
    sent = await body.read(request, request.app[SETTINGS].max_body_bytes)
    model = find_model(request, model_to_count(sent))
    note(request, model=model.id)
    estimate = asyncio.to_thread(tokens.estimate, sent) if len(sent) > LARGE else None
    return web.json_response({"input_tokens": await estimate if estimate is not None else tokens.estimate(sent)})
