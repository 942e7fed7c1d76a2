"""One try of one offer: the provider's answer to the caller, and the record of how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final, Protocol

import aiohttp
import structlog

from libs import sse
from libs.contracts import usage
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, Unavailable, UpstreamFailed
from libs.pricing import Usage
from libs.protocols import OPENAI_CHAT
from libs.runtime.clock import now_ms
from services.router import meter, record, refusals, whole
from services.router.chat_passage import ChatPassage
from services.router.choose import Chosen
from services.router.messages_passage import MessagesPassage
from services.router.passage import Passage
from services.router.spool import Spool, SpoolFailed
from services.router.upstream import Broken

log = structlog.get_logger()

EVENT_STREAM: Final = "text/event-stream"
CUT: Final = "The provider broke off in the middle of the answer."
LAST_BYTES_SECONDS: Final = 0.1
NOT_KEPT: Final = "The answer could not be recorded, so it cannot be given; it was not charged."


class NotKept(Unavailable):
    """The terminal record could not be written: the start record stands."""


class Sink(Protocol):
    """Where the answer goes. Writing raises ConnectionError once the caller is gone."""

    async def whole(self, body: bytes) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, last: bytes) -> None: ...
    async def fail(self, error: GatewayError) -> None: ...
    def abort(self) -> None: ...


class LiveAttempt:
    """State of one request between its start record and its terminal record."""

    def __init__(self, order: Dispatch, chosen: Chosen, started: usage.UsageEvent, spool: Spool, sink: Sink) -> None:
        self.cost = 0
        self._order = order
        self._chosen = chosen
        self._started = started
        self._spool = spool
        self._sink = sink
        self._passage: Passage | None = None
        self._recorded = False
        self._status = 0
        self._first_token_at: int | None = None
        self._upstream_id: str | None = None
        self._client_gone = False
        self._body_bytes = 0

    async def go(
        self,
        call: AbstractAsyncContextManager[aiohttp.ClientResponse],
        body_bytes: int,
        hangup_seconds: float,
    ) -> None:
        """Raises the GatewayError that is the answer. However it ends, ``cost`` is what the hold is settled with."""
        self._body_bytes = body_bytes
        try:
            async with call as response:
                self._status = response.status
                await _refuse(response)
                if response.content_type == EVENT_STREAM and self._order.stream:
                    await self._stream(response, hangup_seconds)
                else:
                    await self._whole(response)
        except NotKept:
            raise
        except GatewayError as error:
            await self._record("void", error.code or "refused", Usage())
            raise
        except BaseException:  # cancelled, or a fault of ours: what was delivered is owed all the same
            if not self._recorded:
                await asyncio.shield(self._record_what_is_known())
            raise

    async def _whole(self, response: aiohttp.ClientResponse) -> None:
        answer = whole.answer(await _read(response), self._order, self._started.started_at)
        self._upstream_id, self._first_token_at = answer.upstream_id, now_ms()
        if answer.usage is not None:
            await self._record("usage", "complete", answer.usage)
        else:
            await self._record("estimated", "no_usage", self._estimate(None, answer.delivered))
        try:
            await self._sink.whole(answer.body)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)

    async def _stream(self, response: aiohttp.ClientResponse, hangup_seconds: float) -> None:
        passage = self._passage = self._new_passage()
        try:
            async with asyncio.timeout(None) as limit:
                await self._carry(passage, response, limit, hangup_seconds)
        except (*Broken, sse.EventTooLarge) as error:
            log.warning("upstream_broke", offer=self._chosen.offer.id, error=repr(error))
        if not passage.complete and not self._client_gone:
            passage.failure = passage.failure or UpstreamFailed(CUT)
        if passage.failure is not None and self._first_token_at is None:
            raise passage.failure
        await self._record_stream(passage)
        await self._finish(passage)
        await _let_end(response)

    async def _carry(
        self, passage: Passage, response: aiohttp.ClientResponse, limit: asyncio.Timeout, hangup_seconds: float
    ) -> None:
        """Event by event to the caller; when it hangs up, on to the usage or off at once, as the provider bills."""
        async for event in _events(response):
            data = passage.feed(event)
            if data and not self._client_gone and not await self._deliver(data):
                if self._chosen.offer.on_disconnect == "cancel":
                    return
                limit.reschedule(asyncio.get_running_loop().time() + hangup_seconds)
            if passage.stop_reading:
                return

    async def _deliver(self, data: bytes) -> bool:
        if self._first_token_at is None:
            self._first_token_at = now_ms()
        try:
            await self._sink.write(data)
        except ConnectionError:
            self._client_gone = True
        return not self._client_gone

    async def _record_what_is_known(self) -> None:
        if self._passage is None:
            await self._record("void", "interrupted", Usage())
        else:
            await self._record_stream(self._passage, "interrupted")

    async def _record_stream(self, passage: Passage, reason: str | None = None) -> None:
        reason = reason or ("complete" if passage.complete else "client_gone" if self._client_gone else "cut")
        self._upstream_id = passage.upstream_id
        if passage.final and passage.usage is not None:
            await self._record("usage", reason, passage.usage)
        elif passage.delivered == 0:
            await self._record("void", reason, Usage())
        else:
            await self._record("estimated", reason, self._estimate(passage.usage, passage.delivered))

    async def _finish(self, passage: Passage) -> None:
        """Tells the caller how it ended: only a whole answer ends like one."""
        try:
            if self._client_gone:
                self._sink.abort()
            elif passage.failure is None:
                await self._sink.end(passage.closing())
            elif passage.must_abort:
                self._sink.abort()
            else:
                await self._sink.fail(passage.failure)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)

    def _new_passage(self) -> Passage:
        make = ChatPassage if self._order.protocol == OPENAI_CHAT else MessagesPassage
        return make(self._order, self._started.started_at)

    def _estimate(self, known: Usage | None, delivered: int) -> Usage:
        guess = meter.estimate(known, self._body_bytes, delivered)
        return Usage(
            input=min(guess.input, self._order.input_bound),
            cache_read=guess.cache_read,
            cache_write=guess.cache_write,
            cache_write_1h=guess.cache_write_1h,
            output=min(guess.output, self._order.output_cap * self._order.choices),
        )

    async def _record(self, outcome: usage.Outcome, reason: str, used: Usage) -> None:
        """Commits the terminal record. The caller sees no end before this returns. Raises NotKept."""
        how = record.End(
            outcome=outcome,
            reason=reason,
            usage=used,
            status=self._status,
            ended_at=now_ms(),
            first_token_at=self._first_token_at,
            upstream_id=self._upstream_id,
            client_gone=self._client_gone,
        )
        ended = record.end(self._started, self._order, how)
        self._recorded, self.cost = True, min(ended.cost, self._order.hold.amount)
        committing = asyncio.ensure_future(self._spool.finish(self._order.request_id, usage.encode_event(ended)))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:  # the writer has the record already: whether it could keep it decides the cost
            await asyncio.wait({committing})
            if committing.exception() is not None:
                self.cost = 0
            raise
        except SpoolFailed as error:
            self.cost = 0
            log.error("spool_failed", error=str(error))  # noqa: TRY400 - a full disk is not a bug
            raise NotKept(NOT_KEPT) from error


async def _refuse(response: aiohttp.ClientResponse) -> None:
    """Raises what a status other than 2xx means to the caller."""
    if response.status // 100 == 2:
        return
    body = await _read(response)
    raise refusals.refusal(response.status, body, response.headers.get("retry-after"))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.read()
    except Broken as error:
        raise UpstreamFailed(CUT) from error


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[sse.Event]:
    reader = sse.Reader()
    async for chunk in response.content.iter_any():
        for event in reader.feed(chunk):
            yield event
    for event in reader.finish():
        yield event


async def _let_end(response: aiohttp.ClientResponse) -> None:
    """The caller has its answer; the last bytes are read so that the connection can serve the next request."""
    with suppress(*Broken):
        async with asyncio.timeout(LAST_BYTES_SECONDS):
            while await response.content.readany():
                pass
