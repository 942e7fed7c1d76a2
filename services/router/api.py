"""The internal door: one admitted request, its body as the caller sent it."""

import asyncio
from typing import Final

from aiohttp import web

from libs import errors, ids
from libs.contracts import dispatch
from libs.runtime.app import CALLERS_PROTOCOL, REQUEST_ID, error_response, note
from services.router.dispatch import Switchboard
from services.router.settings import RouterSettings

routes = web.RouteTableDef()

SETTINGS: Final = web.AppKey("settings", RouterSettings)
SWITCHBOARD: Final = web.AppKey("switchboard", Switchboard)

SSE_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class HttpSink:
    """The caller's connection, opened with the first byte there is for it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._opening = asyncio.Lock()
        self.response: web.StreamResponse | None = None
        self.headers: dict[str, str] = dict(dispatch.ANSWERED)
        self.aborted = False
        self._ended = False

    @property
    def opened(self) -> bool:
        """Whether the caller has got a status already."""
        return self.response is not None

    @property
    def ended(self) -> bool:
        """Whether everything has been said, or cut."""
        return self._ended

    @property
    def gone(self) -> bool:
        return self._request.transport is None or self._request.transport.is_closing()

    async def whole(self, body: bytes) -> None:
        response = web.Response(body=body, content_type="application/json", headers=self.headers)
        self.response, self._ended = response, True
        await response.prepare(self._request)
        await response.write_eof()

    async def write(self, data: bytes) -> None:
        await (await self._stream()).write(data)

    async def end(self, last: bytes) -> None:
        self._ended = True
        await (await self._stream()).write_eof(last)

    async def fail(self, error: errors.GatewayError) -> None:
        self._ended = True
        note(self._request, stream_error=error.code)
        last = errors.last_event_of(error, self._request[CALLERS_PROTOCOL], ids.public(self._request[REQUEST_ID]))
        await (await self._stream()).write_eof(last)

    def abort(self) -> None:
        self.aborted = self._ended = True
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _stream(self) -> web.StreamResponse:
        async with self._opening:
            if self.response is None:
                self.response = web.StreamResponse(headers={**SSE_HEADERS, **self.headers})
                await self.response.prepare(self._request)
        return self.response


@routes.post(dispatch.PATH)
async def take(request: web.Request) -> web.StreamResponse:
    order = _order(request)
    request[REQUEST_ID], request[CALLERS_PROTOCOL] = order.request_id, order.protocol
    note(request, org=order.org, model=order.model, stream=order.stream)
    forwarded = {name: request.headers[name] for name in dispatch.FORWARDED_HEADERS if name in request.headers}
    sink = HttpSink(request)
    try:
        await request.app[SWITCHBOARD].run(order, request.read(), forwarded, sink)
    except errors.GatewayError as error:
        if sink.response is not None:
            sink.abort()
            raise ConnectionResetError("the answer could not be finished") from error
        answer = error_response(request, error)
        answer.headers.update(sink.headers)
        return answer
    if sink.aborted or sink.response is None:
        raise ConnectionResetError("the answer was cut")
    return sink.response


def _order(request: web.Request) -> dispatch.Dispatch:
    secret = request.app[SETTINGS].internal_secret.get_secret_value().encode()
    try:
        return dispatch.unseal(request.headers.get(dispatch.HEADER, ""), secret)
    except dispatch.BadSeal as error:
        raise errors.PermissionDenied("This request was not admitted by an edge.") from error
