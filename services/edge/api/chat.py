"""POST /v1/chat/completions: OpenAI Chat Completions."""

from aiohttp import web

from libs.protocols import OPENAI_CHAT
from services.edge.api.complete import complete

routes = web.RouteTableDef()


@routes.post("/v1/chat/completions")
async def chat_completions(request: web.Request) -> web.StreamResponse:
    return await complete(request, OPENAI_CHAT)
