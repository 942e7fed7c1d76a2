"""The whole sequence: servers, tables, shelf, simulator, services, the first customer; and all of it back again."""

import os
import shlex
from collections.abc import Mapping
from typing import Final

from deploy.local import demo, processes, servers
from deploy.local.demo import Operator
from deploy.local.lock import locked
from deploy.local.part import Part
from deploy.local.ports import HOST, SERVICES
from deploy.local.programs import Services, Simulator
from deploy.local.progress import Progress
from deploy.local.stack import Stack, service_environment, write_private

MODEL: Final = "deepseek-chat"


def up(stack: Stack, progress: Progress) -> None:
    """Brings up what is down, restarts what has changed, and says how to use it. Data and keys are kept."""
    with locked(stack.run_dir / "lock", progress.say):
        services, simulator = Services(stack), Simulator(stack)
        servers.start(stack, servers.servers(stack), progress)
        operator = Operator(services.environment(), stack.run_dir / "operator.log")
        _restart(simulator, progress, fresh=simulator.current)
        if not services.settle():
            _bring_up(services, operator, progress)
        known = stack.run_dir / "demo.json"
        if known.exists():
            key = demo.funded_key(operator, known)
        else:
            with progress.step("Org demo with $100 and a key"):
                key = demo.funded_key(operator, known)
        write_private(stack.env_file, env_text(stack, key))
    progress.say(summary(stack, key, os.environ))


def down(stack: Stack, progress: Progress) -> None:
    """Stops everything, callers before those that they call. The data stays."""
    with locked(stack.run_dir / "lock", progress.say):
        for part in (Services(stack), Simulator(stack)):
            servers.stop([part], progress)
        servers.stop(servers.servers(stack), progress)


def parts(stack: Stack) -> list[Part]:
    """Every process of the stack, in the order in which they start."""
    return [*servers.servers(stack), Simulator(stack), Services(stack)]


def _bring_up(services: Services, operator: Operator, progress: Progress) -> None:
    servers.stop([services], progress)
    with progress.step("Tables migrated"):
        operator.migrate()
    with progress.step("Catalog published"):
        operator.apply_catalog()
    _restart(services, progress, fresh=False)


def _restart(part: Simulator | Services, progress: Progress, *, fresh: bool) -> None:
    if fresh and processes.running(part.record):
        return
    servers.stop([part], progress)
    servers.refuse_taken_ports([part])
    with progress.step(f"{part.title} on {HOST}:{next(iter(part.ports.values()))}"):
        part.start()


def env_text(stack: Stack, key: str) -> str:
    """The content of ``.run/env``, for ``set -a; . .run/env``."""
    found = {
        "GATEWAY_URL": stack.gateway_url,
        "API_KEY": key,
        "DATABASE_URL": stack.stores.owner_url,
        "REDIS_URL": stack.stores.redis_url,
        "AMQP_URL": stack.stores.amqp_url,
        "SIMULATOR_URL": stack.simulator_url,
    }
    for service in SERVICES:
        found[f"ADMIN_{service.upper()}_URL"] = f"http://{HOST}:{stack.ports.admin(service)}"
    found |= service_environment(stack)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in found.items())


def summary(stack: Stack, key: str, environment: Mapping[str, str]) -> str:
    """What a person needs next."""
    body = f'{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    lines = [
        "",
        f"  Base URL   {stack.gateway_url}      (OpenAI SDKs: {stack.gateway_url}/v1)",
        f"  Demo key   {key}",
        f"  Settings   {stack.env_file}",
        "",
    ]
    for provider, (real, models) in demo.offers(environment).items():
        lines.append(f"  {'real' if real else 'simulated':<10} {provider}: {', '.join(models)}")
    lines += [
        "",
        f"  curl {stack.gateway_url}/v1/chat/completions \\",
        f"    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\",
        f"    -d '{body}'",
    ]
    return "\n".join(lines)
