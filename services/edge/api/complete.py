"""One completion, whichever protocol it came in: who, what, how much at most, and off to the router."""

from typing import NamedTuple

from aiohttp import web

from libs.contracts import dispatch
from libs.contracts.catalog import Model
from libs.errors import ModelNotFound
from libs.protocols import Protocol
from libs.runtime import failpoint
from libs.runtime.app import REQUEST_ID, note
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Payer
from services.edge import ask as asking
from services.edge.api import body as packed
from services.edge.ask import Ask
from services.edge.callers import Caller
from services.edge.head import Head, look
from services.edge.parts import ADMISSION, CALLERS, HOLDS, RELAY, SETTINGS, SHELF
from services.edge.relay import RouterAway


class _Admitted(NamedTuple):
    protocol: Protocol
    caller: Caller
    head: Head
    ask: Ask
    hold: dispatch.Hold
    accepted_at: int


async def complete(request: web.Request, protocol: Protocol) -> web.StreamResponse:
    """Answers with what the router answers, or with the refusal of whoever refused first."""
    settings, request_id, accepted_at = request.app[SETTINGS], request[REQUEST_ID], now_ms()
    caller = await request.app[CALLERS].identify(request)
    note(request, org=caller.org, key=caller.key)
    body = await packed.read(request, settings.max_body_bytes)
    head = look(body, protocol)
    model = find_model(request, head.model)
    note(request, model=model.id, stream=head.stream)
    ask = asking.first(head, model, settings.default_output_tokens)
    if __debug__:
        await failpoint.reached("edge.before_hold")
    ask, hold = await request.app[ADMISSION].hold(Payer(caller.org, caller.key, caller.cap), request_id, ask)
    if __debug__:
        await failpoint.reached("edge.held")
    sealed = _seal(request, _Admitted(protocol, caller, head, ask, hold, accepted_at))
    try:
        return await request.app[RELAY].send(request, body, sealed, _cap_header(ask))
    except RouterAway:  # in every other case the router may have it, and only what the router says ends the hold
        await request.app[HOLDS].settle(Ended(caller.org, request_id, 0))
        raise


def find_model(request: web.Request, name: str) -> Model:
    """The Model of this id. Raises ModelNotFound."""
    model = request.app[SHELF].shelf.models.get(name)
    if model is None:
        raise ModelNotFound(f"There is no model {name[:100]!r} here; see GET /v1/models.", param="model")
    return model


def _seal(request: web.Request, admitted: _Admitted) -> str:
    settings, request_id = request.app[SETTINGS], request[REQUEST_ID]
    protocol, caller, head, ask, hold, accepted_at = admitted
    model = ask.model
    hold_secret = settings.hold_secret.get_secret_value().encode()
    order = dispatch.Dispatch(
        request_id=request_id,
        org=caller.org,
        key=caller.key,
        protocol=protocol,
        model=model.id,
        stream=head.stream,
        usage_wanted=head.usage_wanted,
        choices=ask.choices,
        output_cap=ask.output_cap,
        cap_given=ask.cap_given,
        input_bound=ask.input_bound,
        price_id=model.price_id,
        price=model.price,
        hold=hold,
        hold_sig=dispatch.sign_hold(request_id, caller.org, caller.key, model.price_id, hold, secret=hold_secret),
        accepted_at=accepted_at,
        dispatch_by=hold.authorized_at + int(settings.dispatch_seconds * 1000),
    )
    return dispatch.seal(order, settings.internal_secret.get_secret_value().encode())


def _cap_header(ask: Ask) -> dict[str, str]:
    return {} if ask.cap_given else {"x-tokenoutput-max-tokens": str(ask.output_cap)}
