"""This router's word to billing, about once a second: how far its watermark is, and which records it would forget.

What billing answers decides: booked records are forgotten, those that it has not got for long are sent again, and a
spool that it does not know takes no requests.
"""

import asyncio
from collections.abc import Callable
from typing import Final
from uuid import UUID

import aiohttp
import msgspec
import structlog

from libs.contracts import evidence
from libs.runtime import backoff, client
from libs.runtime.clock import now_ms, tick_ms
from libs.runtime.identity import Identity
from services.router import watermark
from services.router.spool import Promise, Spool
from services.router.spool_writer import SpoolFailed

log = structlog.get_logger()

EVERY_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
LAST_CALL_SECONDS: Final = 3.0
LAST_CALL_EVERY: Final = 0.1
REFUSING: Final = {
    "new": "not registered with billing",
    "lost": "an operator declared this router's spool lost: give it a new folder",
}


class BillingAway(Exception):
    """There was no answer that makes sense."""


class Mailbox:
    """Where one spool's reports go. Knows billing's clock once billing has answered."""

    def __init__(self, session: aiohttp.ClientSession, url: str, identity: Identity, spool_id: str) -> None:
        self._session = session
        self._address = url + evidence.REPORTS_PATH.format(spool=spool_id)
        self._identity = identity
        self._ahead: int | None = None

    @property
    def billings_ms(self) -> int | None:
        """Unix milliseconds by billing's clock, a round trip late; None before its first answer."""
        return None if self._ahead is None else tick_ms() + self._ahead

    async def send(self, report: evidence.Report) -> evidence.Heard:
        """Raises BillingAway."""
        headers = self._identity.authorization("billing")
        body, timeout = msgspec.json.encode(report), aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with self._session.post(self._address, data=body, headers=headers, timeout=timeout) as response:
                response.raise_for_status()
                heard = msgspec.json.decode(await response.read(), type=evidence.Heard)
        except (*client.Failed, msgspec.DecodeError) as error:
            raise BillingAway(repr(error)) from error
        self._ahead = heard.now - tick_ms()
        return heard


class Reporter:
    """Reports until it is stopped, then ``last_call``. ``refusing``: why no request may begin, or None."""

    def __init__(
        self, spool: Spool, mailbox: Mailbox, instance: str, *, reship_ms: int, behind_ms: int = watermark.BEHIND_MS
    ) -> None:
        self.promised = Promise(0, None, 0)
        self.sent_again = 0
        self._spool = spool
        self._mailbox = mailbox
        self._instance = instance
        self._reship_ms = reship_ms
        self._behind_ms = behind_ms
        self._asked_up_to = 0

    @property
    def refusing(self) -> str | None:
        return REFUSING.get(self._spool.standing)

    async def run(self, tell: Callable[[str | None], None]) -> None:
        """``tell`` hears after each try why no request may begin, or None."""
        failures = 0
        tell(self.refusing)
        while True:
            try:
                soon = await self.report()
            except (BillingAway, SpoolFailed) as error:
                failures += 1
                log.warning("report_waits", error=str(error), refusing=self.refusing)
                await asyncio.sleep(backoff.after(failures))
            except Exception:  # the watermark waits, and only this loop can ever move it
                log.exception("report_failed")
                await asyncio.sleep(backoff.after(len(backoff.SECONDS)))
            else:
                failures = 0
                tell(self.refusing)
                await asyncio.sleep(0 if soon else EVERY_SECONDS)

    async def report(self) -> bool:
        """One report. Returns whether there is more to say at once. Raises BillingAway or SpoolFailed."""
        first = self._mailbox.billings_ms is None
        await self._promise()
        asked = await self._spool.shipped(self._asked_up_to, evidence.MOST_ASKED)
        many = len(asked) == evidence.MOST_ASKED
        self._asked_up_to = asked[-1].seq if many else 0
        heard = await self._mailbox.send(self._report(tuple(row.request_id for row in asked)))
        await self._heed(heard)
        booked = set(heard.booked)
        if gone := [row.seq for row in asked if row.request_id in booked]:
            await self._spool.drop(gone)
        now, left = now_ms(), [row for row in asked if row.request_id not in booked]
        again = [row.seq for row in left if watermark.is_overdue(row.shipped_at, row.shipments, now, self._reship_ms)]
        if again:
            log.warning("shipping_again", records=len(again))
            self.sent_again += len(again)
            await self._spool.ship_again(again)
        return first or (many and bool(gone))

    async def last_call(self) -> None:
        """Before the process ends: what is booked is forgotten, and nobody has to wait for an empty spool."""
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                await self.report()
                while await self._spool.unbooked():
                    await asyncio.sleep(LAST_CALL_EVERY)
                    await self.report()
                await self._goodbye()
        except (TimeoutError, BillingAway, SpoolFailed) as error:
            log.warning("no_goodbye", unbooked=self.promised.unbooked, error=repr(error))

    async def _goodbye(self) -> None:
        """Billing does not wait for this spool from here on, so it may begin nothing until billing knows it again."""
        await self._promise()
        if self._spool.standing == "known" and self.promised.unbooked == 0:
            await self._spool.stand("new")
            await self._mailbox.send(self._report((), goodbye=True))
            log.info("goodbye", spool=self._spool.id)

    async def _promise(self) -> None:
        self.promised = await self._spool.promise(watermark.bound(now_ms(), self._mailbox.billings_ms, self._behind_ms))

    def _report(self, asked: tuple[UUID, ...], *, goodbye: bool = False) -> evidence.Report:
        return evidence.Report(
            instance=self._instance,
            watermark=self.promised.floor,
            unbooked=self.promised.unbooked,
            sent_at=now_ms(),
            asked=asked,
            goodbye=goodbye,
            run=self._spool.run,
        )

    async def _heed(self, heard: evidence.Heard) -> None:
        before = self._spool.standing
        await self._spool.stand("lost" if heard.lost else "known" if heard.ready else "new")
        if heard.lost and before != "lost":
            log.error("spool_declared_lost", spool=self._spool.id)
