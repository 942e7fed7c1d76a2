"""From the spool to the broker: in batches, with confirms, until the broker has every record."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from libs.contracts import usage
from libs.pricing import Price, version_of
from libs.runtime import rabbit
from services.router.spool import Row, Spool, SpoolFailed

log = structlog.get_logger()

GATHER_SECONDS: Final = 0.02
TAKE: Final = 800
ENVELOPE_BYTES: Final = 512  # around the events, at most
ROW_BYTES: Final = 40  # around one event and its price: a comma, and the price's id in quotes
BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

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

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                shipped = await self._ship_some()
                failures = 0
            except (*rabbit.Failed, SpoolFailed) as error:
                self.waiting = await self._spool.depth()
                log.warning("shipping_failed", error=repr(error), waiting=self.waiting)
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
                continue
            if not shipped:
                await self._spool.arrived.wait()
                await asyncio.sleep(GATHER_SECONDS)

    async def _ship_some(self) -> int:
        self._spool.arrived.clear()
        rows = await self._spool.waiting(TAKE)
        self.waiting = len(rows)
        by_partition: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            by_partition[row.partition].append(row)
        sent_at = time.time_ns() // 1_000_000
        for partition, mine in by_partition.items():
            for seqs, body in pack(mine, self._producer, sent_at):
                await self._publish(partition, seqs, body)
        return len(rows)

    async def _publish(self, partition: int, seqs: list[int], body: bytes) -> None:
        message_id = f"{self._producer}:{seqs[0]}-{seqs[-1]}"
        await self._publisher.publish(usage.EXCHANGE, usage.routing_key(partition), body, message_id=message_id)
        await self._spool.drop(seqs)
