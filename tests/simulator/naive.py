"""What most gateways do: the balance is cached in Redis, taken from there, and read again from the ledger when it is
missing. The ledger's own leases are made so large here that they are in nobody's way."""

from typing import ClassVar
from uuid import UUID

from deploy.local.stack import Stores
from libs.contracts.dispatch import Hold
from libs.errors import InsufficientBalance, Unavailable
from libs.runtime import postgres, redis
from libs.runtime.clock import now_ms
from libs.runtime.holds import Ended, Holds, Payer
from services.billing.leases import Leases
from services.billing.reclaim import Reclaimer
from services.billing.store import accounts, leases
from services.edge.ask import Ask
from tests.simulator.accidents import Accidents
from tests.simulator.events import SHARD
from tests.simulator.variant import Till, Variant

PLENTY = 10**9
TAKE = """
local left = redis.call('GET', KEYS[1])
if not left then return 'MISSING' end
if tonumber(left) < tonumber(ARGV[1]) then return 'NO' end
redis.call('DECRBY', KEYS[1], ARGV[1])
return 'OK'
"""


def _key(org: int) -> str:
    return f"naive:{org}"


class CachedHolds(Holds):
    """What a request did not cost goes back to the cached balance."""

    def __init__(self, client: redis.Client) -> None:
        super().__init__(client)
        self.redis = client
        self.needs: dict[UUID, int] = {}

    async def settle(self, hold: Ended) -> None:
        need = self.needs.pop(hold.request_id, None)
        try:
            if need is not None and await self.redis.exists(_key(hold.org)):
                await self.redis.incrby(_key(hold.org), need - hold.cost)
        except redis.Failed:
            return


class CachedTill:
    def __init__(self, pool: postgres.Pool, holds: CachedHolds) -> None:
        self._pool = pool
        self._holds = holds

    async def hold(self, payer: Payer, request: UUID, wanted: Ask) -> tuple[Ask, Hold]:
        try:
            if not await self._taken(payer.org, wanted.need):
                raise InsufficientBalance("no")
        except redis.Failed as error:
            raise Unavailable("Redis is away") from error
        self._holds.needs[request] = wanted.need
        return wanted, Hold(wanted.need, 0, 1, SHARD, now_ms())

    async def _taken(self, org: int, need: int) -> bool:
        answer = await self._take(org, need)
        if answer == "MISSING":
            async with self._pool.acquire() as connection:
                posted = (await accounts.posted(connection, org)).cash.posted
            await self._holds.redis.set(_key(org), posted, nx=True)
            answer = await self._take(org, need)
        return answer == "OK"

    async def _take(self, org: int, need: int) -> str:
        return str(await self._holds.redis.eval(TAKE, 1, _key(org), need))


class Nothing:
    """There are no leases to take back."""

    async def turn(self) -> None:
        return


class CachedBalance(Variant):
    """It asks Redis for more than an edge may."""

    orgs = 4
    strikes: ClassVar = {"flush": 100, "pause_billing": 60, "top_up": 60}

    def reclaimer(self, pool: postgres.Pool, client: redis.Client, leases: Leases, holds: Holds) -> Reclaimer:
        return Nothing()  # type: ignore[return-value]

    def door(self, stores: Stores) -> str:
        return stores.redis_url

    async def topped_up(self, client: redis.Client, org: int, amount: int) -> None:
        if await client.exists(_key(org)):
            await client.incrby(_key(org), amount)

    def holds(self, client: redis.Client) -> CachedHolds:
        return CachedHolds(client)

    def till(self, pool: postgres.Pool, holds: Holds, leases: Leases, accidents: Accidents) -> Till:
        assert isinstance(holds, CachedHolds)
        return CachedTill(pool, holds).hold

    async def prepare(self, pool: postgres.Pool, orgs: list[int]) -> None:
        async with pool.acquire() as connection, connection.transaction():
            for org in orgs:
                await leases.create(connection, org, SHARD, "none", PLENTY)
                await accounts.change_leased(connection, org, PLENTY)
