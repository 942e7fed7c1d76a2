"""One try of one offer: the provider's answer to the caller, and the record of how it ended."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import aiohttp
import structlog

from libs import sse, tokens
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, UpstreamFailed
from libs.runtime.clock import now_ms
from libs.runtime.pulse import pulse
from services.router import reading, refusals, whole
from services.router.choose import Chosen
from services.router.passage import Passage
from services.router.passages import Told, terms_of, told_to
from services.router.prepare import BYTES_PER_TOKEN, Prepared
from services.router.reading import CUT
from services.router.terminal import NotKept, Terminal
from services.router.upstream import Broken

log = structlog.get_logger()

BEAT_SECONDS: Final = 1.0
MAY_BE_ABOUT_LENGTH: Final = (400, 413, 422)
CAREFUL_BYTES: Final = 1 << 20


class Sink(Protocol):
    """Where the answer goes. Writing raises ConnectionError once the caller is gone."""

    headers: dict[str, str]

    @property
    def gone(self) -> bool: ...
    async def whole(self, body: bytes) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, last: bytes) -> None: ...
    async def fail(self, error: GatewayError) -> None: ...
    def abort(self) -> None: ...


class Patience(Protocol):
    """How long things may take, in seconds."""

    @property
    def hangup_seconds(self) -> float: ...
    @property
    def keep_alive_seconds(self) -> float: ...


class LiveAttempt:
    """State of one request between its start record and its terminal record."""

    def __init__(
        self, order: Dispatch, chosen: Chosen, prepared: Prepared, terminal: Terminal, *, sink: Sink, patience: Patience
    ) -> None:
        self._order = order
        self._chosen = chosen
        self._prepared = prepared
        self._terminal = terminal
        self._sink = sink
        self._patience = patience
        self._told: Told | None = None
        self._limit = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._ending = False
        self._wrote_at: float | None = None
        self._quiet_since = self._loop.time()
        self._keeping: asyncio.Task[None] | None = None
        self._remember: Callable[[Told], None] = lambda _: None

    async def go(
        self,
        call: AbstractAsyncContextManager[aiohttp.ClientResponse],
        started_ms: int,
        remember: Callable[[Told], None],
    ) -> None:
        """Raises the GatewayError that is the answer. However it ends, the terminal has its record, or none could be
        kept. ``remember`` is called before the caller sees the end, because its next request may refer to it."""
        told = self._told = told_to(self._order, self._chosen, self._prepared, started_ms)
        self._remember = remember
        try:
            with pulse(BEAT_SECONDS, self._beat):
                await self._until_the_caller_is_long_gone(call, told, started_ms)
        except NotKept:
            raise
        except GatewayError as error:
            if not self._terminal.recorded:
                await self._terminal.void(error.code or "refused")
            raise
        except BaseException:  # cancelled, or a fault of ours: what was delivered is owed all the same
            if not self._terminal.recorded:
                await asyncio.shield(self._record_stream(told.passage, "interrupted"))
            raise

    async def _until_the_caller_is_long_gone(
        self, call: AbstractAsyncContextManager[aiohttp.ClientResponse], told: Told, started_ms: int
    ) -> None:
        try:
            async with self._limit, call as response:
                await self._answer(response, told, started_ms)
        except TimeoutError:
            if not self._limit.expired():
                raise
            if not self._terminal.recorded:
                await self._record_stream(told.passage, "client_gone")
            self._sink.abort()

    async def _answer(self, response: aiohttp.ClientResponse, told: Told, started_ms: int) -> None:
        self._terminal.status = response.status
        if response.status // 100 != 2:
            raise await self._refusal(response)
        self._quiet_since = self._loop.time()
        if self._order.stream:
            await self._stream(response, told)
        elif self._prepared.answering is None and not reading.is_stream(response):
            await self._whole(response, started_ms)
        else:
            await self._folded(response, told)

    async def _refusal(self, response: aiohttp.ClientResponse) -> GatewayError:
        return refusals.refusal(
            response.status,
            await reading.body_of(response),
            response.headers.get("retry-after"),
            errors=self._chosen.offer.profile.errors,
            protocol=self._order.protocol,
            context_tokens=self._chosen.context_tokens,
            prompt_tokens=self._prompt_tokens(response.status),
        )

    def _prompt_tokens(self, status: int) -> int:
        """An estimate for a refusal that may be about the length; a quick one where a careful one would take long."""
        body = self._prepared.body
        careful = status in MAY_BE_ABOUT_LENGTH and len(body) <= CAREFUL_BYTES
        return tokens.estimate(body) if careful else len(body) // BYTES_PER_TOKEN

    async def _whole(self, response: aiohttp.ClientResponse, started_ms: int) -> None:
        """A plain answer in the caller's own protocol: its bytes, edited."""
        answer = whole.answer(await reading.body_of(response), self._order, started_ms, terms_of(self._chosen))
        self._end()
        terminal = self._terminal
        terminal.upstream_id, terminal.first_token_at = answer.upstream_id, now_ms()
        if answer.usage is not None:
            await terminal.record("usage", "complete", answer.usage)
        else:
            await terminal.record("estimated", "no_usage", terminal.estimate(None, answer.delivered))
        await self._send_whole(answer.body)

    async def _folded(self, response: aiohttp.ClientResponse, told: Told) -> None:
        """A plain answer out of events. One that breaks off is none at all, and costs nothing."""
        await self._read(response, told.passage)
        if told.passage.failure is not None:
            raise told.passage.failure
        self._end()
        outcome, used = self._terminal.charged(told.passage)
        body = told.folded(used)
        self._terminal.upstream_id, self._terminal.first_token_at = told.passage.upstream_id, now_ms()
        await self._terminal.record(outcome, "complete", used)
        self._remember(told)
        await self._send_whole(body)

    async def _send_whole(self, body: bytes) -> None:
        try:
            await self._sink.whole(body)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)

    async def _stream(self, response: aiohttp.ClientResponse, told: Told) -> None:
        await self._read(response, told.passage)
        self._end()
        if self._keeping is not None:
            await asyncio.wait({self._keeping})
        if told.passage.failure is not None and self._wrote_at is None:
            raise told.passage.failure
        await self._record_stream(told.passage)
        self._remember(told)
        await self._finish(told.passage)
        await reading.let_end(response)

    async def _read(self, response: aiohttp.ClientResponse, passage: Passage) -> None:
        """Event by event to the caller; when it hangs up, on to the usage or off at once, as the provider bills."""
        try:
            async for event in reading.events(response, self._chosen.offer.protocol):
                if (data := passage.feed(event)) and not self._terminal.client_gone:
                    await self._deliver(data)
                if passage.stop_reading:
                    break
        except (*Broken, sse.EventTooLarge) as error:
            log.warning("upstream_broke", offer=self._chosen.offer.id, error=repr(error))
        except GatewayError as error:
            passage.failure = passage.failure or error
        if not passage.complete:
            passage.failure = passage.failure or UpstreamFailed(CUT)

    async def _deliver(self, data: bytes) -> None:
        if self._terminal.first_token_at is None:
            self._terminal.first_token_at = now_ms()
        self._wrote_at = self._quiet_since = self._loop.time()
        try:
            await self._sink.write(data)
        except ConnectionError:
            self._caller_left()

    def _beat(self) -> None:
        """Once a second: has the caller left, or waited too long for a sign of life?"""
        if self._ending or self._terminal.client_gone:
            return
        if self._sink.gone:
            self._caller_left()
        elif self._order.stream and self._terminal.status // 100 == 2:
            patience = self._patience.keep_alive_seconds * (1 if self._wrote_at is not None else 2)
            if self._loop.time() - self._quiet_since >= patience and (self._keeping is None or self._keeping.done()):
                self._keeping = asyncio.ensure_future(self._keep_alive())

    async def _keep_alive(self) -> None:
        if self._told is not None:
            self._wrote_at = self._quiet_since = self._loop.time()
            try:
                await self._sink.write(self._told.passage.keep_alive())
            except ConnectionError:
                self._caller_left()

    def _caller_left(self) -> None:
        """From here on the provider has as long as it takes to learn the usage, or no time at all."""
        if self._ending or self._terminal.client_gone:
            return
        self._terminal.client_gone = True
        self._terminal.heard = self._told.passage.delivered if self._told is not None else 0
        drain = self._chosen.offer.on_disconnect == "drain"
        self._limit.reschedule(self._loop.time() + (self._patience.hangup_seconds if drain else 0))

    def _end(self) -> None:
        """The answer is in: from here on nothing is cut short."""
        self._ending = True
        self._limit.reschedule(None)

    async def _record_stream(self, passage: Passage, reason: str | None = None) -> None:
        left = self._terminal.client_gone
        reason = reason or ("complete" if passage.complete else "client_gone" if left else "cut")
        self._terminal.upstream_id = passage.upstream_id
        outcome, used = self._terminal.charged(passage)
        await self._terminal.record(outcome, reason, used)

    async def _finish(self, passage: Passage) -> None:
        """Tells the caller how it ended: only a whole answer ends like one."""
        try:
            if self._terminal.client_gone:
                self._sink.abort()
            elif passage.failure is None:
                await self._sink.end(passage.closing(self._terminal.charged(passage)[1]))
            elif passage.must_abort:
                self._sink.abort()
            else:
                await self._sink.fail(passage.failure)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)
