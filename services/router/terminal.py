"""The end of one request as it is recorded: what was seen on the way, and the commit without which there is no end."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from libs.contracts import usage
from libs.contracts.dispatch import Dispatch
from libs.errors import Unavailable
from libs.pricing import Usage
from libs.runtime import failpoint
from libs.runtime.clock import now_ms
from services.router import failover, meter, record
from services.router.choose import Chosen
from services.router.passage import Passage
from services.router.record import End
from services.router.spool import Spool
from services.router.spool_writer import SpoolFailed

log = structlog.get_logger()

ATTEMPTS: Final = "x-tokenoutput-attempts"
NOT_KEPT: Final = "The end of the answer could not be recorded, so it cannot be given, and it is not charged."


class NotKept(Unavailable):
    """The terminal record could not be written: what was written last stands."""


class Terminal:
    """Facts for the terminal record, and ``cost``: nano-USD that it comes to, 0 until there is one."""

    def __init__(
        self,
        order: Dispatch,
        started: usage.UsageEvent,
        spool: Spool,
        *,
        explain: bool = False,
        noted: Callable[[usage.UsageEvent], None] = lambda _: None,
    ) -> None:
        """``noted`` hears of the record once it is kept."""
        self.cost = 0
        self.recorded = False
        self.status = 0
        self.first_token_at: int | None = None
        self.upstream_id: str | None = None
        self.client_gone = False
        self.heard: int | None = None  # bytes of the answer, when the caller left in the middle of it
        self._order = order
        self._started = started
        self._spool = spool
        self._explain = explain
        self._noted = noted
        self._body_bytes = 0
        self._served_at = started.started_at
        self._tried: tuple[usage.Attempt, ...] = ()
        self._standing = 0  # what it costs if no terminal record follows

    @property
    def started_at(self) -> int:
        """Unix milliseconds: the moment whose price counts."""
        return self._started.started_at

    def serve(self, chosen: Chosen, body_bytes: int, at_ms: int) -> None:
        """Another attempt begins."""
        self.status, self.upstream_id, self.first_token_at, self.heard = 0, None, None, None
        self._started = record.served_by(self._started, chosen)
        self._body_bytes, self._served_at = body_bytes, at_ms

    def failed(self, reason: str) -> None:
        """The attempt is over, and the caller has seen nothing of it."""
        self._tried = (*self._tried, self._attempt(reason))

    def explained(self) -> dict[str, str]:
        """The attempts so far as a header, for a caller who asked."""
        return {ATTEMPTS: failover.explained((*self._tried, self._attempt("serving")))} if self._explain else {}

    def explained_failure(self) -> dict[str, str]:
        return {ATTEMPTS: failover.explained(self._tried)} if self._explain else {}

    def _attempt(self, reason: str) -> usage.Attempt:
        return usage.Attempt(self._started.offer, self.status, reason, max(0, now_ms() - self._served_at))

    def charged(self, passage: Passage) -> tuple[usage.Outcome, Usage]:
        """What a stream is charged: the provider's last word, else nothing, else an estimate of what was delivered."""
        if passage.final and passage.usage is not None:
            return "usage", passage.usage
        got_nothing = not self._order.stream and not passage.complete
        if passage.delivered == 0 or got_nothing:
            return "void", Usage()
        heard = passage.delivered if self.heard is None else min(self.heard, passage.delivered)
        return "estimated", self.estimate(passage.usage, heard)

    def estimate(self, known: Usage | None, delivered: int) -> Usage:
        guess = meter.estimate(known, self._body_bytes, delivered)
        return Usage(
            input=min(guess.input, self._order.input_bound),
            cache_read=guess.cache_read,
            cache_write=guess.cache_write,
            cache_write_1h=guess.cache_write_1h,
            output=min(guess.output, self._order.output_cap * self._order.choices),
        )

    def checkpoint(self, passage: Passage) -> None:
        """What was delivered so far is owed if we die now. Nobody waits for this: until it is kept, what was written
        before it stands."""
        outcome, used = self.charged(passage)
        if self.recorded or outcome == "void":
            return
        how = self._how(outcome, record.LOST, used, (*self._tried, self._attempt(record.LOST)))
        event = record.checkpoint(self._started, self._order, how)
        try:
            kept = self._spool.checkpoint(self._order.request_id, usage.encode_event(event))
        except SpoolFailed:
            return
        kept.add_done_callback(partial(self._stands, min(event.cost, self._order.hold.amount)))

    def _stands(self, cost: int, kept: asyncio.Future[int]) -> None:
        if not kept.cancelled() and kept.exception() is None and kept.result() == 1:
            self._standing = cost

    def settled_with(self) -> int | None:
        """What the hold is settled with, now that nobody works on the request any more. None where no end was recorded:
        what stands then may be a checkpoint that is being written, and billing settles with what it finds."""
        if not self.recorded:
            self._spool.leave(self._order.request_id)
            return None
        return self.cost

    async def void(self, reason: str) -> None:
        """Nothing is owed, all attempts have failed. Raises NotKept."""
        await self._commit("void", reason, Usage(), self._tried)

    async def record(self, outcome: usage.Outcome, reason: str, used: Usage) -> None:
        """Commits the terminal record. The caller sees no end before this returns. Raises NotKept."""
        await self._commit(outcome, reason, used, (*self._tried, self._attempt(reason)))

    async def _commit(
        self, outcome: usage.Outcome, reason: str, used: Usage, attempts: tuple[usage.Attempt, ...]
    ) -> None:
        ended = record.end(self._started, self._order, self._how(outcome, reason, used, attempts))
        self.recorded, self.cost = True, min(ended.cost, self._order.hold.amount)
        committing = asyncio.ensure_future(self._spool.finish(self._order.request_id, usage.encode_event(ended)))
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:  # the writer has the record already: whether it could keep it decides the cost
            await asyncio.wait({committing})
            if committing.exception() is not None:
                self.cost = self._standing
            raise
        except SpoolFailed as error:
            self.cost = self._standing
            log.error("spool_failed", error=str(error))  # noqa: TRY400 - a full disk is not a bug
            raise NotKept(NOT_KEPT) from error
        if __debug__:
            await failpoint.reached("router.committed")
        self._noted(ended)

    def _how(self, outcome: usage.Outcome, reason: str, used: Usage, attempts: tuple[usage.Attempt, ...]) -> End:
        return End(
            outcome=outcome,
            reason=reason,
            usage=used,
            ended_at=now_ms(),
            first_token_at=self.first_token_at,
            upstream_id=self.upstream_id,
            client_gone=self.client_gone,
            attempts=attempts,
        )
