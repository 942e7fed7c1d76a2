"""Each service's user in Redis: it does all that its scripts do, and nothing else."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from libs.contracts.account import lease_keys
from libs.runtime import redis
from tests.fixtures.gateway import gateway_running
from tests.fixtures.stores import Stores

ROOT: Final = Path(__file__).parents[2]
ROLES: Final = ("edge", "router", "billing")
LEASE, HOLDS, CAPS, TICKET = lease_keys(1).lease, lease_keys(1).holds, lease_keys(1).keys, lease_keys(1).ticket
FORBIDDEN: Final = (
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "CONFIG GET requirepass",
    "CONFIG SET maxmemory 1",
    "CONFIG REWRITE",
    "KEYS *",
    "SCAN 0",
    "RANDOMKEY",
    "DBSIZE",
    "SHUTDOWN NOSAVE",
    "ACL LIST",
    "ACL SETUSER tokenoutput_edge +@all",
    "ACL LOAD",
    "CLIENT LIST",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 1",
    "CLIENT TRACKING ON BCAST",
    "MONITOR",
    "SLOWLOG GET",
    "SCRIPT FLUSH",
    "SCRIPT KILL",
    "FUNCTION FLUSH",
    "MODULE LIST",
    "REPLICAOF 127.0.0.1 1",
    "SAVE",
    "BGREWRITEAOF",
    "PUBLISH to:1 word",
    f"RENAME {LEASE} other",
    f"DUMP {LEASE}",
    f"EXPIRE {LEASE} 1",
    f"PERSIST {LEASE}",
)
OTHER_KEYS: Final = {"edge": "HGET other e", "router": "HGET session:1 e", "billing": "HGET tox e"}
# What billing may and the others may not: make a lease, end one, and let one be made.
BILLINGS: Final = (f"SET {TICKET} mine", f"GET {TICKET}", f"DEL {LEASE}")


class Step(NamedTuple):
    """One script as one user, and the first word of its answer."""

    role: str
    script: str
    keys: Sequence[str]
    args: Sequence[str | int]
    answer: str


SCRIPTS: Final = {path.name: path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.lua")}
ALL: Final = (LEASE, HOLDS, CAPS, TICKET)
NOBODY_YET: Final = "RUN-ID"  # stands for what Redis says of itself
STORY: Final = (
    Step("billing", "look.lua", ALL, ["mine", 1000], "COLD"),
    Step("billing", "create.lua", ALL, ["mine", NOBODY_YET, 1, 100, 50], "OK"),
    Step("billing", "look.lua", ALL, ["mine", 1000], "WARM"),
    Step("billing", "grant.lua", [LEASE], [1, 0, 200, 60], "OK"),
    Step("billing", "key_base.lua", [LEASE, CAPS], [1, 7, 0, 0], "OK"),
    Step("edge", "hold.lua", [LEASE, HOLDS, CAPS], ["a1", 70, 7, 1000], "OK"),
    Step("edge", "hold.lua", [LEASE, HOLDS, CAPS], ["a2", 10, 7, ""], "OK"),
    Step("billing", "hold.lua", [LEASE, HOLDS, CAPS], ["a3", 10, 7, ""], "OK"),
    Step("edge", "settle.lua", [LEASE, HOLDS, CAPS], ["a1", 0], "OK"),
    Step("router", "settle.lua", [LEASE, HOLDS, CAPS], ["a2", 9], "OK"),
    Step("billing", "settle.lua", [LEASE, HOLDS, CAPS], ["a3", 9], "OK"),
    Step("billing", "revoke.lua", [LEASE], [1], "OK"),
    Step("billing", "close.lua", [LEASE, HOLDS, CAPS], [1, 0], "OK"),
)


@pytest.fixture
async def admin(fresh_stores: Stores) -> AsyncIterator[redis.Client]:
    async with redis.client(fresh_stores.redis_url, seconds=5, retries=0) as opened:
        await opened.flushdb()
        await opened.hset(LEASE, mapping={"e": 1, "lim": 100})
        yield opened


@pytest.fixture
async def clients(fresh_stores: Stores, admin: redis.Client) -> AsyncIterator[dict[str, redis.Client]]:
    """Each service's own."""
    async with AsyncExitStack() as stack:
        yield {
            role: await stack.enter_async_context(
                redis.client(getattr(fresh_stores, f"{role}_redis_url"), seconds=5, retries=0)
            )
            for role in ROLES
        }


