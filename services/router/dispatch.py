"""The one orchestration: choose, record, call, carry the answer back, meter, record. It holds the order of things and
leaves every decision to a pure neighbour."""

from collections.abc import Awaitable, Mapping
from typing import Final

import msgspec
import structlog

from libs.contracts import usage
from libs.contracts.dispatch import Dispatch
from libs.errors import Unavailable
from libs.runtime.catalog import LiveShelf
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds
from services.router import record, rewrite
from services.router.attempt import LiveAttempt, Sink
from services.router.choose import Chosen, choose
from services.router.settings import RouterSettings
from services.router.spool import Spool, SpoolFailed
from services.router.upstream import Upstream, credential

log = structlog.get_logger()

RETRY_AFTER: Final = 2
CLOCK_SKEW_MS: Final = 2000


class Switchboard:
    """Takes admitted requests to their end."""

    def __init__(
        self, settings: RouterSettings, live: LiveShelf, upstream: Upstream, spool: Spool, holds: Holds
    ) -> None:
        self._settings = settings
        self._live = live
        self._upstream = upstream
        self._spool = spool
        self._holds = holds

    async def run(self, order: Dispatch, body: Awaitable[bytes], forwarded: Mapping[str, str], sink: Sink) -> None:
        """Answers through ``sink`` or raises the GatewayError that is the answer. Either way a request that was begun
        has its terminal record, and its hold has ended."""
        attempt: LiveAttempt | None = None
        try:
            received = await body
            if now_ms() > order.dispatch_by + CLOCK_SKEW_MS:
                raise Unavailable("The request waited too long inside the gateway; nothing was charged.", retry_after=1)
            chosen = self._choose(order)
            sent = rewrite.request(received, order, chosen.offer)
            attempt = LiveAttempt(order, chosen, await self._begin(order, chosen), self._spool, sink)
            limit = self._settings.hangup_seconds
            await attempt.go(self._upstream.call(chosen, order, sent, forwarded), len(sent), limit)
        finally:
            await self._holds.settle(Ended(order.org, order.request_id, attempt.cost if attempt is not None else 0))

    def _choose(self, order: Dispatch) -> Chosen:
        simulator = self._settings.simulator_url
        return choose(self._live.shelf, order.model, order.protocol, credential, simulator)

    async def _begin(self, order: Dispatch, chosen: Chosen) -> usage.UsageEvent:
        started = record.start(order, chosen, now_ms())
        event, price = usage.encode_event(started), msgspec.json.encode(order.price)
        try:
            await self._spool.start(order.request_id, usage.partition_of(order.org), event, price)
        except SpoolFailed as error:
            log.error("spool_failed", error=str(error))  # noqa: TRY400 - a full disk is not a bug
            raise Unavailable("This part of the gateway cannot take requests now.", retry_after=RETRY_AFTER) from error
        return started
