"""Credit from PostgreSQL to Redis, in chunks. Money that left one never shows in the other twice: a lease whose Redis
process is gone is put in doubt and a new one is made, never the same again."""

import secrets
from pathlib import Path
from typing import Final

import msgspec
import structlog

from libs.contracts.account import LeaseAnswer, LeaseKeys, LeaseRequest, lease_keys
from libs.runtime import postgres, redis
from services.billing.store import accounts
from services.billing.store import leases as store
from services.billing.store.accounts import Posted

log = structlog.get_logger()

_LUA: Final = Path(__file__).parent / "lua"


class Warm(msgspec.Struct, frozen=True):
    """A lease as Redis has it, nano-USD."""

    epoch: int
    limit: int
    used: int
    held: int

    @property
    def free(self) -> int:
        return self.limit - self.used - self.held


def portion(there: Posted, free: int, need: int, chunk: int) -> LeaseAnswer | int:
    """How much more to lease so that ``need`` fits, or the answer when that cannot be. Pure."""
    unleased = max(there.posted - there.leased, 0)
    if there.frozen:
        return LeaseAnswer("insufficient", 0)
    if free + unleased < need:
        state = "recovering" if free + unleased + there.in_doubt >= need else "insufficient"
        return LeaseAnswer(state, free + unleased)  # type: ignore[arg-type] # a choice of two of the literals
    return min(max(need - free, chunk), unleased)


class Leases:
    """The leases of one Redis. Its client must not repeat commands by itself: opening a lease is sent once."""

    def __init__(self, pool: postgres.Pool, client: redis.Client, shard: str, chunk: int) -> None:
        self._pool = pool
        self._client = client
        self._shard = shard
        self._chunk = chunk
        self._look = client.register_script((_LUA / "look.lua").read_text(encoding="utf-8"))
        self._create = client.register_script((_LUA / "create.lua").read_text(encoding="utf-8"))
        self._grant = client.register_script((_LUA / "grant.lua").read_text(encoding="utf-8"))

    @property
    def shard(self) -> str:
        return self._shard

    async def extend(self, request: LeaseRequest) -> LeaseAnswer:
        """Makes ``need`` spendable if the org has it. Raises one of ``redis.Failed`` or ``postgres.TRANSIENT``."""
        keys, ticket = lease_keys(request.org), secrets.token_hex(16)
        async with self._pool.acquire() as connection, store.locked(connection, request.org):
            seen = await self._look(keys=[keys.lease, keys.ticket], args=[ticket])
            if seen[0] == "WARM":
                return await self._extend_warm(connection, request, keys, Warm(*map(int, seen[1:])))
            return await self._open(connection, request, keys, ticket, gen=seen[1])

    async def held(self, org: int) -> tuple[int, int]:
        """What Redis holds for running requests, and has counted as spent: (held, used). (0, 0) without a lease."""
        held, used = await self._client.hmget(lease_keys(org).lease, ["held", "used"])
        return int(held or 0), int(used or 0)

    async def _extend_warm(
        self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys, warm: Warm
    ) -> LeaseAnswer:
        async with connection.transaction():
            granted = await store.granted(connection, request.org, warm.epoch)
            warm = msgspec.structs.replace(warm, limit=max(warm.limit, granted))
            if warm.free < request.need:
                there = await accounts.posted(connection, request.org, lock=True)
                more = portion(there, warm.free, request.need, self._chunk)
                if isinstance(more, LeaseAnswer):
                    return more
                await store.grant(connection, request.org, warm.epoch, more)
                await accounts.change_leased(connection, request.org, more)
                granted += more
        await self._grant(keys=[keys.lease], args=[warm.epoch, granted])
        return LeaseAnswer("ready", granted - warm.used - warm.held)

    async def _open(
        self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys, ticket: str, *, gen: str
    ) -> LeaseAnswer:
        async with connection.transaction():
            await accounts.posted(connection, request.org, lock=True)  # first, as posting a batch does
            await store.doubt(connection, request.org, self._shard)
            there = await accounts.posted(connection, request.org)
            amount = portion(there, 0, request.need, self._chunk)
            if isinstance(amount, LeaseAnswer):
                return amount
            epoch = await store.create(connection, request.org, self._shard, gen, amount)
            await accounts.change_leased(connection, request.org, amount)
        outcome = await self._create_in_redis(keys, ticket, gen, epoch, amount)
        log.info("lease_opened", org=request.org, epoch=epoch, amount=amount, outcome=outcome)
        if outcome != "OK":
            await self._take_back(connection, request.org, epoch, amount)
        return LeaseAnswer("ready", amount)

    async def _create_in_redis(self, keys: LeaseKeys, ticket: str, gen: str, epoch: int, amount: int) -> str:
        """Raises one of ``redis.Failed`` only when it may have been made: then it stays, and is found or doubted.

        Making it uses the ticket up. If the ticket could still be deleted, it was not made and now never will be.
        """
        try:
            return str(
                await self._create(keys=[keys.lease, keys.holds, keys.ticket], args=[ticket, gen, epoch, amount])
            )
        except redis.Failed:
            if await self._client.delete(keys.ticket) == 1:
                return "LOST"
            raise

    async def _take_back(self, connection: postgres.Connection, org: int, epoch: int, amount: int) -> None:
        """Closes a lease that never was in Redis, so that its credit is free again."""
        async with connection.transaction():
            await accounts.posted(connection, org, lock=True)
            await store.close(connection, org, epoch)
            await accounts.change_leased(connection, org, -amount)
