"""A provider's response as events, whatever it chose to send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import aiohttp

from libs import sse
from libs.errors import UpstreamFailed
from libs.protocols import Protocol
from services.router import whole
from services.router.upstream import Broken

EVENT_STREAM: Final = "text/event-stream"
CUT: Final = "The provider broke off in the middle of the answer."
LAST_BYTES_SECONDS: Final = 0.1


def is_stream(response: aiohttp.ClientResponse) -> bool:
    return response.content_type == EVENT_STREAM


async def body_of(response: aiohttp.ClientResponse) -> bytes:
    """Raises UpstreamFailed when it breaks off."""
    try:
        return await response.read()
    except Broken as error:
        raise UpstreamFailed(CUT) from error


async def events(response: aiohttp.ClientResponse, protocol: Protocol) -> AsyncIterator[sse.Event]:
    """The answer's events. One that came whole is taken apart into those its stream would have had.

    Raises UpstreamFailed for a whole body that is no answer, EventTooLarge, or one of Broken.
    """
    if not is_stream(response):
        for event in whole.as_events(await body_of(response), protocol):
            yield event
        return
    reader = sse.Reader()
    async for chunk in response.content.iter_any():
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


async def let_end(response: aiohttp.ClientResponse) -> None:
    """The caller has its answer; the last bytes are read so that the connection can serve the next request."""
    with suppress(*Broken):
        async with asyncio.timeout(LAST_BYTES_SECONDS):
            while await response.content.readany():
                pass
