"""One stack: where it lives, its ports, its secrets, and the addresses that follow from them."""

import json
import os
import secrets as random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final, Self

from deploy.local.errors import StackError
from deploy.local.lock import locked
from deploy.local.ports import HOST, SERVICES, Ports

ROOT: Final = Path(__file__).resolve().parents[2]
DEFAULT_BASE: Final = 25600
STACK_NAMES: Final = ("TOKENOUTPUT_RUN_DIR", "TOKENOUTPUT_PORT_BASE", "TOKENOUTPUT_CACHE_DIR")
DATABASE: Final = "tokenoutput"
OWNER: Final = "tokenoutput"
AMQP_USER: Final = "tokenoutput"


def new_secret() -> str:
    """Hexadecimal, so that it needs no quoting anywhere."""
    return random.token_hex(24)


@dataclass(frozen=True)
class Secrets:
    """Random values, made once per stack. Those that make themselves are younger than the first stacks, which get them
    at their next start; the others cannot be made again for data that knows them."""

    owner: str
    edge: str
    billing: str
    catalog: str
    redis: str
    amqp: str
    internal: str
    hold: str
    pepper: str
    edge_redis: str = field(default_factory=new_secret)
    router_redis: str = field(default_factory=new_secret)
    billing_redis: str = field(default_factory=new_secret)
    router_amqp: str = field(default_factory=new_secret)
    billing_amqp: str = field(default_factory=new_secret)

    @classmethod
    def new(cls) -> Self:
        return cls(**{each.name: new_secret() for each in fields(cls)})

    def redis_passwords(self) -> dict[str, str]:
        """The passwords of Redis, by the names that the list of its users has for them."""
        return {
            "TOKENOUTPUT_REDIS_PASSWORD": self.redis,
            "TOKENOUTPUT_EDGE_REDIS_PASSWORD": self.edge_redis,
            "TOKENOUTPUT_ROUTER_REDIS_PASSWORD": self.router_redis,
            "TOKENOUTPUT_BILLING_REDIS_PASSWORD": self.billing_redis,
        }

    def amqp_passwords(self) -> dict[str, str]:
        """The same for RabbitMQ."""
        return {
            "TOKENOUTPUT_AMQP_PASSWORD": self.amqp,
            "TOKENOUTPUT_ROUTER_AMQP_PASSWORD": self.router_amqp,
            "TOKENOUTPUT_BILLING_AMQP_PASSWORD": self.billing_amqp,
        }


@dataclass(frozen=True)
class Stores:
    """The addresses of one set of stores: a database, a Redis database and a virtual host, each as whoever may do
    everything (``owner_url``, ``redis_url``, ``amqp_url``) and as the services."""

    owner_url: str
    edge_url: str
    billing_url: str
    catalog_url: str
    redis_url: str
    edge_redis_url: str
    router_redis_url: str
    billing_redis_url: str
    amqp_url: str
    router_amqp_url: str
    billing_amqp_url: str


@dataclass(frozen=True)
class Stack:
    """Everything that tells one stack from another."""

    run_dir: Path
    packages_dir: Path
    ports: Ports
    secrets: Secrets
    stores: Stores

    @property
    def env_file(self) -> Path:
        return self.run_dir / "env"

    @property
    def gateway_url(self) -> str:
        return f"http://{HOST}:{self.ports.service('edge')}"

    @property
    def simulator_url(self) -> str:
        return f"http://{HOST}:{self.ports.simulator}"


