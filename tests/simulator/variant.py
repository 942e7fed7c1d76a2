"""How the parts are made. A mutant is a variant that makes one of them wrong."""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar
from uuid import UUID

from prometheus_client import CollectorRegistry

from deploy.local.stack import Stores
from libs.contracts.account import LeaseAnswer, LeaseRequest
from libs.contracts.dispatch import Hold
from libs.errors import Unavailable
from libs.runtime import postgres, redis
from libs.runtime.holds import Holds, Payer
from services.billing.evidence import Rules
from services.billing.leases import Leases
from services.billing.orphans import Orphans
from services.billing.reclaim import Reclaimer
from services.billing.reclaim_metrics import ReclaimMetrics
from services.edge.admission import Admission
from services.edge.ask import Ask
from tests.simulator.accidents import LATE, Accidents, Died
from tests.simulator.events import LEAST_LEASED, MOST_LEASED, ORGS, SHARD
from tests.simulator.oracle import Oracle
from tests.simulator.router import Router

RULES = Rules(lag_ms=500, margin_ms=200, skew_ms=150, idle_ms=1500)
Till = Callable[[Payer, UUID, Ask], Awaitable[tuple[Ask, Hold]]]


class Neighbour:
    """Billing as an edge sees it, which it is not when it dies."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def lease(self, org: int, shard: str, need: int, key: int = 0) -> LeaseAnswer:
        try:
            return await self._leases.extend(LeaseRequest(org, shard, need, key))
        except (*postgres.TRANSIENT, *redis.Failed, Died) as error:
            raise Unavailable("billing is away") from error


class Variant:
    """As it is."""

    rules = RULES
    orgs = ORGS
    least_leased = LEAST_LEASED
    late = LATE
    dawdles = 0.05  # of orders come late to their router
    loses = 0.2  # of settlings at once are lost
    loses_again = 0.1  # and so many of billing's
    strikes: ClassVar[Mapping[str, int]] = {}  # which ones are more likely than by default

    def door(self, stores: Stores) -> str:
        """As whom edges come to Redis."""
        return stores.edge_redis_url

    def holds(self, client: redis.Client) -> Holds:
        return Holds(client)

    def leases(self, pool: postgres.Pool, client: redis.Client) -> Leases:
        return Leases(pool, client, SHARD, self.least_leased, MOST_LEASED)

    def till(self, pool: postgres.Pool, holds: Holds, leases: Leases, accidents: Accidents) -> Till:
        neighbour = Neighbour(accidents.around(leases))
        return Admission(holds, neighbour, shard=SHARD, topup_url="").hold  # type: ignore[arg-type]

    def router(self, spool: str, oracle: Oracle, chance: random.Random) -> Router:
        return Router(spool, oracle, self.rules, chance)

    def orphans(self, client: redis.Client, holds: Holds) -> Orphans:
        return Orphans(client, holds)

    def reclaimer(self, pool: postgres.Pool, client: redis.Client, leases: Leases, holds: Holds) -> Reclaimer:
        metrics = ReclaimMetrics(CollectorRegistry())
        return Reclaimer(pool, client, leases, self.orphans(client, holds), self.rules, metrics=metrics)

    async def prepare(self, pool: postgres.Pool, orgs: list[int]) -> None:
        """Nothing more than credit."""

    async def topped_up(self, client: redis.Client, org: int, amount: int) -> None:
        """Nobody has to be told."""
