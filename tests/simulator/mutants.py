"""The project's own parts with one rule taken out of each, in memory only."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from libs.contracts.account import LeaseAnswer, LeaseKeys, LeaseRequest
from libs.contracts.dispatch import Hold
from libs.runtime import holds as runtime_holds
from libs.runtime import postgres, redis
from libs.runtime.holds import Ended, Holds
from services.billing import leases as billing_leases
from services.billing.leases import Cold, Leases
from services.billing.orphans import Looked as Seen
from services.billing.orphans import Marks, Orphans, Swept
from services.billing.reclaim import Reclaimer
from services.billing.store import leases as store
from services.billing.store.charges import Leased
from tests.simulator.events import LEAST_LEASED, MOST_LEASED, SHARD
from tests.simulator.naive import CachedBalance
from tests.simulator.router import Router
from tests.simulator.variant import Variant

OTHER_PROCESS = "string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')"
HASTE_MS = 300


class Mutant(Variant):
    """Few orgs that spend all they have: what is wrong shows sooner."""

    orgs = 4


def without(text: str, old: str, new: str) -> str:
    """Raises AssertionError when the rule is not there, or more than once."""
    assert text.count(old) == 1, f"{old!r} is not once in the script"
    return text.replace(old, new)


def _lua(name: str) -> str:
    return (Path(billing_leases.__file__).parent / "lua" / f"{name}.lua").read_text(encoding="utf-8")


class SameEpochLeases(Leases):
    """After a loss the open lease is made again."""

    def __init__(self, pool: postgres.Pool, client: redis.Client, *rest: object) -> None:
        super().__init__(pool, client, *rest)  # type: ignore[arg-type]
        text = without(_lua("create"), "tonumber(epoch) >= tonumber(ARGV[3])", "tonumber(epoch) > tonumber(ARGV[3])")
        self._create = client.register_script(text)

    async def _open(
        self, connection: postgres.Connection, request: LeaseRequest, keys: LeaseKeys, cold: Cold
    ) -> LeaseAnswer:
        epoch = await store.open_epoch(connection, request.org, self.shard)
        if epoch is None:
            return await super()._open(connection, request, keys, cold)
        granted = await store.granted(connection, request.org, epoch)
        await self._create_in_redis(keys, cold, epoch, granted)
        return LeaseAnswer("ready", granted.total)


class SameEpochAgain(Mutant):
    strikes: ClassVar = {"flush": 60}

    def leases(self, pool: postgres.Pool, client: redis.Client) -> Leases:
        return SameEpochLeases(pool, client, SHARD, LEAST_LEASED, MOST_LEASED)


class AnyProcess(Mutant):
    """Neither the hold nor a look asks which process of Redis made the lease."""

    strikes: ClassVar = {"old_copy": 120, "flush": 5}

    def holds(self, client: redis.Client) -> Holds:
        holds = super().holds(client)
        text = without(runtime_holds.HOLD, f"or lease[2] ~= {OTHER_PROCESS} ", "")
        holds._hold = client.register_script(text)
        return holds

    def leases(self, pool: postgres.Pool, client: redis.Client) -> Leases:
        leases = super().leases(pool, client)
        leases._look = client.register_script(without(_lua("look"), "and lease[2] == run_id ", ""))
        return leases


class HastyReclaimer(Reclaimer):
    """Leases in doubt are closed at once."""

    async def _close_doubts(self, connection: postgres.Connection, marks: Marks, before: int) -> None:
        await super()._close_doubts(connection, marks, marks.now + 1000)


class HastyClose(Mutant):
    strikes: ClassVar = {"flush": 100, "pause_billing": 60}

    def reclaimer(self, pool: postgres.Pool, client: redis.Client, leases: Leases, holds: Holds) -> Reclaimer:
        made = super().reclaimer(pool, client, leases, holds)
        made.__class__ = HastyReclaimer
        return made


class ExpiringReclaimer(Reclaimer):
    """A hold ends when it is old."""

    async def _sweep(self, connection: postgres.Connection, leases: list[Leased], marks: Marks) -> list[Seen]:
        old = marks.now - HASTE_MS
        return await super()._sweep(connection, leases, marks._replace(given_back=old, stale=old))


class HoldsExpire(Mutant):
    def reclaimer(self, pool: postgres.Pool, client: redis.Client, leases: Leases, holds: Holds) -> Reclaimer:
        made = super().reclaimer(pool, client, leases, holds)
        made.__class__ = ExpiringReclaimer
        return made


class NoFloorRouter(Router):
    def begins(self, hold: Hold) -> bool:
        return True


class NoFloor(Mutant):
    """Routers begin what is below the watermark that they promised."""

    strikes: ClassVar = {"top_up": 40}
    dawdles = 0.4

    def router(self, spool: str, *rest: object) -> Router:
        made = super().router(spool, *rest)  # type: ignore[arg-type]
        made.__class__ = NoFloorRouter
        return made


class BlindOrphans(Orphans):
    """Whatever is old is voided; whether it is charged is not asked."""

    async def sweep(self, connection: postgres.Connection, leases: Sequence[Leased], marks: Marks) -> Swept:
        looked = await self._with_holds(await self._look(leases))
        before = marks.given_back or 0
        old = [held for each in looked for held in each.holds if held.authorized_at < before]
        await self._void(connection, old, marks.now)
        await self._holds.settle_all([Ended(held.org, held.request_id, 0) for held in old])
        return Swept(looked, 0, len(old))


class BlindVoid(Mutant):
    strikes: ClassVar = {"flush": 2, "restart": 2, "old_copy": 2, "top_up": 40}

    loses = loses_again = 0.9

    def orphans(self, client: redis.Client, holds: Holds) -> Orphans:
        return BlindOrphans(client, holds)


class ForgetfulRouter(Router):
    def forgettable(self, booked: list[UUID]) -> list[UUID]:
        return [request for request, record in self.records.items() if record.shipped_at]


class ForgetsWhatIsShipped(Mutant):
    """Routers forget what the broker has, booked or not."""

    strikes: ClassVar = {"lose_queue": 60, "pause_billing": 60}

    def router(self, spool: str, *rest: object) -> Router:
        made = super().router(spool, *rest)  # type: ignore[arg-type]
        made.__class__ = ForgetfulRouter
        return made


class GrantsAnyLease(Mutant):
    """A grant that comes late changes whatever lease it finds."""

    orgs = 2
    strikes: ClassVar = {"flush": 80, "top_up": 60}
    least_leased = 300
    late = 0.3

    def leases(self, pool: postgres.Pool, client: redis.Client) -> Leases:
        leases = super().leases(pool, client)
        old = f"if lease[1] ~= ARGV[1] or lease[2] ~= {OTHER_PROCESS} then return 'OLD' end"
        leases._grant = client.register_script(without(_lua("grant"), old, "if not lease[1] then return 'OLD' end"))
        return leases


class GrantsWhatWasRevoked(Mutant):
    """A grant from before a revocation raises the limit again."""

    orgs = 2
    strikes: ClassVar = {"revoke": 600, "top_up": 100, "flush": 2, "restart": 2, "old_copy": 2}
    least_leased = 300
    late = 0.4

    def leases(self, pool: postgres.Pool, client: redis.Client) -> Leases:
        leases = super().leases(pool, client)
        old = "if lease[3] ~= ARGV[2] then return 'OLD' end"
        leases._grant = client.register_script(without(_lua("grant"), old, ""))
        return leases


class CashFirst(Mutant):
    """Redis counts a cost as cash that the ledger takes from the plan."""

    strikes: ClassVar = {"flush": 2, "restart": 2, "old_copy": 2, "top_up": 60}

    def holds(self, client: redis.Client) -> Holds:
        holds = super().holds(client)
        text = without(
            runtime_holds.SETTLE,
            "local plan_spent = math.min(cost, tonumber(plan))",
            "local plan_spent = math.min(math.max(cost - tonumber(cash), 0), tonumber(plan))",
        )
        holds._settle = client.register_script(text)
        return holds


MUTANTS: tuple[type[Variant], ...] = (
    CachedBalance,
    SameEpochAgain,
    AnyProcess,
    HastyClose,
    HoldsExpire,
    NoFloor,
    BlindVoid,
    ForgetsWhatIsShipped,
    GrantsAnyLease,
    GrantsWhatWasRevoked,
    CashFirst,
)
