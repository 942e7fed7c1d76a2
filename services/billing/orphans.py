"""Holds that are still in Redis long after their requests: settled if they are booked, voided if they never will be.

First the low mark, then the holds, then the books: what was below the mark was booked before, so it is found there.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from libs.contracts.account import lease_keys
from libs.runtime import postgres, redis
from libs.runtime.holds import Ended, Holds
from services.billing import evidence
from services.billing.evidence import Held
from services.billing.store import charges, reclaiming
from services.billing.store.charges import Leased

log = structlog.get_logger()

MOST_REMEMBERED: Final = 1000


class Marks(NamedTuple):
    """Unix milliseconds. ``now``: PostgreSQL's clock; ``given_back``: what was authorized before it and is not booked
    never will be, None when nobody says so; ``stale``: older holds are worth a look into the books."""

    now: int
    given_back: int | None
    stale: int


class Looked(NamedTuple):
    """A lease in Redis. ``lost``: there is none of that epoch in this process of Redis; ``idle_at``: when somebody last
    held in it, if nobody does now."""

    leased: Leased
    holds: list[Held]
    lost: bool
    idle_at: int | None


class Swept(NamedTuple):
    """What was found, and how many holds were ended with their charge, or without one."""

    leases: list[Looked]
    settled: int
    voided: int


class Orphans:
    """The holds of one Redis."""

    def __init__(self, client: redis.Client, holds: Holds) -> None:
        self._client = client
        self._holds = holds
        self._unreadable: set[tuple[int, str]] = set()

    async def sweep(self, connection: postgres.Connection, leases: Sequence[Leased], marks: Marks) -> Swept:
        """A command to Redis for each lease, one more where something is held, and two round trips for all of them; the
        books are asked about stale holds only."""
        looked = await self._look(leases)
        found = dict.fromkeys(held for each in looked for held in each.holds)  # an org may have several leases
        stale = [held for held in found if held.authorized_at < marks.stale]
        if not stale:
            return Swept(looked, 0, 0)
        ids = [held.request_id for held in stale]
        booked = {i: known.paid for i, known in (await charges.known(connection, ids)).items()}
        parked = await reclaiming.undecided(connection, ids)
        fates = {
            held: evidence.fate(held, marks.given_back, booked.get(held.request_id), parked=held.request_id in parked)
            for held in stale
        }
        settled = [held for held in stale if fates[held] == "settle"]
        voided = await self._void(connection, [held for held in stale if fates[held] == "void"], marks.now)
        ended = [Ended(h.org, h.request_id, booked.get(h.request_id, 0)) for h in (*settled, *voided)]
        await self._holds.settle_all(ended)
        return Swept(looked, len(settled), len(voided))

    async def _void(self, connection: postgres.Connection, orphans: list[Held], now: int) -> list[Held]:
        """First in the books, so that nothing is charged any more, then in Redis."""
        voided = await reclaiming.void(connection, orphans, now)
        for held in voided:
            log.info("orphan_voided", org=held.org, request_id=held.request_id.hex, amount=held.amount)
        if len(voided) < len(orphans):
            log.warning("orphans_left", orphans=len(orphans) - len(voided))  # booked just now, or not to be written
        return voided

    async def _look(self, leases: Sequence[Leased]) -> list[Looked]:
        """Raises one of ``redis.Failed``."""
        if not leases:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            await pipe.info("server")
            for org, _ in leases:
                await pipe.hmget(lease_keys(org).lease, ["e", "g", "t", "held", "pheld"])
            server, *answers = await pipe.execute()
        looked = [_looked(*each, server["run_id"]) for each in zip(leases, answers, strict=True)]
        return await self._with_holds(looked)

    async def _with_holds(self, looked: list[Looked]) -> list[Looked]:
        """Where nothing is held there are none, and that is most leases."""
        holding = [each.leased[0] for each in looked if each.idle_at is None]
        async with self._client.pipeline(transaction=False) as pipe:
            for org in holding:
                await pipe.hgetall(lease_keys(org).holds)
            found = dict(zip(holding, await pipe.execute(), strict=True))
        return [each._replace(holds=self._read(each.leased[0], found.get(each.leased[0], {}))) for each in looked]

    def _read(self, org: int, holds: dict[str, str]) -> list[Held]:
        found = []
        for field, value in holds.items():
            try:
                found.append(evidence.read_hold(org, field, value))
            except ValueError as error:
                self._complain(org, field, error)
        return found

    def _complain(self, org: int, field: str, error: ValueError) -> None:
        if (org, field) in self._unreadable:
            return
        if len(self._unreadable) >= MOST_REMEMBERED:
            self._unreadable.clear()
        self._unreadable.add((org, field))
        log.error("hold_unreadable", org=org, field=field[:40], error=str(error)[:100])


def _looked(leased: Leased, lease: list[str | None], gen: str) -> Looked:
    epoch, made_by, last, *held = lease
    lost = epoch != str(leased[1]) or made_by != gen or None in held  # a release that knew no plans made it
    idle = not lost and held == ["0", "0"]
    return Looked(leased, [], lost, int(last or 0) if idle else None)
