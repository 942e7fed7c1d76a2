"""The only file that calls providers."""

import functools
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import structlog

from libs import ids
from libs.contracts.dispatch import Dispatch
from libs.contracts.profile import Profile
from libs.errors import UpstreamFailed, UpstreamTimeout
from libs.protocols import ANTHROPIC_MESSAGES
from libs.runtime import client
from services.router.choose import Chosen
from services.router.prepare import Prepared

log = structlog.get_logger()

USER_AGENT: Final = "tokenoutput/0.1"
DEFAULT_VERSION: Final = "2023-06-01"
STALE_SECONDS: Final = 0.3
PROBE_SECONDS: Final = 60
PLAIN_SECONDS: Final = 600.0  # a plain answer is silent until it is done
Broken: Final = client.Failed


@functools.cache
def credential(name: str) -> str:
    """A provider credential by the environment name the catalog gives, else from the file in ``NAME_FILE``; or ""."""
    path = os.environ.get(f"{name}_FILE")
    try:
        return os.environ.get(name) or (Path(path).read_text(encoding="utf-8").strip() if path else "")
    except OSError as error:
        log.error("credential_unreadable", name=name, error=str(error))  # noqa: TRY400 - the operator's slip, not a bug
        return ""


class Leg:
    """What is known of the connection of one call."""

    reused = False


class Sent(NamedTuple):
    """One call on the wire."""

    url: str
    body: bytes
    headers: dict[str, str]
    timeout: aiohttp.ClientTimeout


class Upstream:
    """Calls offers. One session, no cookies; headers are made here, none of the caller's passes but by name."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """The session has ``reuse_noted`` among its traces."""
        self._session = session

    @asynccontextmanager
    async def call(
        self, chosen: Chosen, order: Dispatch, prepared: Prepared, forwarded: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The provider's answer, its body unread. Raises UpstreamFailed or UpstreamTimeout."""
        headers = headers_for(chosen, order, prepared, forwarded)
        times = chosen.offer.deadlines
        silence = times.idle if prepared.stream else max(times.idle, PLAIN_SECONDS)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=times.connect, sock_read=silence)
        response = await self._post(Sent(chosen.endpoint.url, prepared.body, headers, timeout))
        async with response:
            yield response

    @asynccontextmanager
    async def probe(self, chosen: Chosen, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """A plain call that no caller asked for. Raises UpstreamFailed or UpstreamTimeout."""
        headers = {**_plain_headers(chosen), "accept": "application/json"}
        timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS, sock_connect=chosen.offer.deadlines.connect)
        response = await self._post(Sent(chosen.endpoint.url, body, headers, timeout))
        async with response:
            yield response

    async def _post(self, sent: Sent) -> aiohttp.ClientResponse:
        try:
            return await self._once_or_again(sent)
        except TimeoutError as error:
            raise UpstreamTimeout("The provider did not answer in time.") from error
        except client.Failed as error:
            raise UpstreamFailed("The provider could not be reached, or hung up without an answer.") from error

    async def _once_or_again(self, sent: Sent) -> aiohttp.ClientResponse:
        """Again only when a kept-alive connection turned out to be closed, which shows at once: then nothing was begun.
        On a fresh one, or later, the provider may have worked, and would bill twice."""
        leg, begun = Leg(), time.monotonic()
        try:
            return await self._once(sent, leg)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not leg.reused or time.monotonic() - begun > STALE_SECONDS:
                raise
            return await self._once(sent, Leg())

    async def _once(self, sent: Sent, leg: Leg) -> aiohttp.ClientResponse:
        return await self._session.post(
            sent.url,
            data=client.payload(sent.body),
            headers=sent.headers,
            timeout=sent.timeout,
            allow_redirects=False,
            trace_request_ctx=leg,
        )


def reuse_noted() -> aiohttp.TraceConfig:
    """A trace that notes on a call's Leg that its connection had served before."""

    async def note(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceConnectionReuseconnParams) -> None:
        context.trace_request_ctx.reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace


def headers_for(chosen: Chosen, order: Dispatch, prepared: Prepared, forwarded: Mapping[str, str]) -> dict[str, str]:
    """Every header of a provider call, made from scratch."""
    headers = {
        **_plain_headers(chosen),
        "accept": "text/event-stream" if prepared.stream else "application/json",
        "x-client-request-id": ids.public(order.request_id),
    }
    if chosen.offer.protocol == ANTHROPIC_MESSAGES:
        asked = {} if prepared.answering is not None else forwarded
        headers["anthropic-version"] = asked.get("anthropic-version", DEFAULT_VERSION)
        if betas := _known_betas(asked.get("anthropic-beta", ""), chosen.offer.profile):
            headers["anthropic-beta"] = betas
    return headers


def _plain_headers(chosen: Chosen) -> dict[str, str]:
    there = chosen.endpoint
    by_key = {"x-api-key": there.credential}
    bearer = {"authorization": f"Bearer {there.credential}"}
    return {
        "content-type": "application/json",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        **({"anthropic-version": DEFAULT_VERSION} if chosen.offer.protocol == ANTHROPIC_MESSAGES else {}),
        **(by_key if there.auth == "x-api-key" else bearer),
    }


def _known_betas(asked: str, profile: Profile) -> str:
    """Those that the host knows: some answer 400 to any other."""
    if profile.betas is None:
        return asked
    wanted = (beta.strip() for beta in asked.split(","))
    return ",".join(beta for beta in wanted if beta and beta.startswith(profile.betas))
