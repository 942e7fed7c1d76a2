"""One batch of accepted events into the books: one transaction, and exactly once however often it is tried."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from libs.pricing import Price
from libs.runtime import postgres
from services.billing import ledger
from services.billing.ledger import Charged
from services.billing.store import accounts, charges
from services.billing.verdict import Accepted, Refused

log = structlog.get_logger()


class Unpostable(NamedTuple):
    """An event that the books do not take, and why."""

    event: Accepted
    reason: str


class Poster:
    """Posts to the revenue account of this instance."""

    def __init__(self, pool: postgres.Pool, revenue_shard: int) -> None:
        self._pool = pool
        self._revenue_shard = revenue_shard

    async def post(self, events: Sequence[Accepted], prices: dict[str, Price]) -> list[Unpostable]:
        """Charges what was not charged before; what cannot be charged comes back, alone. A batch that the database
        refuses is halved until the one event is found. Raises one of ``postgres.TRANSIENT``: nothing happened then."""
        try:
            await self._transaction(events, prices)
        except (*charges.BadData, Refused) as error:
            if len(events) == 1:
                return [Unpostable(events[0], str(error))]
            half = len(events) // 2
            return [*await self.post(events[:half], prices), *await self.post(events[half:], prices)]
        return []

    async def _transaction(self, events: Sequence[Accepted], prices: dict[str, Price]) -> None:
        first = {item.event.request_id: item for item in reversed(events)}
        async with self._pool.acquire() as connection, connection.transaction():
            await charges.keep_prices(connection, {item.event.price_id: prices[item.event.price_id] for item in events})
            cash_of = await accounts.cash_accounts(connection, list({item.event.org for item in events}))
            if strangers := {item.event.org for item in events} - set(cash_of):
                raise Refused(f"unknown org {min(strangers)}")
            batch = await charges.next_batch(connection)
            new = await self._insert(connection, batch, list(first.values()))
            revenue = await accounts.house_account(connection, "revenue", self._revenue_shard)
            loss = await accounts.house_account(connection, "overrun_loss")
            postings = ledger.post(batch, [_charged(first[i]) for i in new], cash_of, revenue, loss)
            await charges.apply(connection, postings, cash_of)
            booked = {id(first[request_id]) for request_id in new}
            await self._report_conflicts(connection, [item for item in events if id(item) not in booked])

    async def _insert(self, connection: postgres.Connection, batch: int, items: list[Accepted]) -> set[UUID]:
        rows = [
            charges.charge_row(item.event, ledger.split(item.event.cost, item.event.hold), batch, item.digest)
            for item in items
        ]
        return await charges.insert_charges(connection, rows)

    async def _report_conflicts(self, connection: postgres.Connection, again: Sequence[Accepted]) -> None:
        """The same id with other content: the first stays, and somebody has to look."""
        known = await charges.hashes(connection, [item.event.request_id for item in again])
        for item in again:
            if known[item.event.request_id] != item.digest:
                request_id = item.event.request_id
                log.error("same_id_other_payload", request_id=str(request_id))
                detail = {"cost": item.event.cost, "outcome": item.event.outcome, "org": item.event.org}
                await charges.note_anomaly(connection, "same id, other payload", request_id, detail)


def _charged(item: Accepted) -> Charged:
    event = item.event
    return Charged(org=event.org, epoch=event.hold.epoch, split=ledger.split(event.cost, event.hold))
