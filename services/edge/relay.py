"""The same bytes to the router, and the answer back as it comes."""

import asyncio
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from libs.contracts import dispatch
from libs.errors import Unavailable, UpstreamFailed
from libs.runtime import client, failpoint
from libs.runtime.app import note
from libs.runtime.identity import Identity
from libs.runtime.pulse import pulse

log = structlog.get_logger()

RETRY_AFTER: Final = 2
AWAY: Final = "The gateway is restarting a part of itself; nothing was charged."
GONE: Final = "The gateway is restarting a part of itself; try again."
EVENT_STREAM: Final = "text/event-stream"
COPIED: Final = (
    *("content-type", "retry-after", "x-should-retry", "cache-control", "x-accel-buffering"),
    *("x-tokenoutput-dropped", "x-tokenoutput-attempts"),
)
BEAT_SECONDS: Final = 1.0


class RouterAway(Unavailable):
    """The router did not take the request, so nothing can have been spent."""


class CallerLeft(ConnectionResetError):
    """Before the answer was over. The router may have the request or may not."""


class Relay:
    """The leg from the edge to the router."""

    def __init__(self, session: aiohttp.ClientSession, url: str, identity: Identity, answer_seconds: float) -> None:
        self._session = session
        self._address = f"{url}{dispatch.PATH}"
        self._identity = identity
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=3)

    async def send(self, request: web.Request, body: bytes, sealed: str, extra: dict[str, str]) -> web.StreamResponse:
        """Raises RouterAway when the router cannot be reached, Unavailable when it stopped in that moment,
        UpstreamFailed when its answer is lost; CallerLeft."""
        headers = {
            **self._identity.authorization("router"),
            dispatch.HEADER: sealed,
            "content-type": "application/json",
            **{name: request.headers[name] for name in dispatch.FORWARDED_HEADERS if name in request.headers},
        }
        limit = asyncio.timeout(None)
        try:
            with pulse(BEAT_SECONDS, lambda: _hang_up_with(request, limit)):
                async with limit:
                    return await self._carry(request, body, headers, extra)
        except TimeoutError as error:
            if not limit.expired():
                raise
            note(request, client_gone=True)
            raise CallerLeft("the caller hung up") from error

    async def _carry(
        self, request: web.Request, body: bytes, headers: dict[str, str], extra: dict[str, str]
    ) -> web.StreamResponse:
        try:
            upstream = await self._session.post(
                self._address, data=client.payload(body), headers=headers, timeout=self._timeout
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            log.warning("router_away", error=repr(error))
            raise RouterAway(AWAY, retry_after=RETRY_AFTER) from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # it stopped: whether it took the request is not known
            log.warning("router_gone", error=repr(error))
            raise Unavailable(GONE, retry_after=RETRY_AFTER) from error
        except client.Failed as error:
            log.warning("router_lost", error=repr(error))
            raise UpstreamFailed("The connection inside the gateway broke before there was an answer.") from error
        async with upstream:
            if __debug__:
                await failpoint.reached("edge.dispatched")
            if not all(upstream.headers.get(name) == value for name, value in dispatch.ANSWERED.items()):
                log.error("router_refused_us", status=upstream.status)
                raise RouterAway(AWAY, retry_after=RETRY_AFTER)
            return await _copy(request, upstream, extra)


def _hang_up_with(request: web.Request, limit: asyncio.Timeout) -> None:
    """The router learns at once that the caller has left, also while the provider is silent."""
    if request.transport is None or request.transport.is_closing():
        limit.reschedule(asyncio.get_running_loop().time())


async def _copy(request: web.Request, upstream: aiohttp.ClientResponse, extra: dict[str, str]) -> web.StreamResponse:
    headers = {
        **{name: upstream.headers[name] for name in COPIED if name in upstream.headers},
        **extra,
    }
    if not upstream.headers.get("content-type", "").startswith(EVENT_STREAM):
        return await _whole(upstream, headers)
    response = web.StreamResponse(status=upstream.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
    except ConnectionError:
        note(request, client_gone=True)
        raise
    except client.Failed as error:
        _cut(request, error)
    await response.write_eof()
    return response


async def _whole(upstream: aiohttp.ClientResponse, headers: dict[str, str]) -> web.Response:
    try:
        body = await upstream.read()
    except client.Failed as error:
        raise UpstreamFailed("The connection inside the gateway broke in the middle of the answer.") from error
    return web.Response(status=upstream.status, body=body, headers=headers)


def _cut(request: web.Request, error: BaseException) -> None:
    """Ends the caller's connection the way the router's ended: without the mark of a complete answer."""
    log.warning("answer_cut", error=repr(error))
    note(request, cut=True)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the answer broke off") from error
