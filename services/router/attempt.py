"""One try of one offer: the provider's answer to the caller, and the record of how it ended."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Final

import aiohttp
import structlog

from libs import sse, tokens
from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, UpstreamFailed, UpstreamTimeout
from libs.pricing import Usage
from libs.runtime import failpoint
from libs.runtime.clock import now_ms
from libs.runtime.pulse import pulse
from services.router import reading, refusals, whole
from services.router.choose import Chosen
from services.router.passage import Passage
from services.router.passages import Told, terms_of
from services.router.prepare import BYTES_PER_TOKEN, Prepared
from services.router.reading import CUT
from services.router.switch import Watched
from services.router.terminal import NotKept, Terminal
from services.router.upstream import Broken
from services.router.vigil import Vigil

log = structlog.get_logger()

SILENT: Final = "The provider said nothing in the time that it has for its first word."
MAY_BE_ABOUT_LENGTH: Final = (400, 413, 422)
CAREFUL_BYTES: Final = 1 << 20


class LiveAttempt:
    """A GatewayError that leaves ``go`` means that the caller has seen nothing of this attempt: another may follow."""

    def __init__(
        self,
        order: Dispatch,
        chosen: Chosen,
        prepared: Prepared,
        terminal: Terminal,
        *,
        told: Told,
        vigil: Vigil,
        watched: Watched,
    ) -> None:
        self._order = order
        self._chosen = chosen
        self._prepared = prepared
        self._terminal = terminal
        self._told = told
        self._vigil = vigil
        self._watched = watched
        self._patience = asyncio.timeout(chosen.offer.deadlines.first if order.stream else None)
        self._held: list[bytes] = []
        self._begun = False
        self._delivering = ExitStack()
        self._kept = 0  # bytes of the answer that the last checkpoint knew of

    async def go(
        self, call: AbstractAsyncContextManager[aiohttp.ClientResponse], before_the_end: Callable[[Told], None]
    ) -> None:
        """``before_the_end`` is called when the answer is whole and the caller does not know it yet."""
        self._vigil.serve(drains=self._chosen.offer.on_disconnect == "drain")
        try:
            await self._within_patience(call, before_the_end)
        except (NotKept, GatewayError):
            raise
        except BaseException:  # cancelled, or a fault of ours: what was delivered is owed all the same
            if not self._terminal.recorded:
                await asyncio.shield(self._cut_short())
            raise

    async def _within_patience(
        self, call: AbstractAsyncContextManager[aiohttp.ClientResponse], before_the_end: Callable[[Told], None]
    ) -> None:
        try:
            async with self._patience, call as response:
                await self._answer(response, before_the_end)
        except TimeoutError as error:
            if not self._patience.expired():
                raise
            raise UpstreamTimeout(SILENT) from error

    async def _answer(self, response: aiohttp.ClientResponse, before_the_end: Callable[[Told], None]) -> None:
        self._terminal.status = response.status
        if response.status // 100 != 2:
            raise await self._refusal(response)
        if self._order.stream:
            await self._stream(response, before_the_end)
        elif self._prepared.answering is None and not reading.is_stream(response):
            await self._whole(response)
        else:
            await self._folded(response, before_the_end)

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

    async def _whole(self, response: aiohttp.ClientResponse) -> None:
        """A plain answer in the caller's own protocol: its bytes, edited."""
        terminal, body = self._terminal, await reading.body_of(response)
        answer = whole.answer(body, self._order, terminal.started_at, terms_of(self._chosen))
        await self._vigil.end()
        terminal.upstream_id, terminal.first_token_at = answer.upstream_id, now_ms()
        if answer.usage is not None:
            await terminal.record("usage", "complete", answer.usage)
        else:
            await terminal.record("estimated", "no_usage", terminal.estimate(None, answer.delivered))
        await self._send_whole(answer.body)

    async def _folded(self, response: aiohttp.ClientResponse, before_the_end: Callable[[Told], None]) -> None:
        """A plain answer out of events. One that breaks off is none at all, and costs nothing."""
        terminal, passage = self._terminal, self._told.passage
        await self._read(response, passage)
        if passage.failure is not None:
            raise passage.failure
        outcome, used = terminal.charged(passage)
        body = self._told.folded(used)
        await self._vigil.end()
        terminal.upstream_id, terminal.first_token_at = passage.upstream_id, now_ms()
        await terminal.record(outcome, "complete", used)
        before_the_end(self._told)
        await self._send_whole(body)

    async def _send_whole(self, body: bytes) -> None:
        self._vigil.sink.headers.update(self._terminal.explained())
        try:
            await self._vigil.sink.whole(body)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)

    async def _stream(self, response: aiohttp.ClientResponse, before_the_end: Callable[[Told], None]) -> None:
        passage = self._told.passage
        with self._delivering:
            await self._read(response, passage)
        if passage.failure is not None and not self._begun:
            raise passage.failure
        self._watched.broke = passage.failure
        await self._vigil.end()
        await self._record(passage)
        before_the_end(self._told)
        await self._finish(passage)
        await reading.let_end(response)

    async def _read(self, response: aiohttp.ClientResponse, passage: Passage) -> None:
        """Event by event to the caller; when it hangs up, on to the usage or off at once, as the provider bills."""
        try:
            async for event in reading.events(response, self._chosen.offer.protocol):
                if data := passage.feed(event):
                    await self._tell(data, passage)
                if passage.stop_reading:
                    break
        except (*Broken, sse.EventTooLarge) as error:
            log.warning("upstream_broke", offer=self._chosen.offer.id, error=repr(error))
        except GatewayError as error:
            passage.failure = passage.failure or error
        if not passage.complete:
            passage.failure = passage.failure or UpstreamFailed(CUT)

    async def _tell(self, data: bytes, passage: Passage) -> None:
        """What comes before the first word is held back: until then another offer may still answer."""
        if self._begun:
            await self._vigil.write(data)
        else:
            self._held.append(data)
            if not passage.meaningful:
                return
            await self._vigil.write(self._begin(passage))
            self._delivering.enter_context(pulse(self._vigil.checkpoint_seconds, self._checkpoint))
            self._checkpoint()
        if __debug__:
            await failpoint.reached("router.delivering")
        if self._vigil.left and self._terminal.heard is None:
            self._terminal.heard = passage.delivered

    def _begin(self, passage: Passage) -> bytes:
        self._begun = True
        self._watched.answering()
        if self._vigil.left:
            self._terminal.heard = 0
        self._patience.reschedule(None)
        self._terminal.first_token_at = now_ms()
        self._vigil.begin(passage.keep_alive)
        self._vigil.sink.headers.update(self._terminal.explained())
        held, self._held = b"".join(self._held), []
        return held

    def _checkpoint(self) -> None:
        """Once in a while, and by a timer: a word of the answer pays nothing for it."""
        passage = self._told.passage
        if passage.delivered > self._kept and not self._vigil.left:
            self._kept = passage.delivered
            self._terminal.checkpoint(passage)

    async def _record(self, passage: Passage, reason: str | None = None) -> None:
        left = self._terminal.client_gone = self._vigil.left
        nothing_seen = self._order.stream and not self._begun and not left and not passage.complete
        reason = reason or ("complete" if passage.complete else "client_gone" if left else "cut")
        self._terminal.upstream_id = passage.upstream_id
        if nothing_seen:
            await self._terminal.record("void", reason, Usage())
        else:
            outcome, used = self._terminal.charged(passage)
            await self._terminal.record(outcome, reason, used)

    async def _cut_short(self) -> None:
        """What was delivered is recorded; a caller who is still there and has seen some of it learns that it ends."""
        passage = self._told.passage
        await self._record(passage, "client_gone" if self._vigil.left else "interrupted")
        if self._begun:
            passage.failure = passage.failure or self._vigil.too_late()
            await self._vigil.quiet()
            await self._finish(passage)

    async def _finish(self, passage: Passage) -> None:
        """Tells the caller how it ended: only a whole answer ends like one."""
        sink = self._vigil.sink
        try:
            if self._vigil.left:
                sink.abort()
            elif passage.failure is None:
                sink.headers.update(self._terminal.explained())
                await sink.end(b"".join(self._held) + passage.closing(self._terminal.charged(passage)[1]))
            elif passage.must_abort:
                sink.abort()
            else:
                await sink.fail(passage.failure)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)
