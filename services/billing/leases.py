"""Credit from PostgreSQL to Redis, in chunks, and back. Money that left one never shows in the other twice: a lease
whose Redis process is gone is put in doubt and a new one is made, never the same again. What goes to Redis leaves
PostgreSQL first; what comes back leaves Redis first."""

import secrets
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from libs.contracts.account import LeaseAnswer, LeaseKeys, LeaseRequest, lease_keys
from libs.runtime import failpoint, postgres, redis
from services.billing.portion import FULL, NOTHING, Amounts, Pace, Warm, chunk, pace, portion
from services.billing.store import accounts
from services.billing.store import leases as store

log = structlog.get_logger()

LUA: Final = Path(__file__).parent / "lua"
MOST_PACES: Final = 100_000
REVOKE_TRIES: Final = 3
LEAST_NANO: Final = 250_000_000
MOST_NANO: Final = 25_000_000_000
IDLE_SECONDS: Final = 600


class Cold(NamedTuple):
    """No lease in the Redis process ``gen``, as it was at ``now``, and a ticket to make one of an epoch ``above``."""

    ticket: str
    gen: str
    now: int
    above: int = 0


class Leases:
    """The leases of one Redis. Its client must not repeat commands by itself: opening a lease is sent once."""

    def __init__(
        self, pool: postgres.Pool, client: redis.Client, shard: str, least: int = LEAST_NANO, most: int = MOST_NANO
    ) -> None:
        self._pool = pool
        self._client = client
        self.shard = shard
        self._least, self._most = least, most
        self._paces: dict[int, Pace] = {}
        self._look, self._create, self._grant, self._close, self._revoke, self._key_base = (
            client.register_script((LUA / f"{name}.lua").read_text(encoding="utf-8"))
            for name in ("look", "create", "grant", "close", "revoke", "key_base")
        )

    async def extend(self, request: LeaseRequest) -> LeaseAnswer:
        """Makes ``need`` spendable if the org has it, and tells Redis what ``key`` spent before. Raises one of
        ``redis.Failed`` or ``postgres.TRANSIENT``."""
        keys, ticket = lease_keys(request.org), secrets.token_hex(16)
        async with self._pool.acquire() as connection, store.locked(connection, request.org):
            seen = await self._looked(connection, request.org, ticket)
            if isinstance(seen, Cold):
                answer = await self._open(connection, request, keys, seen)
            else:
                answer = await self._extend_warm(connection, request, keys, seen)
            if request.key and answer.state == "ready":
                await self._tell_key_base(connection, request, keys)
            return answer

    async def held(self, org: int) -> tuple[int, int]:
        """What Redis holds for running requests, and has counted as spent: (held, used). (0, 0) without a lease."""
        fields = await self._client.hmget(lease_keys(org).lease, ["held", "pheld", "used", "pused"])
        held, plan_held, used, plan_used = (int(field or 0) for field in fields)
        return held + plan_held, used + plan_used

    async def close_idle(self, org: int, idle_seconds: float = IDLE_SECONDS) -> bool:
        """Ends the org's lease if nothing is held in it and nobody asked for a while, or if its Redis is lost. What was
        not spent is free again; what was, stays in doubt until it is booked. False when there is nothing to end."""
        keys = lease_keys(org)
        async with self._pool.acquire() as connection, store.locked(connection, org):
            epoch = await store.open_epoch(connection, org, self.shard)
            if epoch is None:
                return False
            seen, spent = await self._looked(connection, org), None
            if isinstance(seen, Warm):
                answer = await self._close(
                    keys=[keys.lease, keys.holds, keys.keys], args=[epoch, int(idle_seconds * 1000)]
                )
                if answer[0] != "OK":
                    return False
                spent = Amounts(*map(int, answer[1:]))
            async with connection.transaction():
                if spent is not None:
                    await self._lower(connection, org, epoch, spent)
                await store.doubt(connection, org, self.shard, seen.now)
            log.info("lease_ended", org=org, epoch=epoch, lost=spent is None)
            return True

    async def revoke(self, org: int) -> Amounts:
        """Takes back what the org's lease has left, at once, and says how much; requests that run keep their holds.
        Raises one of ``redis.Failed`` or ``postgres.TRANSIENT``: it is not certain then and has to be repeated."""
        keys = lease_keys(org)
        async with self._pool.acquire() as connection, store.locked(connection, org):
            for _ in range(REVOKE_TRIES):
                epoch = await store.open_epoch(connection, org, self.shard)
                if epoch is None:
                    return NOTHING
                seen = await self._looked(connection, org)
                if isinstance(seen, Cold):
                    await store.doubt(connection, org, self.shard, seen.now)
                    return NOTHING
                answer = await self._revoke(keys=[keys.lease], args=[epoch])
                if answer[0] == "OK":
                    async with connection.transaction():
                        return await self._lower(connection, org, epoch, Amounts(*map(int, answer[1:])))
        raise store.NoSuchLease(f"the lease of org {org} changes faster than it can be revoked")

    async def _looked(self, connection: postgres.Connection, org: int, ticket: str | None = None) -> Cold | Warm:
        """Leaves a new ticket in a cold Redis: whoever was about to make a lease there comes too late.

        A lease that the ledger does not know, because it came back from a backup, is over: nothing is held in it any
        more, and what was is not charged to another.
        """
        ticket = ticket or secrets.token_hex(16)
        seen = await self._glance(org, ticket, FULL)
        if isinstance(seen, Cold) or await self._is_granted(connection, org, seen):
            return seen
        log.error("lease_unknown_to_the_ledger", org=org, epoch=seen.epoch)
        cold = await self._glance(org, ticket, 0)
        return cold._replace(above=seen.epoch) if isinstance(cold, Cold) else cold

    async def _glance(self, org: int, ticket: str, full: int) -> Cold | Warm:
        keys = lease_keys(org)
        state, now, *rest = await self._look(keys=[keys.lease, keys.holds, keys.keys, keys.ticket], args=[ticket, full])
        if state == "COLD":
            return Cold(ticket, rest[0], int(now))
        epoch, revocations, *amounts = map(int, rest)
        limit, used, held = (Amounts(amounts[at], amounts[at + 3]) for at in range(3))
        return Warm(epoch, int(now), revocations, limit, used, held)

    async def _is_granted(self, connection: postgres.Connection, org: int, warm: Warm) -> bool:
        if await store.open_epoch(connection, org, self.shard) != warm.epoch:
            return False
        granted = await store.granted(connection, org, warm.epoch)
        return granted.most(warm.limit) == granted

    async def _extend_warm(
        self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys, warm: Warm
    ) -> LeaseAnswer:
        async with connection.transaction():
            there = await accounts.posted(connection, request.org, lock=True)
            granted = await store.granted(connection, request.org, warm.epoch)
            limit = warm.limit.most(granted)
            free = limit.minus(warm.used).minus(warm.held).most(NOTHING)
            if there.frozen or free.total < request.need:
                size = self._chunk(request.org, warm)
                more = portion(there, limit, free, request.need, size)
                if isinstance(more, LeaseAnswer):
                    return more
                await store.grant(connection, request.org, warm.epoch, *more)
                await accounts.change_leased(connection, request.org, *more)
                granted, free = granted.plus(more), free.plus(more)
        if __debug__:
            await failpoint.reached("billing.leased")
        await self._grant(keys=[keys.lease], args=[warm.epoch, warm.revocations, *granted])
        return LeaseAnswer("ready", free.total)

    def _chunk(self, org: int, warm: Warm) -> int:
        """At the pace at which the org spends, as far as this process has seen it."""
        before, used = self._paces.get(org), warm.used.total
        if len(self._paces) >= MOST_PACES:
            self._paces.clear()
        self._paces[org] = pace(before, warm.epoch, warm.now, used)
        return chunk(before, warm.epoch, warm.now, used, least=self._least, most=self._most)

    async def _open(
        self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys, cold: Cold
    ) -> LeaseAnswer:
        async with connection.transaction():
            await accounts.posted(connection, request.org, lock=True)  # first, as posting a batch does
            await store.doubt(connection, request.org, self.shard, cold.now)
            there = await accounts.posted(connection, request.org)
            amount = portion(there, NOTHING, NOTHING, request.need, self._least)
            if isinstance(amount, LeaseAnswer):
                return amount
            epoch = await store.create(connection, request.org, self.shard, cold.gen, *amount, above=cold.above)
            await accounts.change_leased(connection, request.org, *amount)
        if __debug__:
            await failpoint.reached("billing.leased")
        outcome = await self._create_in_redis(keys, cold, epoch, amount)
        log.info("lease_opened", org=request.org, epoch=epoch, amount=amount.total, outcome=outcome)
        if outcome != "OK":
            await self._take_back(connection, request.org, epoch, amount)
        return LeaseAnswer("ready", amount.total)

    async def _create_in_redis(self, keys: LeaseKeys, cold: Cold, epoch: int, amount: Amounts) -> str:
        """Raises one of ``redis.Failed`` only when it may have been made: then it stays, and is found or doubted.

        Making it uses the ticket up. If the ticket could still be deleted, it was not made and now never will be.
        """
        names = [keys.lease, keys.holds, keys.keys, keys.ticket]
        try:
            return str(await self._create(keys=names, args=[cold.ticket, cold.gen, epoch, *amount]))
        except redis.Failed:
            if await self._client.delete(keys.ticket) == 1:
                return "LOST"
            raise

    async def _take_back(self, connection: postgres.Connection, org: int, epoch: int, amount: Amounts) -> None:
        """Closes a lease that never was in Redis, so that its credit is free again."""
        async with connection.transaction():
            await accounts.posted(connection, org, lock=True)
            await store.close(connection, org, epoch)
            await accounts.change_leased(connection, org, -amount.cash, -amount.plan)

    async def _lower(self, connection: postgres.Connection, org: int, epoch: int, kept: Amounts) -> Amounts:
        """Nothing is given back of a lease that is charged with more than Redis knows: somebody has to look."""
        await accounts.posted(connection, org, lock=True)
        try:
            cut = await store.lower(connection, org, epoch, kept)
        except store.SpentMore:
            log.exception("lease_spent_more_than_redis_knows")
            return NOTHING
        await accounts.change_leased(connection, org, -cut.cash, -cut.plan)
        return cut

    async def _tell_key_base(self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys) -> None:
        """What the key spends outside the lease that is open now does not grow any more, but for what is in doubt."""
        epoch = await store.open_epoch(connection, request.org, self.shard)
        if epoch is not None:
            charged, doubt = await store.spent_before(connection, request.org, request.key, epoch)
            await self._key_base(keys=[keys.lease, keys.keys], args=[epoch, request.key, charged + doubt, doubt])
