"""The one orchestration: choose, record, call, carry the answer back, meter, record. It holds the order of things and
leaves every decision to a pure neighbour."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
import structlog

from libs.contracts import usage
from libs.contracts.dispatch import Dispatch
from libs.errors import Unavailable
from libs.runtime import failpoint
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds
from services.router import record, watermark
from services.router.choose import Chosen
from services.router.convert import marks
from services.router.journey import Journey, Ready
from services.router.passages import Told
from services.router.prepare import Prepared, prepare
from services.router.settings import RouterSettings
from services.router.signatures import Signatures
from services.router.spool import BelowFloor, Spool
from services.router.spool_writer import AlreadyThere, SpoolFailed
from services.router.switch import Switch
from services.router.terminal import Terminal
from services.router.upstream import Upstream
from services.router.vigil import Sink, Vigil

log = structlog.get_logger()

RETRY_AFTER: Final = 2
CLOCK_SKEW_MS: Final = 2000
EXPLAIN: Final = "x-tokenoutput-explain"
LATE: Final = "The request waited too long inside the gateway; nothing was charged."
CANNOT: Final = "This part of the gateway cannot take requests now; nothing was charged."


class BegunElsewhere(Unavailable):
    """Another call has begun this request, and ends its hold."""


class Switchboard:
    """Takes admitted requests to their end."""

    def __init__(
        self,
        settings: RouterSettings,
        switch: Switch,
        upstream: Upstream,
        spool: Spool,
        holds: Holds,
        *,
        signatures: Signatures,
        noted: Callable[[usage.UsageEvent], None],
        refusing: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``noted`` hears of every record that is kept. ``refusing`` tells why nothing new may begin, or None."""
        self._settings = settings
        self._switch = switch
        self._upstream = upstream
        self._spool = spool
        self._holds = holds
        self._signatures = signatures
        self._noted = noted
        self._refusing = refusing
        self._vigils: WeakValueDictionary[UUID, Vigil] = WeakValueDictionary()

    async def run(self, order: Dispatch, body: Awaitable[bytes], forwarded: Mapping[str, str], sink: Sink) -> None:
        """Answers through ``sink`` or raises the GatewayError that is the answer. Either way a request that was begun
        has its terminal record, and its hold has ended. So has that of an order that is refused: no other router has
        it, and this one never begins it."""
        terminal: Terminal | None = None
        cost: int | None = 0
        try:
            received = await body
            self._refuse_impossible(order)
            candidates = self._switch.candidates(order, received)
            ready = partial(self._ready, order, received, forwarded)
            rest = list(candidates)
            first = Journey.next_able(rest, ready) or ready(candidates[0])
            terminal = await self._begin(order, first.chosen, explain=EXPLAIN in forwarded)
            seconds = first.chosen.offer.deadlines.total
            vigil = Vigil(sink, self._settings, stream=order.stream, seconds=seconds)
            self._vigils[order.request_id] = vigil
            journey = Journey(order, terminal, vigil, self._switch, most=self._settings.attempts)
            await journey.go(first, rest, ready)
        except (BegunElsewhere, asyncio.CancelledError):  # without a terminal of ours it is not known whose it is
            cost = None
            raise
        finally:
            if terminal is not None:
                cost = terminal.settled_with()
            if cost is not None:
                await self._holds.settle(Ended(order.org, order.request_id, cost))

    def drain(self, seconds: float) -> None:
        """This router stops: answers that are under way have so long to end by themselves."""
        for vigil in list(self._vigils.values()):
            vigil.drain(seconds)

    def _refuse_impossible(self, order: Dispatch) -> None:
        now = now_ms()
        if now > order.dispatch_by + CLOCK_SKEW_MS or watermark.is_stale(order.hold, now):
            raise Unavailable(LATE, retry_after=1)
        if (why := self._refusing()) is not None:
            log.warning("order_refused", request_id=order.request_id.hex, why=why)
            raise Unavailable(CANNOT, retry_after=RETRY_AFTER)

    def _ready(self, order: Dispatch, received: bytes, forwarded: Mapping[str, str], chosen: Chosen) -> Ready:
        """Raises InvalidRequest, or UnsupportedParameter for what this offer cannot do."""
        prepared = self._prepare(received, order, chosen)
        call = self._upstream.call(chosen, order, prepared, forwarded)
        return Ready(chosen, prepared, call, partial(self._remember, order))

    def _prepare(self, received: bytes, order: Dispatch, chosen: Chosen) -> Prepared:
        return prepare(
            received,
            order,
            chosen.offer,
            sign=self._sign,
            recall=lambda key: self._signatures.recall(order.key, key, time.monotonic()),
            started_ms=now_ms(),
        )

    def _sign(self, text: str) -> str:
        return marks.mark(self._settings.internal_secret.get_secret_value().encode(), text)

    def _remember(self, order: Dispatch, told: Told) -> None:
        """Signed thinking of this answer comes back without its signatures, if at all: they are kept here."""
        if (kept := told.to_remember()) is not None:
            self._signatures.remember(order.key, kept.keys, kept.signed, time.monotonic())

    async def _begin(self, order: Dispatch, chosen: Chosen, *, explain: bool) -> Terminal:
        """Nobody is called before the start record is on disk."""
        if __debug__:
            await failpoint.reached("router.before_start")
        started = record.start(order, chosen, now_ms())
        event, price = usage.encode_event(started), msgspec.json.encode(order.price)
        authorized_at = watermark.authorized_at(order.hold, order.request_id)
        try:
            await self._spool.start(order.request_id, usage.partition_of(order.org), authorized_at, event, price)
        except BelowFloor as error:
            log.warning("order_below_watermark", request_id=order.request_id.hex, authorized_at=authorized_at)
            raise Unavailable(LATE, retry_after=1) from error
        except AlreadyThere as error:
            raise BegunElsewhere("This request is being served already.") from error
        except SpoolFailed as error:
            log.error("spool_failed", error=str(error))  # noqa: TRY400 - a full disk is not a bug
            raise Unavailable(CANNOT, retry_after=RETRY_AFTER) from error
        if __debug__:
            await failpoint.reached("router.started")
        return Terminal(order, started, self._spool, explain=explain, noted=self._noted)
