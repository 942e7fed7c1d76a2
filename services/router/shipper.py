"""From the spool to the broker: in batches, with confirms, until the broker has every record. What becomes of them then
is asked elsewhere: see `report.py`."""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from libs.contracts import usage
from libs.pricing import Price, version_of
from libs.runtime import backoff, failpoint, rabbit
from libs.runtime.clock import now_ms
from services.router.spool import Row, Spool
from services.router.spool_writer import SpoolFailed

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
TAKE: Final = 400
ENVELOPE_BYTES: Final = 512  # around the events, at most
ROW_BYTES: Final = 40  # around one event and its price: a comma, and the price's id in quotes
LAST_CALL_SECONDS: Final = 5

_price = msgspec.json.Decoder(Price)


def pack(rows: list[Row], producer: str, sent_at: int) -> Iterator[tuple[list[int], bytes]]:
    """Rows of one partition as envelopes within the contract's bounds, each with the rows that it carries."""
    batch: list[Row] = []
    left = usage.MAX_BYTES - ENVELOPE_BYTES
    for row in rows:
        needed = len(row.event) + len(row.price) + ROW_BYTES
        if batch and (len(batch) == usage.MAX_EVENTS or needed > left):
            yield [r.seq for r in batch], _envelope(batch, producer, sent_at)
            batch, left = [], usage.MAX_BYTES - ENVELOPE_BYTES
        batch.append(row)
        left -= needed
    if batch:
        yield [r.seq for r in batch], _envelope(batch, producer, sent_at)


def _envelope(rows: list[Row], producer: str, sent_at: int) -> bytes:
    prices = {version_of(price): price for price in map(_price.decode, {row.price for row in rows})}
    events = [msgspec.Raw(row.event) for row in rows]
    return usage.encode_envelope(usage.Envelope(usage.SCHEMA, producer, sent_at, prices, events))


class Shipper:
    """Ships until it is stopped; what is left then stays in the spool."""

    def __init__(self, spool: Spool, publisher: rabbit.Publisher, producer: str) -> None:
        self._spool = spool
        self._publisher = publisher
        self._producer = producer
        self.waiting = 0
        self._failed: dict[int, tuple[int, float]] = {}

    async def run(self) -> None:
        while True:
            try:
                shipped = await self._ship_some()
            except SpoolFailed as error:  # what went out and could not be noted goes out again
                log.warning("shipping_waits", error=str(error), waiting=self.waiting)
                await asyncio.sleep(backoff.after(len(backoff.SECONDS)))
                continue
            except Exception:  # the records are safe, and only this loop can ever ship them
                log.exception("shipping_failed", waiting=self.waiting)
                await asyncio.sleep(backoff.after(len(backoff.SECONDS)))
                continue
            if not shipped:
                await self._something_to_do()

    async def _something_to_do(self) -> None:
        """Until a record arrives, or until a partition that failed may be tried again."""
        retry_at = min((at for _, at in self._failed.values()), default=None)
        try:
            async with asyncio.timeout_at(retry_at):
                await self._spool.arrived.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)

    async def last_call(self) -> None:
        """Before the process ends: what can be shipped now need not wait for its next start."""
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                while await self._ship_some():
                    pass
        except (TimeoutError, SpoolFailed) as error:
            log.warning("left_in_spool", waiting=self.waiting, error=repr(error))

    async def _ship_some(self) -> int:
        """Every partition gets its turn, and one that fails waits alone."""
        self._spool.arrived.clear()
        self.waiting = await self._spool.depth()
        shipped = 0
        for partition in range(usage.PARTITIONS):
            failures, retry_at = self._failed.get(partition, (0, 0.0))
            if _now() < retry_at:
                continue
            try:
                shipped += await self._ship_partition(partition)
                self._failed.pop(partition, None)
            except rabbit.Failed as error:
                self._failed[partition] = failures + 1, _now() + backoff.after(failures + 1)
                log.warning("shipping_waits", partition=partition, error=repr(error), waiting=self.waiting)
        return shipped

    async def _ship_partition(self, partition: int) -> int:
        rows = await self._spool.waiting(partition, TAKE)
        for seqs, body in pack(rows, self._producer, now_ms()):
            await self._publish(partition, seqs, body)
        return len(rows)

    async def _publish(self, partition: int, seqs: list[int], body: bytes) -> None:
        message_id = f"{self._producer}:{seqs[0]}-{seqs[-1]}"
        await self._publisher.publish(usage.EXCHANGE, usage.routing_key(partition), body, message_id=message_id)
        if __debug__:
            await failpoint.reached("router.published")
            await failpoint.reached("router.confirmed")
        await self._spool.mark_shipped(seqs, now_ms())


def _now() -> float:
    return asyncio.get_running_loop().time()
