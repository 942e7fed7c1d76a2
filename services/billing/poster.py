"""One batch of accepted events into the books: one transaction, and exactly once however often it is tried."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from libs.pricing import Price
from libs.runtime import failpoint, postgres
from services.billing import ledger
from services.billing.ledger import Charged, House, NoAccount, Split, Wallet
from services.billing.store import accounts, charges
from services.billing.store.charges import Leased, LeasesGone, Odd
from services.billing.verdict import Accepted

log = structlog.get_logger()

MOST_REMEMBERED: Final = 100_000
NEVER_MADE: Final = "a charge names a lease that was never made"
CLOSED: Final = "lease was closed"
OTHER_PAYLOAD: Final = "same id, other payload"
NO_HOUSE: Final = House(0, 0)
CANNOT_BE: Final = (*charges.BadData, NoAccount)


class Unpostable(NamedTuple):
    """An event that the books do not take, and why."""

    event: Accepted
    reason: str


class Booked(NamedTuple):
    """An event that is in the books, and the nano-USD that its org paid for it, now or when it first came."""

    event: Accepted
    paid: int


class Posted(NamedTuple):
    """What became of the events; a request that came twice is booked once. ``odd``: kinds of anomalies."""

    booked: list[Booked]
    refused: list[Unpostable]
    odd: list[str]


class Memory:
    """What never changes once it is in the books."""

    def __init__(self) -> None:
        self.wallets: dict[int, Wallet] = {}
        self.prices: set[str] = set()
        self.house: House = NO_HOUSE


class Poster:
    """Posts to the revenue account of this instance."""

    def __init__(self, pool: postgres.Pool, revenue_shard: int) -> None:
        self._pool = pool
        self._revenue_shard = revenue_shard
        self._memory = Memory()

    async def post(self, events: Sequence[Accepted], prices: Mapping[str, Price]) -> Posted:
        """Charges what was not charged before; what cannot be charged comes back, alone. A batch that the database
        refuses is halved until the one event is found. Raises one of ``postgres.TRANSIENT``: nothing is lost then, and
        all of it may be posted again."""
        if len(self._memory.wallets) > MOST_REMEMBERED:
            self._memory = Memory()
        try:
            return await self._post(events, prices, self._memory)
        except CANNOT_BE:  # perhaps of another database than was remembered: one put back from a backup
            self._memory = Memory()
            return await self._carefully(events, prices)

    async def _carefully(self, events: Sequence[Accepted], prices: Mapping[str, Price]) -> Posted:
        """With nothing remembered."""
        try:
            return await self._post(events, prices, Memory())
        except CANNOT_BE as error:
            if len(events) == 1:
                return Posted([], [Unpostable(events[0], str(error))], [])
        half = len(events) // 2
        one, other = await self._carefully(events[:half], prices), await self._carefully(events[half:], prices)
        return Posted(one.booked + other.booked, one.refused + other.refused, one.odd + other.odd)

    async def _post(self, events: Sequence[Accepted], prices: Mapping[str, Price], memory: Memory) -> Posted:
        await self._look_up(events, memory)
        known = [item for item in events if item.event.org in memory.wallets]
        strangers = [Unpostable(e, f"unknown org {e.event.org}") for e in events if e.event.org not in memory.wallets]
        posted = await self._until_no_lease_is_in_the_way(known, prices, memory)
        return Posted(posted.booked, strangers + posted.refused, posted.odd)

    async def _look_up(self, events: Sequence[Accepted], memory: Memory) -> None:
        """The accounts that these events take from, and those of the house."""
        wanted = {item.event.org for item in events if not _pays(memory.wallets.get(item.event.org), item)}
        if wanted or memory.house is NO_HOUSE:
            async with self._pool.acquire() as connection:
                memory.wallets.update(await accounts.wallets(connection, list(wanted)))
                revenue = await accounts.house_account(connection, "revenue", self._revenue_shard)
                memory.house = House(revenue, await accounts.house_account(connection, "overrun_loss"))

    async def _until_no_lease_is_in_the_way(
        self, events: Sequence[Accepted], prices: Mapping[str, Price], memory: Memory
    ) -> Posted:
        """A lease may be closed while its last events are booked: those are tried again, as late."""
        late: set[Leased] = set()
        refused: list[Unpostable] = []
        while events:
            try:
                booked, odd = await self._transaction(events, prices, memory, late)
            except LeasesGone as gone:
                states = await self._states(gone.leases)
                late |= {lease for lease, state in states.items() if state == "closed"}
                unmade = gone.leases - states.keys()
                refused += [Unpostable(item, NEVER_MADE) for item in events if _lease(item) in unmade]
                events = [item for item in events if _lease(item) not in unmade]
            else:
                if __debug__:
                    await failpoint.reached("billing.committed")
                return Posted(booked, refused, odd)
        return Posted([], refused, [])

    async def _states(self, leases: Collection[Leased]) -> dict[Leased, str]:
        async with self._pool.acquire() as connection:
            return await charges.lease_states(connection, leases)

    async def _transaction(
        self, events: Sequence[Accepted], prices: Mapping[str, Price], memory: Memory, late: Collection[Leased]
    ) -> tuple[list[Booked], list[str]]:
        first = {item.event.request_id: item for item in reversed(events)}
        splits = {request_id: _split(item, late) for request_id, item in first.items()}
        named = {item.event.price_id for item in events} - memory.prices
        async with self._pool.acquire() as connection, connection.transaction():
            await charges.keep_prices(connection, {price_id: prices[price_id] for price_id in named})
            new = await self._charge(connection, first, splits, memory)
            fresh = {id(first[request_id]) for request_id in new}
            again = [item for item in events if id(item) not in fresh]
            known = await charges.known(connection, [item.event.request_id for item in again])
            odd = [_was_closed(first[i]) for i in new if splits[i].absorbed and _lease(first[i]) in late]
            odd += [_conflict(item) for item in again if known[item.event.request_id].digest != item.digest]
            await charges.note_anomalies(connection, odd)
            if __debug__:
                await failpoint.reached("billing.inserted")
        memory.prices |= named
        paid = {i: splits[i].cash + splits[i].plan for i in new} | {i: charge.paid for i, charge in known.items()}
        return [Booked(item, paid[i]) for i, item in first.items()], [each.kind for each in odd]

    async def _charge(
        self,
        connection: postgres.Connection,
        first: Mapping[UUID, Accepted],
        splits: Mapping[UUID, Split],
        memory: Memory,
    ) -> set[UUID]:
        """Inserts the charges and moves what those cost that are new."""
        batch = await charges.next_batch(connection)
        if __debug__:
            await failpoint.reached("billing.before_insert")
        rows = [
            charges.charge_row(item.event, splits[i], batch, item.digest, item.producer) for i, item in first.items()
        ]
        new = await charges.insert_charges(connection, rows)
        charged = [Charged(*_lease(first[i]), first[i].event.key, splits[i]) for i in new]
        await charges.apply(connection, ledger.post(batch, charged, memory.wallets, memory.house))
        return new


def _lease(item: Accepted) -> Leased:
    return item.event.org, item.event.hold.epoch


def _split(item: Accepted, late: Collection[Leased]) -> Split:
    if _lease(item) in late:
        return ledger.split_late(item.event.cost)
    return ledger.split(item.event.cost, item.event.hold)


def _pays(wallet: Wallet | None, item: Accepted) -> bool:
    """Whether the accounts are known that this event may take from. One for plan credit may have been made since."""
    return wallet is not None and (wallet.plan is not None or not item.event.hold.plan) and wallet.cash is not None


def _was_closed(item: Accepted) -> Odd:
    log.error("lease_was_closed", request_id=str(item.event.request_id), org=item.event.org)
    detail = {"cost": item.event.cost, "org": item.event.org, "epoch": item.event.hold.epoch}
    return Odd(CLOSED, item.event.request_id, detail)


def _conflict(item: Accepted) -> Odd:
    """The same id with other content: the first stays, and somebody has to look."""
    log.error("same_id_other_payload", request_id=str(item.event.request_id))
    detail = {"cost": item.event.cost, "outcome": item.event.outcome, "org": item.event.org}
    return Odd(OTHER_PAYLOAD, item.event.request_id, detail)