def stores_of(
    ports: Ports, secrets: Secrets, *, database: str = DATABASE, redis_index: int = 0, vhost: str = "%2F"
) -> Stores:
    """The stores on a stack's servers. ``vhost`` is percent-encoded, as AMQP URLs want it."""

    def postgres(user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@{HOST}:{ports.postgres}/{database}"

    def redis(user: str, password: str) -> str:
        return f"redis://{user}:{password}@{HOST}:{ports.redis}/{redis_index}"

    def amqp(user: str, password: str) -> str:
        return f"amqp://{user}:{password}@{HOST}:{ports.amqp}/{vhost}"

    return Stores(
        owner_url=postgres(OWNER, secrets.owner),
        edge_url=postgres("tokenoutput_edge", secrets.edge),
        billing_url=postgres("tokenoutput_billing", secrets.billing),
        catalog_url=postgres("tokenoutput_catalog", secrets.catalog),
        redis_url=redis("", secrets.redis),
        edge_redis_url=redis("tokenoutput_edge", secrets.edge_redis),
        router_redis_url=redis("tokenoutput_router", secrets.router_redis),
        billing_redis_url=redis("tokenoutput_billing", secrets.billing_redis),
        amqp_url=amqp(AMQP_USER, secrets.amqp),
        router_amqp_url=amqp("tokenoutput_router", secrets.router_amqp),
        billing_amqp_url=amqp("tokenoutput_billing", secrets.billing_amqp),
    )


def open_stack(run_dir: Path, base: int, packages_dir: Path) -> Stack:
    """The stack that lives in ``run_dir``; its secrets are made at the first time."""
    if any(character.isspace() for character in f"{run_dir}{packages_dir}"):
        raise StackError(f"The path {run_dir} contains a space, which RabbitMQ cannot live with: move the checkout.")
    run_dir.mkdir(parents=True, exist_ok=True)
    run_dir.chmod(0o700)
    ports, secrets = Ports(base), _secrets(run_dir / "secrets.json")
    return Stack(run_dir, packages_dir, ports, secrets, stores_of(ports, secrets))


def from_environment(environment: Mapping[str, str]) -> Stack:
    """The stack of ``TOKENOUTPUT_RUN_DIR`` and ``TOKENOUTPUT_PORT_BASE``. Relative paths count from the checkout.

    A stack remembers the base it was started with, so that it need not be named again.
    """
    run_dir = ROOT / (environment.get("TOKENOUTPUT_RUN_DIR") or ".run")
    base = environment.get("TOKENOUTPUT_PORT_BASE") or remembered_base(run_dir) or str(DEFAULT_BASE)
    if not base.isdecimal():
        raise StackError(f"TOKENOUTPUT_PORT_BASE={base} is not a number.")
    return open_stack(run_dir, int(base), packages_dir(environment))


def remembered_base(run_dir: Path) -> str | None:
    """The port base that the stack in ``run_dir`` was started with."""
    file = run_dir / "port-base"
    return file.read_text(encoding="ascii").strip() if file.exists() else None


def remember_base(stack: Stack) -> None:
    (stack.run_dir / "port-base").write_text(f"{stack.ports.base}\n", encoding="ascii")


def packages_dir(environment: Mapping[str, str]) -> Path:
    """Where fetched packages are kept, for all stacks of this checkout."""
    return ROOT / (environment.get("TOKENOUTPUT_CACHE_DIR") or ".run-packages")


def service_environment(stack: Stack) -> dict[str, str]:
    """What the services and the ``tokenoutput`` command read, for all four services at once."""
    found = {
        "ENV": "dev",
        "INTERNAL_SECRET": stack.secrets.internal,
        "HOLD_SECRET": stack.secrets.hold,
        "KEY_PEPPER": stack.secrets.pepper,
        "OWNER_DATABASE_URL": stack.stores.owner_url,
        "EDGE_DATABASE_URL": stack.stores.edge_url,
        "BILLING_DATABASE_URL": stack.stores.billing_url,
        "CATALOG_DATABASE_URL": stack.stores.catalog_url,
        "EDGE_REDIS_URL": stack.stores.edge_redis_url,
        "ROUTER_REDIS_URL": stack.stores.router_redis_url,
        "BILLING_REDIS_URL": stack.stores.billing_redis_url,
        "ROUTER_AMQP_URL": stack.stores.router_amqp_url,
        "BILLING_AMQP_URL": stack.stores.billing_amqp_url,
        "ROUTER_SPOOL_DIR": str(stack.run_dir / "services" / "spool"),
        "ROUTER_SIMULATOR_URL": stack.simulator_url,
    }
    for service in SERVICES:
        found |= _listening(stack.ports, service)
    for service in ("router", "billing", "catalog"):
        found[f"{service.upper()}_URL"] = f"http://{HOST}:{stack.ports.service(service)}"
    return {f"TOKENOUTPUT_{name}": value for name, value in found.items()}


def _listening(ports: Ports, service: str) -> dict[str, str]:
    return {
        f"{service.upper()}_HOST": HOST,
        f"{service.upper()}_PORT": str(ports.service(service)),
        f"{service.upper()}_ADMIN_HOST": HOST,
        f"{service.upper()}_ADMIN_PORT": str(ports.admin(service)),
    }


def _secrets(path: Path) -> Secrets:
    """What the file has, and what it lacks: new ones, then written into it."""
    with locked(path.with_name("secrets.lock")):
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            found = Secrets(**json.loads(known)) if known else Secrets.new()
        except (ValueError, TypeError) as error:
            raise StackError(f"{path} is from another version: `make clean` removes it, and the data.") from error
        if (text := json.dumps(asdict(found), indent=1)) != known:
            write_private(path, text)
    return found


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner can read; a crash leaves the old file or the new one."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.rename(path)
