"""Every program of compose.yaml, started with the environment and the arguments that Compose gives it and nothing else.

Only what containers would change is changed: host names and ports become those of the private servers, folders of a
volume become folders of the test.
"""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.fixtures import compose
from tests.fixtures.gateway import free_port, until
from tests.fixtures.stores import Stores

SECONDS: Final = 60
ROLES: Final = ("owner", "edge", "billing", "catalog")
# What an image's entrypoint is when compose.yaml names none, and what its commands are where there is no image.
ENTRYPOINT: Final = ["python", "-m", "services"]
COMMANDS: Final = {"python": [sys.executable], "tokenoutput": [sys.executable, "-m", "services.cli"]}


def command_of(service: str) -> list[str]:
    """What Compose runs, with this test's Python."""
    found: dict[str, list[str]] = compose.read({})["services"][service]
    program, *arguments = found.get("entrypoint", ENTRYPOINT) + found["command"]
    return [*COMMANDS[program], *arguments]


async def spawned(command: Sequence[str], environment: Mapping[str, str], output: int | BinaryIO = PIPE) -> Process:
    return await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=compose.ROOT, stdin=DEVNULL, stdout=output, stderr=STDOUT
    )


async def finished(process: Process) -> tuple[int, str]:
    """The exit code and everything that was said into a pipe."""
    said, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    return await process.wait(), (said or b"").decode()


class Composed:
    """What Compose would run, on this machine's ports and a run's private servers."""

    def __init__(self, stores: Stores, volume: Path) -> None:
        self.ports = {service: free_port() for service in (*compose.SERVICES, "simulator")}
        self.admin_ports = {service: free_port() for service in compose.SERVICES}
        self._stores = stores
        self._volume = volume
        self._processes: dict[str, Process] = {}

    async def run(self, job: str) -> tuple[int, str]:
        return await finished(await self._spawned(job, PIPE))

    async def start(self, service: str) -> None:
        with self.log(service).open("wb") as log:
            self._processes[service] = await self._spawned(service, log)

    def log(self, service: str) -> Path:
        return self._volume / f"{service}.log"

    async def stop(self, service: str) -> int:
        """The exit code after SIGTERM, which is what Compose sends."""
        process = self._processes.pop(service)
        process.send_signal(signal.SIGTERM)
        code, _ = await finished(process)
        return code

    async def end(self) -> None:
        for process in self._processes.values():
            process.kill()
            await process.communicate()

    async def _spawned(self, service: str, output: int | BinaryIO) -> Process:
        return await spawned([self._here(word) for word in command_of(service)], self._environment(service), output)

    def _environment(self, service: str) -> dict[str, str]:
        given = compose.environment(service, passwords(self._stores))
        found = {name: self._here(value) for name, value in given.items()}
        if service in self.admin_ports:
            found[f"TOKENOUTPUT_{service.upper()}_PORT"] = str(self.ports[service])
            found[f"TOKENOUTPUT_{service.upper()}_ADMIN_PORT"] = str(self.admin_ports[service])
        return found

    def _here(self, value: str) -> str:
        parts = urlsplit(value)
        if parts.hostname in compose.STORES:
            return self._store(parts.hostname, parts.username or "")
        if parts.hostname in self.ports:
            return f"http://127.0.0.1:{self.ports[parts.hostname]}"
        elsewhere = {
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
            "8090": str(self.ports["simulator"]),
            "/var/lib/tokenoutput": str(self._volume),
            "/etc/tokenoutput/catalog.toml": compose.shelf(),
        }
        return re.sub("|".join(map(re.escape, elsewhere)), lambda match: elsewhere[match[0]], value)

    def _store(self, host: str, user: str) -> str:
        urls: dict[str, list[str]] = {
            "postgres": [getattr(self._stores, f"{role}_url") for role in ROLES],
            "redis": [getattr(self._stores, f"{role}_redis_url") for role in ("edge", "router", "billing")],
            "rabbitmq": [getattr(self._stores, f"{role}_amqp_url") for role in ("router", "billing")],
        }
        return next(url for url in urls[host] if urlsplit(url).username == user)


