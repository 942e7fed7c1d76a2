"""The private servers: data that stays, doors that are shut, and failures that say what to do."""

import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import aio_pika
import asyncpg
import pytest
import stamina
from aio_pika.exceptions import AMQPError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from deploy.local import ports, postgres, processes, servers
from deploy.local.errors import StackError
from deploy.local.ports import HOST, SPAN
from deploy.local.progress import Progress
from deploy.local.stack import ROOT, open_stack
from tests.fixtures.servers import BASES, Name
from tests.fixtures.stores import OwnStack

QUEUE: Final = "kept"
NAMES: Final[tuple[Name, ...]] = ("postgres", "redis", "rabbitmq")


@pytest.fixture
def free_base() -> Iterator[int]:
    claim = ports.claim(BASES)
    yield claim.base
    claim.close()


@pytest.fixture
async def written(own_stack: OwnStack) -> AsyncIterator[OwnStack]:
    """Servers with one fact in each."""
    await write(own_stack)
    yield own_stack
    await clear(own_stack)


async def write(own: OwnStack) -> None:
    database = await asyncpg.connect(own.stores.owner_url)
    await database.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await database.close()
    async with Redis.from_url(own.stores.redis_url) as redis:
        await redis.set(QUEUE, "42")
    async with await aio_pika.connect(own.stores.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"42", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, QUEUE)


async def read(own: OwnStack) -> list[str]:
    database = await asyncpg.connect(own.stores.owner_url)
    row = await database.fetchval("SELECT answer FROM kept")
    await database.close()
    async with Redis.from_url(own.stores.redis_url, decode_responses=True) as redis:
        value = await redis.get(QUEUE)
    return [str(row), str(value), await message_of(own.stores.amqp_url)]


async def message_of(url: str) -> str:
    """The message in the queue, which elects its leader only after the broker has opened its door."""
    async for attempt in stamina.retry_context(on=AMQPError, attempts=None, timeout=20):
        with attempt:
            async with await aio_pika.connect(url) as connection:
                queue = await (await connection.channel()).get_queue(QUEUE)
                message = await queue.get(timeout=20)
                await message.reject(requeue=True)
                return message.body.decode()
    raise AssertionError("unreachable")


async def clear(own: OwnStack) -> None:
    database = await asyncpg.connect(own.stores.owner_url)
    await database.execute("DROP TABLE kept")
    await database.close()
    async with await aio_pika.connect(own.stores.amqp_url) as connection:
        await (await connection.channel()).queue_delete(QUEUE)


async def test_data_survives_a_stop_and_a_start(written: OwnStack) -> None:
    for name in NAMES:
        await written.stop(name)
    for name in NAMES:
        await written.start(name)
    assert await read(written) == ["42"] * 3


async def test_data_survives_a_kill(written: OwnStack) -> None:
    await asyncio.sleep(2)  # RabbitMQ 3.10 puts a new quorum queue on record within a second; killed before, it is lost
    for name in NAMES:
        await written.kill(name)
        await written.start(name)
    assert await read(written) == ["42"] * 3


async def test_a_start_of_what_runs_changes_nothing(own_stack: OwnStack) -> None:
    before = [processes.running(part.record) for part in servers.servers(own_stack.stack)]
    servers.start(own_stack.stack, servers.servers(own_stack.stack), Progress(quiet=True))
    assert None not in before
    assert [processes.running(part.record) for part in servers.servers(own_stack.stack)] == before


@pytest.mark.parametrize(
    ("name", "file"), [("redis", "users.acl"), ("redis", "redis.conf"), ("rabbitmq", "users.json")]
)
async def test_a_server_that_runs_from_something_older_is_started_again_and_keeps_its_data(
    written: OwnStack, name: Name, file: str
) -> None:
    """As after an update of the checkout, when the services have users that the running servers do not know."""
    parts = {part.name: part for part in servers.servers(written.stack)}
    before = {part.name: processes.running(part.record) for part in parts.values()}
    path = written.stack.run_dir / name / file
    now = path.read_text()
    path.write_text("from an older version")
    assert not parts[name].current
    await asyncio.to_thread(servers.start, written.stack, list(parts.values()), Progress(quiet=True))
    after = {part.name: processes.running(part.record) for part in parts.values()}
    assert {each for each in before if before[each] != after[each]} == {name}
    assert None not in after.values()
    assert path.read_text() == now
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await read(written) == ["42"] * 3


async def test_the_servers_listen_on_this_machine_only(own_stack: OwnStack) -> None:
    base = own_stack.stack.ports.base
    local = {"0100007F", "00000000000000000000000001000000"}
    addresses = {
        (int(port, 16), address)
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]  # noqa: ASYNC240 - procfs does not block
        if line.split()[3] == "0A"
        for address, port in [line.split()[1].split(":")]
    }
    ours = {(port, address) for port, address in addresses if base <= port < base + SPAN - 1}
    assert {port for port, _ in ours} == {base, base + 1, base + 2, base + 3, base + 4}
    assert {address for _, address in ours} <= local


async def test_nobody_gets_in_without_the_password(own_stack: OwnStack) -> None:
    wrong = own_stack.stores.owner_url.replace(own_stack.stack.secrets.owner, "guess")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong)
    with pytest.raises(AMQPError):
        await aio_pika.connect(own_stack.stores.amqp_url.replace(own_stack.stack.secrets.amqp, "guess"))
    for url in (own_stack.stores.redis_url, own_stack.stores.edge_redis_url):
        async with Redis.from_url(url) as redis:
            assert await redis.execute_command("ECHO", "in") == b"in"  # type: ignore[no-untyped-call] # as the library has it
    async with Redis.from_url(own_stack.stores.redis_url.replace(own_stack.stack.secrets.redis, "guess")) as redis:
        with pytest.raises(AuthenticationError):
            await redis.get(QUEUE)


async def test_a_running_stack_does_not_move_to_other_ports(own_stack: OwnStack, free_base: int) -> None:
    moved = open_stack(own_stack.stack.run_dir, free_base, own_stack.stack.packages_dir)
    with pytest.raises(StackError, match="`make down` first"):
        servers.start(moved, servers.servers(moved), Progress(quiet=True))


def run_up(folder: Path, base: int) -> processes.Finished:
    environment = {**os.environ, "TOKENOUTPUT_RUN_DIR": str(folder), "TOKENOUTPUT_PORT_BASE": str(base)}
    return processes.run([sys.executable, "-m", "deploy.local", "servers-up"], environment, cwd=ROOT, seconds=60)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4])
def test_a_taken_port_is_one_sentence(tmp_path: Path, free_base: int, offset: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whoever was here before may have just gone
        other.bind((HOST, free_base + offset))
        other.listen()
        done = run_up(tmp_path / "run", free_base)
    assert done.code == 1
    assert done.output == ""
    assert done.errors.startswith(f"Port {free_base + offset} (")
    assert done.errors.count("\n") == 1


def test_data_of_another_postgresql_is_one_sentence(tmp_path: Path, free_base: int) -> None:
    stack = open_stack(tmp_path, free_base, tmp_path)
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(StackError, match=r"was made by PostgreSQL 9 and this is postgres .*: `make clean`"):
        postgres.Postgres(stack).start()
