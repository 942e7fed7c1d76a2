"""POST /v1/messages: Anthropic Messages."""

from aiohttp import web

from libs.protocols import ANTHROPIC_MESSAGES
from services.edge.api.complete import complete

routes = web.RouteTableDef()


@routes.post("/v1/messages")
async def messages(request: web.Request) -> web.StreamResponse:
    return await complete(request, ANTHROPIC_MESSAGES)