def passwords(stores: Stores) -> dict[str, str]:
    """The private servers' passwords, as an operator's .env would have them."""
    urls = {f"{role.upper()}_DATABASE": getattr(stores, f"{role}_url") for role in ROLES}
    urls |= {f"{role.upper()}_REDIS": getattr(stores, f"{role}_redis_url") for role in ("edge", "router", "billing")}
    urls |= {f"{role.upper()}_AMQP": getattr(stores, f"{role}_amqp_url") for role in ("router", "billing")}
    return {f"TOKENOUTPUT_{name}_PASSWORD": urlsplit(url).password or "" for name, url in urls.items()}


async def answers_well(session: aiohttp.ClientSession, port: int, path: str) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}{path}") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


@pytest.fixture(scope="module")
async def running(fresh_stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Composed]:
    """Everything of the demo but its customer: the jobs have run, the services are ready."""
    made = Composed(fresh_stores, tmp_path_factory.mktemp("volume"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.end)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for job in ("migrate", "shelf"):
            code, said = await made.run(job)
            assert code == 0, said
        for service in ("simulator", *compose.SERVICES):
            await made.start(service)
        for service, port in made.admin_ports.items():
            assert await until(partial(answers_well, session, port, "/readyz"), SECONDS), made.log(service).read_text()
        yield made


@pytest.mark.parametrize("service", compose.SERVICES)
async def test_a_service_becomes_ready_and_lives(running: Composed, service: str) -> None:
    async with aiohttp.ClientSession() as session:
        assert await answers_well(session, running.admin_ports[service], "/readyz")
        assert await answers_well(session, running.admin_ports[service], "/livez")


async def test_the_demos_customer_can_call_at_once_and_stays_the_same(running: Composed) -> None:
    code, said = await running.run("seed")
    assert code == 0, said
    key = re.search(r"^Demo key +(\S+)$", said, re.MULTILINE)
    assert key is not None, said
    body = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "Hello"}]}
    url = f"http://127.0.0.1:{running.ports['edge']}/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key[1]}"}) as session,
        session.post(url, json=body) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
    assert answer["usage"]["completion_tokens"] > 0
    assert await running.run("seed") == (0, said)


async def test_the_operators_command_is_there(running: Composed) -> None:
    code, said = await running.run("operator")
    assert code == 0, said
    assert "ledger" in said


async def test_a_service_ends_well_when_compose_stops_it(running: Composed) -> None:
    """The last of those that share the services: afterwards there are none."""
    codes = {service: await running.stop(service) for service in (*reversed(compose.SERVICES), "simulator")}
    assert set(codes.values()) == {0}, codes


@pytest.mark.parametrize("program", [*compose.SERVICES, "migrate", "shelf"])
async def test_in_production_a_program_refuses_every_well_known_secret_by_its_name(program: str) -> None:
    environment = compose.environment(program, {"TOKENOUTPUT_ENV": "production"})
    command = [compose.shelf() if word.startswith("/etc/") else word for word in command_of(program)]
    code, said = await finished(await spawned(command, environment))
    assert code != 0
    refused = {line.split(":")[0].strip() for line in said.splitlines() if "well-known" in line}
    assert refused == {name for name, value in environment.items() if "dev-only" in value} != set()


async def test_in_production_the_router_refuses_to_make_up_answers() -> None:
    environment = compose.environment("router", {**compose.example(), "TOKENOUTPUT_ROUTER_SIMULATOR_URL": "http://sim"})
    code, said = await finished(await spawned(command_of("router"), environment))
    assert code != 0
    assert "simulator_url" in said.lower()


async def test_in_production_nobody_gets_the_demos_credit() -> None:
    environment = compose.environment("seed", compose.example())
    code, said = await finished(await spawned(command_of("seed"), environment))
    assert code != 0
    assert "TOKENOUTPUT_ENV=dev only" in said
