"""The system under test: servers of its own, every service as a process, a provider, and the network between them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import redis.asyncio

from deploy.demo.provider import journal
from deploy.demo.provider.journal import Record
from deploy.local import processes
from deploy.local.rabbitmq import RabbitMQ
from libs.runtime import postgres
from libs.runtime import redis as runtime_redis
from services.billing import verify
from services.billing.resting import Lender
from services.billing.verify import Truth
from tests.faults import truths
from tests.faults.processes import Service, environment_of, role_command
from tests.faults.truths import Rest
from tests.fixtures.gateway import Gateway, free_port, publish_catalog
from tests.fixtures.provider import Simulator
from tests.fixtures.proxy import PASS, Proxy, proxied
from tests.fixtures.servers import Name
from tests.fixtures.stores import OwnStack, Stores

ROLES: Final = {"catalog": "catalog", "billing": "billing", "router": "router", "edge": "edge", "edge2": "edge"}
SERVERS: Final[tuple[Name, ...]] = ("postgres", "redis", "rabbitmq")

# What takes minutes in earnest takes seconds here. Nothing else is changed.
SHORT: Final[dict[str, Any]] = {
    "redis_seconds": 1,
    "lease_chunk_nano": 2_000_000,
    "hangup_seconds": 5,
    "drain_seconds": 10,
    "reship_seconds": 10,
    "watermark_lag_seconds": 3,
    "reclaim_margin_seconds": 2,
    "idle_lease_seconds": 20,
}


class World:
    """Open one with ``opened``. Services are named ``catalog``, ``billing``, ``router``, ``edge``, ``edge2`` …"""

    def __init__(
        self, own: OwnStack, session: aiohttp.ClientSession, gateway: Gateway, links: dict[str, Proxy]
    ) -> None:
        self.own = own
        self.session = session
        self.gateway = gateway
        self.links = links
        self.folder = own.stack.run_dir
        self.resting: set[str] = set()
        self.shards: dict[str, Stores] = {"r0": own.stores}
        self.elsewhere: tuple[str, ...] = ()  # a command that counts the records of a spool which only it can see
        self.services: dict[str, Service] = {name: self._service(name, role) for name, role in ROLES.items()}

    @property
    def edges(self) -> list[str]:
        """Addresses of the edges that a balancer would choose from."""
        names = [name for name in self.services if name.startswith("edge") and name not in self.resting]
        return [f"http://127.0.0.1:{self.gateway.ports[name]}" for name in names]

    @property
    def spools(self) -> list[Path]:
        return sorted(self.folder.glob("spool*/"))

    def _service(self, name: str, role: str, **changes: str) -> Service:
        environment = environment_of(role, self.gateway.settings(role))
        own = {
            "PORT": str(self.gateway.ports[name]),
            "ADMIN_PORT": str(self.gateway.admin_ports[name]),
            **self._network(role),
            **changes,
        }
        environment |= {f"TOKENOUTPUT_{role.upper()}_{key}": value for key, value in own.items()}
        ready = f"http://127.0.0.1:{self.gateway.admin_ports[name]}/readyz"
        return Service(name, self.folder, role_command(role), environment, session=self.session, ready_url=ready)

    def _network(self, role: str) -> dict[str, str]:
        """The addresses that always lead through a proxy. Edges reach the router without one, because a proxy whose
        server is away cannot refuse a connection: it can only break it, and that is another story for a hold."""
        url = {name: link.url for name, link in self.links.items()}
        found: dict[str, dict[str, str]] = {
            "edge": {"REDIS_URL": url["edge_redis"]},
            "router": {"SIMULATOR_URL": url["router_provider"], "AMQP_URL": url["router_broker"]},
            "billing": {"DATABASE_URL": url["billing_postgres"]},
        }
        return found.get(role, {})

    def add(self, name: str, role: str, **changes: str) -> Service:
        """One more service, on ports of its own. The caller starts it."""
        self.gateway.ports[name], self.gateway.admin_ports[name] = free_port(), free_port()
        self.services[name] = self._service(name, role, **changes)
        return self.services[name]

    async def remove(self, *names: str) -> None:
        for name in names:
            await self.services.pop(name).end()

    async def start(self, *names: str) -> None:
        """Starts those that do not run, side by side, and waits until all of them are ready."""
        chosen = [self.services[name] for name in names or self.services]
        for service in chosen:
            if service.pid is None:
                await service.start()
        for service in chosen:
            await service.ready()

    async def restart(self, name: str, failpoints: str = "", **settings: str) -> Service:
        """Ends a service and starts it anew, with these failpoints armed and names set. Returns when it is ready."""
        service = self.services[name]
        await service.end()
        await service.start(failpoints, settings=settings)
        await service.ready()
        return service

    async def heal(self) -> None:
        """Everything that a scenario may have taken away is there again, and runs without anything armed."""
        self.resting.clear()
        for link in self.links.values():
            link.treat(PASS)
            await link.up()
        for name in SERVERS:
            self.own.thaw(name)
            if not self.own.running(name):
                await self.own.start(name)
        for service in self.services.values():
            service.thaw()
        await self.start()

    async def stop(self) -> None:
        for service in reversed(self.services.values()):
            service.thaw()
            await service.kill()

    @asynccontextmanager
    async def books(self) -> AsyncIterator[postgres.Connection]:
        """As the owner of the tables."""
        async with postgres.connected(self.own.stores.owner_url, "billing") as connection:
            yield connection

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Any]:
        client: Any = redis.asyncio.Redis.from_url(self.own.stores.redis_url, decode_responses=True)
        async with client:
            yield client

    async def rabbitmqctl(self, *arguments: str) -> str:
        """What it says."""
        broker = RabbitMQ(self.own.stack)
        command = [str(broker._scripts() / "rabbitmqctl"), "--quiet", *arguments]
        done = await asyncio.to_thread(processes.run, command, broker._environment(), seconds=60)
        assert done.code == 0, done.errors
        return done.output

    async def queued(self) -> dict[str, int]:
        """Messages by queue, of those that have any. Only the broker itself knows: a passive declaration is late."""
        lines = (await self.rabbitmqctl("list_queues", "name", "messages")).splitlines()
        depths = {name: int(depth) for name, _, depth in (line.partition("\t") for line in lines) if depth.isdecimal()}
        return {name: depth for name, depth in depths.items() if depth}

    def served(self, since: int = 0) -> list[Record]:
        """The provider's own account, from this many records on."""
        return journal.read(self.gateway.simulator.log_path)[since:]

    async def rest(self) -> Rest:
        """What still moves or lies about."""
        held: dict[str, int] = {}
        holds: dict[str, list[str]] = {}
        for shard, stores in self.shards.items():
            held_here, holds_here = await truths.held_in(stores.redis_url)
            held |= {f"{shard} {key}": amount for key, amount in held_here.items()}
            holds |= {f"{shard} {key}": found for key, found in holds_here.items()}
        async with self.books() as books:
            doubt = await truths.in_doubt(books)
        return Rest(held, holds, await self.spooled(), doubt)

    async def spooled(self) -> dict[str, int]:
        """Records by spool, of those that have any."""
        found = await truths.spooled_in(self.spools)
        if self.elsewhere:
            done = await asyncio.to_thread(processes.run, self.elsewhere, os.environ, seconds=60)
            found |= {"elsewhere": int(done.output)} if done.output.strip() not in ("", "0") else {}
        return found

    async def verified(self) -> str | None:
        """The first difference that `ledger verify --at-rest` finds, or None. What was noted is compared elsewhere."""
        for shard, stores in self.shards.items():
            async with self.books() as books, runtime_redis.client(stores.redis_url, seconds=10) as client:
                parked, anomalies = await truths.noted(books)
                truth = Truth(parked=parked, anomalies=anomalies)
                checks = verify.verify(books, truth, at_rest=True, lender=Lender(client, shard))
                if found := [difference async for _, difference in checks][-1]:
                    return f"{found.check} {found.what}"
        return None