async def test_a_gateway_at_work_is_refused_nothing(fresh_stores: Stores, tmp_path: Path) -> None:
    """Refusals that a service swallows would show as well: Redis writes all of them down."""
    async with redis.client(fresh_stores.redis_url, seconds=5, retries=0) as admin:
        await admin.acl_log_reset()
        async with gateway_running(fresh_stores, tmp_path) as gateway:
            customer = await gateway.customer("10")
            for stream in (False, True):
                body = {"model": "deepseek-chat", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
                async with gateway.session.post(
                    f"{gateway.url}/v1/chat/completions", json=body, headers=customer.bearer
                ) as response:
                    assert response.status == 200, await response.text()
                    await response.read()
            assert await gateway.verify() is None
            assert gateway.faults() == []
        assert [entry for entry in await admin.acl_log() if entry["reason"] != "auth"] == []


async def test_every_script_runs_as_each_service_that_has_it(
    admin: redis.Client, clients: dict[str, redis.Client]
) -> None:
    await admin.flushdb()
    run_id = (await admin.info("server"))["run_id"]
    for step in STORY:
        script = clients[step.role].register_script(SCRIPTS[step.script].read_text("utf-8"))
        args = [run_id if arg == NOBODY_YET else arg for arg in step.args]
        answer = await script(keys=list(step.keys), args=args)
        assert step.answer in (answer, answer[0]), step
    assert {step.script for step in STORY} == set(SCRIPTS)


@pytest.mark.parametrize("role", ROLES)
async def test_scripts_go_through_a_pipeline_as_well(clients: dict[str, redis.Client], role: str) -> None:
    script = clients[role].register_script(SCRIPTS["settle.lua"].read_text("utf-8"))
    async with clients[role].pipeline(transaction=False) as pipe:
        for _ in range(2):
            await script(keys=[LEASE, HOLDS, CAPS], args=["gone", 1], client=pipe)
        assert await pipe.execute() == [["GONE"], ["GONE"]]


@pytest.mark.parametrize("command", FORBIDDEN)
@pytest.mark.parametrize("role", ROLES)
async def test_no_service_has_power_over_the_server_or_over_what_is_not_its_work(
    admin: redis.Client, clients: dict[str, redis.Client], role: str, command: str
) -> None:
    with pytest.raises(NoPermissionError):
        await say(clients[role], command)
    assert await admin.hget(LEASE, "lim") == "100"


@pytest.mark.parametrize("role", ROLES)
async def test_no_service_may_debug_even_where_redis_allows_it_to_somebody(admin: redis.Client, role: str) -> None:
    said = await say(admin, f"ACL DRYRUN tokenoutput_{role} DEBUG SLEEP 0")
    assert "no permissions to run the 'debug' command" in said


@pytest.mark.parametrize("role", ROLES)
async def test_no_service_reaches_other_keys(admin: redis.Client, clients: dict[str, redis.Client], role: str) -> None:
    await admin.hset("other", "e", "secret")
    with pytest.raises(NoPermissionError):
        await say(clients[role], OTHER_KEYS[role])
    for text in ("return redis.call('HGET', KEYS[1], 'e')", "return redis.call('HGET', 'other', 'e')"):
        with pytest.raises(ResponseError) as refused:
            await clients[role].register_script(text)(keys=["other"])
        assert is_refusal(refused.value)


@pytest.mark.parametrize("role", ROLES)
async def test_a_script_of_ones_own_making_may_do_no_more(
    admin: redis.Client, clients: dict[str, redis.Client], role: str
) -> None:
    for call in ("'FLUSHALL'", "'FLUSHDB'", "'KEYS', '*'", "'EXPIRE', KEYS[1], 1"):
        with pytest.raises(ResponseError) as refused:
            await clients[role].register_script(f"return redis.call({call})")(keys=[LEASE])
        assert is_refusal(refused.value), call
    assert await admin.hget(LEASE, "lim") == "100"


@pytest.mark.parametrize("command", BILLINGS)
async def test_only_billing_makes_and_ends_leases(clients: dict[str, redis.Client], command: str) -> None:
    for role in ("edge", "router"):
        with pytest.raises(NoPermissionError):
            await say(clients[role], command)
    await say(clients["billing"], command)


async def test_the_router_cannot_set_a_limit(admin: redis.Client, clients: dict[str, redis.Client]) -> None:
    with pytest.raises(NoPermissionError):
        await say(clients["router"], f"HSET {LEASE} lim 1000000")
    assert await admin.hget(LEASE, "lim") == "100"


async def test_nobody_gets_in_as_nobody_or_with_anothers_password(fresh_stores: Stores) -> None:
    edge, router = fresh_stores.edge_redis_url, fresh_stores.router_redis_url
    address, password = edge.partition("@")[2], router.partition("@")[0].rpartition(":")[2]
    for url in (f"redis://{address}", f"redis://tokenoutput_edge:{password}@{address}", f"redis://:guess@{address}"):
        async with redis.client(url, seconds=5, retries=0) as client:
            with pytest.raises((AuthenticationError, ResponseError)):
                await say(client, "PING")


async def say(client: redis.Client, command: str) -> Any:
    return await client.execute_command(*command.split())  # type: ignore[no-untyped-call] # as the library has it


def is_refusal(error: ResponseError) -> bool:
    """Redis words what it refuses inside a script in ways of its own, which differ between versions."""
    said = str(error).lower()
    return isinstance(error, NoPermissionError) or any(words in said for words in ("executing the script can't", "acl"))
