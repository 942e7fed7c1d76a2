"""Scripts that come late, twice or in another order, and a Redis that is not the one it was."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local import ports, processes
from libs.contracts.account import lease_keys
from libs.contracts.dispatch import Hold
from libs.runtime import redis
from libs.runtime.holds import NotTaken
from services.billing.portion import MOST_LEASED
from tests.fixtures import servers as private
from tests.fixtures.lending import ORG, Lender
from tests.fixtures.servers import BASES, Servers
from tests.fixtures.stores import FOLDER

CREATE = "lease holds keys ticket"


async def test_a_ticket_opens_one_lease_and_only_the_last_one_counts(lender: Lender) -> None:
    _, _, gen = await lender.look("first")
    assert (await lender.look("second"))[0] == "COLD"
    assert await lender.run("create", CREATE, "first", gen, 1, 100, 0) == "STALE"
    assert await lender.run("create", CREATE, "second", "f" * 40, 1, 100, 0) == "STALE"
    assert await lender.run("create", CREATE, "second", gen, 1, 100, 0) == "OK"
    assert await lender.run("create", CREATE, "second", gen, 2, 100, 0) == "STALE"
    assert await lender.amounts("e", "lim") == (1, 100)


async def test_an_epoch_that_has_passed_is_not_opened_again(lender: Lender) -> None:
    await lender.create(100, epoch=4)
    await lender.take(1, 10)
    await lender.everything.set(lease_keys(ORG).ticket, "mine")
    gen = str(await lender.everything.hget(lease_keys(ORG).lease, "g"))
    for epoch in (3, 4):
        await lender.everything.set(lease_keys(ORG).ticket, "mine")
        assert await lender.run("create", CREATE, "mine", gen, epoch, 500, 0) == "OLD"
    assert await lender.amounts("e", "lim", "held") == (4, 100, 10)


async def test_a_new_lease_begins_with_nothing_of_the_old(lender: Lender) -> None:
    await lender.create(100, 20)
    await lender.take(1, 50)
    await lender.tell(70, 5)
    await lender.everything.hset(lease_keys(ORG).lease, "g", "0" * 40)
    await lender.create(80, 0, epoch=2)
    assert await lender.amounts("lim", "held", "used", "plim", "pheld", "pused") == (80, 0, 0, 0, 0, 0)
    assert not await lender.end(1, 50), "it is charged to the lease that it was made in"
    assert await lender.amounts("used", "held") == (0, 0)
    assert await lender.take(2, 10, cap=100) == NotTaken("keycold")


async def test_a_hold_of_an_older_lease_is_never_counted_in_a_newer_one(lender: Lender) -> None:
    await lender.create(100, epoch=2)
    await lender.everything.hset(lease_keys(ORG).holds, "0" * 31 + "1", "60:0:1:1780000000000:70")
    assert not await lender.end(1, 60)
    assert await lender.amounts("used", "held") == (0, 0)


async def test_grants_may_repeat_and_overtake_one_another(lender: Lender) -> None:
    await lender.create(100, 10)
    assert await lender.grant(300, 10) == "OK"
    assert await lender.grant(200, 40) == "OK"
    assert await lender.grant(300, 10) == "OK"
    assert await lender.amounts("lim", "plim") == (300, 40)
    assert await lender.grant(900, epoch=2) == "OLD"
    assert await lender.amounts("lim", "plim") == (300, 40)


async def test_what_was_revoked_is_not_given_back_by_a_grant_that_was_on_its_way(lender: Lender) -> None:
    await lender.create(100, 50)
    await lender.take(1, 60)
    await lender.take(2, 30)
    await lender.end(2, 10)
    assert await lender.revoke() == ["OK", "20", "50"]
    assert await lender.take(3, 1) == NotTaken("need", 0)
    assert await lender.grant(400, 90, revocations=0) == "OLD"
    assert await lender.take(3, 1) == NotTaken("need", 0)
    assert await lender.end(1, 60), "what runs may finish"
    assert await lender.amounts("lim", "used", "held", "plim", "pused", "pheld") == (20, 20, 0, 50, 50, 0)
    assert (await lender.look())[3] == "1"
    assert await lender.grant(400, 90, revocations=1) == "OK"
    assert isinstance(await lender.take(3, 1), Hold)
    assert await lender.revoke(epoch=2) == ["OLD"]


async def test_a_lease_in_use_is_not_closed(lender: Lender) -> None:
    await lender.create(100, 20)
    assert await lender.close(idle_ms=60_000) == ["BUSY"], "it was asked for just now"
    await lender.take(1, 20)
    assert await lender.close() == ["BUSY"], "only plan credit is held"
    await lender.take(2, 20)
    await lender.end(1, 0)
    assert await lender.take(3, 20) == await lender.take(3, 20)
    await lender.end(3, 15)
    assert await lender.close() == ["BUSY"]
    await lender.end(2, 9)
    assert await lender.close(epoch=2) == ["OLD"]
    assert await lender.close() == ["OK", "9", "15"]
    assert await lender.close() == ["OLD"]
    assert await lender.take(4, 1) == NotTaken("cold")
    assert await lender.grant(500) == "OLD"


async def test_a_lease_that_grew_too_large_is_over_before_its_credit_is_in_doubt(lender: Lender) -> None:
    await lender.create(600, 300)
    assert (await lender.look(full=901))[0] == "WARM"
    await lender.take(1, 5)
    assert (await lender.look(full=900))[0] == "COLD"
    assert await lender.take(2, 5) == NotTaken("cold"), "nothing is held in it any more"
    await lender.create(50, epoch=2)
    assert not await lender.end(1, 5)
    assert MOST_LEASED < 1 << 53


async def test_a_key_is_kept_within_its_cap_across_leases(lender: Lender) -> None:
    await lender.create(1000, 100)
    assert await lender.take(1, 10, cap=100) == NotTaken("keycold")
    assert await lender.tell(70, 55) == "OK"
    assert await lender.take(1, 46, cap=100) == NotTaken("keycap", 45, 0)
    assert isinstance(await lender.take(1, 45, cap=100), Hold)
    assert await lender.take(2, 1, cap=100) == NotTaken("keycap", 0, 0)
    assert await lender.end(1, 40)
    assert await lender.take(2, 6, cap=100) == NotTaken("keycap", 5, 0)
    assert isinstance(await lender.take(2, 5, cap=100), Hold)
    assert isinstance(await lender.take(3, 500, key=71), Hold), "another key has its own cap or none"
    assert await lender.take(4, 1, key=72, cap=100) == NotTaken("keycold")
    assert await lender.tell(70, 5, epoch=2) == "OLD"


async def test_what_is_in_doubt_counts_and_is_said(lender: Lender) -> None:
    await lender.create(1000)
    await lender.tell(70, 80, 30)
    assert await lender.take(1, 21, cap=100) == NotTaken("keycap", 20, 30)
    await lender.tell(70, 55)
    assert isinstance(await lender.take(1, 45, cap=100), Hold)


async def test_what_a_key_spent_without_a_cap_counts_when_it_has_one(lender: Lender) -> None:
    await lender.create(1000)
    await lender.take(1, 60)
    await lender.end(1, 50)
    await lender.take(2, 30)
    await lender.tell(70, 0)
    assert await lender.take(3, 21, cap=100) == NotTaken("keycap", 20, 0)


async def test_revoking_closing_granting_and_holding_at_once_never_overdraw(lender: Lender) -> None:
    await lender.create(500, 200)
    granted = [(500, 200)]

    async def grants() -> None:
        for more in range(1, 20):
            now = (500 + more * 10, 200 + more * 5)
            granted.append(now)
            await lender.grant(*now)
            await asyncio.sleep(0)

    async def holds(start: int) -> None:
        for number in range(start, start + 40):
            if isinstance(await lender.take(number, 1 + number % 60), Hold) and number % 3:
                await lender.end(number, number % 50)

    async def revokes() -> None:
        for _ in range(5):
            await lender.revoke()
            assert await lender.close() != ["OK"]

    await asyncio.gather(grants(), holds(1000), holds(2000), holds(3000), revokes())
    limit, used, held, plan_limit, plan_used, plan_held = await lender.amounts(
        "lim", "used", "held", "plim", "pused", "pheld"
    )
    assert used + held <= limit <= granted[-1][0]
    assert plan_used + plan_held <= plan_limit <= granted[-1][1]
    assert min(used, held, plan_used, plan_held) >= 0


@pytest.fixture(scope="module")
async def own_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    claim = ports.claim(BASES)
    folder = Path(os.environ[FOLDER]) / f"redis-{claim.base}"
    own = private.open_servers(folder, claim.base)
    await asyncio.to_thread(own.need, "redis")
    yield own
    private.end(folder)
    shutil.rmtree(folder, ignore_errors=True)
    claim.close()


async def test_after_a_restart_every_lease_is_cold_although_its_data_is_there(own_redis: Servers) -> None:
    stores, part = own_redis.stack.stores, own_redis.part("redis")
    async with redis.client(stores.redis_url, seconds=5, retries=3) as client:
        lender = Lender(client, client)
        await lender.create(100)
        assert isinstance(await lender.take(1, 10), Hold)
        before = await lender.look()
        await asyncio.to_thread(part.stop)
        await asyncio.to_thread(part.start)
        assert await client.hget(lease_keys(ORG).lease, "lim") == "100", "what was appended was read again"
        assert await lender.take(2, 10) == NotTaken("cold")
        assert await lender.take(1, 10) == NotTaken("cold")
        assert (before[0], (await lender.look())[0]) == ("WARM", "COLD")
        await lender.create(50, epoch=2)
        assert not await lender.end(1, 10)
        processes.kill(part.record)
        await asyncio.to_thread(part.start)
        assert await lender.take(3, 10) == NotTaken("cold")
