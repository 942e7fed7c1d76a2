"""This router's part of the admin API: how its providers do, and a call to try one. Each router knows its own."""

import time
from typing import Any, Final

import msgspec
from aiohttp import web

from libs.contracts.catalog import Offer, Shelf
from libs.errors import GatewayError, NotFound
from libs.protocols import OPENAI_CHAT
from libs.runtime.operators import OperatorSettings, new_operator_app
from services.router import reading, refusals
from services.router.choose import Chosen
from services.router.switch import Switch
from services.router.upstream import Upstream

ROOT: Final = "/admin/v1"
SWITCH: Final = web.AppKey("switch", Switch)
UPSTREAM: Final = web.AppKey("upstream", Upstream)
WORD: Final = "Say yes."
FEW_TOKENS: Final = 16

routes: Final = web.RouteTableDef()


def operator_app(
    service: web.Application, settings: OperatorSettings, switch: Switch, calls: Upstream
) -> web.Application:
    """The admin API beside ``service``."""
    app = new_operator_app(service, settings)
    app[SWITCH], app[UPSTREAM] = switch, calls
    app.add_routes(routes)
    return app


@routes.get(f"{ROOT}/health")
async def health(request: web.Request) -> web.Response:
    """Breakers of everything that was called, and the calls under way by credential."""
    switch = request.app[SWITCH]
    found = {"object": "list", "data": switch.health(), "in_flight": switch.in_flight()}
    return web.Response(body=msgspec.json.encode(found), content_type="application/json")


@routes.post(f"{ROOT}/offers/{{id}}/test")
async def test(request: web.Request) -> web.Response:
    """One short call with each of the offer's credentials. It costs what the provider bills for it."""
    switch = request.app[SWITCH]
    offer = find(switch.shelf, request.match_info["id"])
    tried = [await _try(request.app[UPSTREAM], chosen) for chosen in switch.all_of(offer)]
    return web.json_response({"object": "list", "offer": offer.id, "data": tried})


def find(shelf: Shelf, offer_id: str) -> Offer:
    """Raises NotFound."""
    found = next((offer for offer in shelf.snapshot.offers if offer.id == offer_id), None)
    if found is None:
        raise NotFound(f"There is no offer {offer_id[:100]!r}.")
    return found


async def _try(calls: Upstream, chosen: Chosen) -> dict[str, Any]:
    begun = time.monotonic()
    try:
        async with calls.probe(chosen, _question(chosen.offer)) as response:
            body = await reading.body_of(response)
            failure = None if response.status // 100 == 2 else refusals.refusal(response.status, body)
            status = response.status
    except GatewayError as error:
        failure, status = error, 0
    return {
        "credential": chosen.credential_id,
        "simulated": chosen.endpoint.simulated,
        "ok": failure is None,
        "status": status,
        "reason": failure.message if failure is not None else None,
        "ms": round((time.monotonic() - begun) * 1000),
    }


def _question(offer: Offer) -> bytes:
    cap = offer.profile.cap_field if offer.protocol == OPENAI_CHAT else "max_tokens"
    messages = [{"role": "user", "content": WORD}]
    return msgspec.json.encode({"model": offer.upstream_model, cap: FEW_TOKENS, "messages": messages})