@asynccontextmanager
async def opened(own: OwnStack) -> AsyncIterator[World]:
    """A world that serves. Its processes end with the context."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = await enter(aiohttp.ClientSession(connector=connector))
        await truths.install(own.stores.owner_url)
        provider = await enter(_provider(own.stack.run_dir, session))
        gateway = Gateway(own.stores, provider, session, own.stack.run_dir, **SHORT)
        gateway.ports["edge2"], gateway.admin_ports["edge2"] = free_port(), free_port()
        targets = {
            "edge_redis": own.stores.edge_redis_url,
            "edge_router": f"http://127.0.0.1:{gateway.ports['router']}",
            "router_provider": provider.url,
            "router_broker": own.stores.router_amqp_url,
            "billing_postgres": own.stores.billing_url,
        }
        world = World(own, session, gateway, {name: await enter(proxied(url)) for name, url in targets.items()})
        await publish_catalog(gateway.shelf, own.stores.catalog_url)
        stack.push_async_callback(world.stop)
        await world.start()
        yield world


@asynccontextmanager
async def _provider(folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[Simulator]:
    """The simulated provider as a process of its own: its clock and its load are not the caller's."""
    port, log = free_port(), folder / "provider.jsonl"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "deploy.demo.provider", "--port", str(port), "--log", str(log)]
    service = Service("provider", folder, command, os.environ, session=session, ready_url=f"{url}/healthz")
    await service.start()
    try:
        await service.ready()
        yield Simulator(url, log)
    finally:
        await service.kill()
