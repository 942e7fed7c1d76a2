"""The only file that calls providers."""

import functools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from libs import ids
from libs.contracts.dispatch import Dispatch
from libs.errors import UpstreamFailed, UpstreamTimeout
from libs.protocols import ANTHROPIC_MESSAGES
from libs.runtime import client
from services.router.choose import Chosen

log = structlog.get_logger()

USER_AGENT: Final = "tokenoutput/0.1"
DEFAULT_VERSION: Final = "2023-06-01"
Broken: Final = client.Failed


@functools.cache
def credential(name: str) -> str:
    """A provider credential by the environment name the catalog gives, else from the file in ``NAME_FILE``; or ""."""
    path = os.environ.get(f"{name}_FILE")
    return os.environ.get(name) or (Path(path).read_text(encoding="utf-8").strip() if path else "")


class Upstream:
    """Calls offers. One session, no cookies; headers are made here, none of the caller's passes but by name."""

    def __init__(self, session: aiohttp.ClientSession, *, silence_seconds: float, answer_seconds: float) -> None:
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=10, sock_read=silence_seconds)

    @asynccontextmanager
    async def call(
        self, chosen: Chosen, order: Dispatch, body: bytes, forwarded: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The provider's answer, its body unread. Raises UpstreamFailed or UpstreamTimeout."""
        headers = headers_for(chosen, order, forwarded)
        response = await self._post(chosen.endpoint.url, body, headers)
        async with response:
            yield response

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._once(url, body, headers)
        except aiohttp.ServerDisconnectedError:
            # A kept-alive connection that the provider had closed meanwhile: nothing was answered, nothing was begun.
            return await self._retry(url, body, headers)
        except TimeoutError as error:
            raise UpstreamTimeout("The provider did not answer in time.") from error
        except client.Failed as error:
            raise UpstreamFailed("The provider could not be reached.") from error

    async def _retry(self, url: str, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._once(url, body, headers)
        except client.Failed as error:
            raise UpstreamFailed("The provider closed the connection without an answer.") from error

    async def _once(self, url: str, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        return await self._session.post(
            url, data=client.payload(body), headers=headers, timeout=self._timeout, allow_redirects=False
        )


def headers_for(chosen: Chosen, order: Dispatch, forwarded: Mapping[str, str]) -> dict[str, str]:
    """Every header of a provider call, made from scratch."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if order.stream else "application/json",
        "accept-encoding": "identity",
        "user-agent": USER_AGENT,
        "x-client-request-id": ids.public(order.request_id),
    }
    if chosen.endpoint.auth == "x-api-key":
        headers["x-api-key"] = chosen.endpoint.credential
    else:
        headers["authorization"] = f"Bearer {chosen.endpoint.credential}"
    if chosen.offer.protocol == ANTHROPIC_MESSAGES:
        headers["anthropic-version"] = forwarded.get("anthropic-version", DEFAULT_VERSION)
        if beta := forwarded.get("anthropic-beta"):
            headers["anthropic-beta"] = beta
    return headers
