"""What follows from a run directory and a port base."""

import json
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from deploy.local import stack as stacks
from deploy.local.errors import StackError
from deploy.local.ports import SPAN, Ports
from deploy.local.stack import Stack, from_environment, open_stack, remember_base, service_environment
from deploy.stores import users

BASE: Final = 25_600


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return open_stack(tmp_path / "run", BASE, tmp_path / "packages")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_no_two_parts_share_a_port() -> None:
    ports = Ports(BASE)
    named = [ports.postgres, ports.redis, ports.amqp, ports.erlang, ports.epmd, ports.simulator]
    named += [ports.service(name) for name in ("edge", "router", "billing", "catalog")]
    named += [ports.admin(name) for name in ("edge", "router", "billing", "catalog")]
    assert len(set(named)) == len(named)
    assert set(named) < set(range(BASE, BASE + SPAN - 1))


@pytest.mark.parametrize("base", [0, 80, 65_500, 70_000])
def test_a_base_that_leaves_no_room_is_refused(base: int) -> None:
    with pytest.raises(StackError, match=f"TOKENOUTPUT_PORT_BASE={base} must be between"):
        Ports(base)


def test_secrets_are_made_once_and_only_their_owner_reads_them(stack: Stack) -> None:
    again = open_stack(stack.run_dir, BASE, stack.packages_dir)
    assert again == stack
    assert mode(stack.run_dir) == 0o700
    assert mode(stack.run_dir / "secrets.json") == 0o600


def test_two_stacks_share_no_secret(stack: Stack, tmp_path: Path) -> None:
    other = open_stack(tmp_path / "other", BASE + SPAN, stack.packages_dir)
    ours, theirs = (set(vars(each.secrets).values()) for each in (stack, other))
    assert len(ours) == len(vars(stack.secrets))
    assert not ours & theirs


def test_a_stack_from_before_a_service_had_its_own_users_gets_them_and_keeps_the_rest(stack: Stack) -> None:
    file = stack.run_dir / "secrets.json"
    known = json.loads(file.read_text())
    older = {name: value for name, value in known.items() if not name.endswith(("_redis", "_amqp"))}
    assert len(older) == len(known) - 5
    file.write_text(json.dumps(older))
    first, second = (open_stack(stack.run_dir, BASE, stack.packages_dir).secrets for _ in range(2))
    assert first == second
    assert older.items() <= vars(first).items()
    assert json.loads(file.read_text()) == vars(first)
    assert mode(file) == 0o600
    assert all(len(value) == 48 for value in vars(first).values())


@pytest.mark.parametrize("content", ['{"owner": "x"}', "[]", "{", '"x"'])
def test_secrets_of_another_version_are_refused_in_a_sentence(stack: Stack, content: str) -> None:
    (stack.run_dir / "secrets.json").write_text(content)
    with pytest.raises(StackError, match="is from another version: `make clean` removes it"):
        open_stack(stack.run_dir, BASE, stack.packages_dir)


def test_a_path_with_a_space_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="contains a space"):
        open_stack(tmp_path / "my run", BASE, tmp_path)


def test_every_service_is_told_where_it_and_its_neighbours_listen(stack: Stack) -> None:
    told = service_environment(stack)
    for service in ("ROUTER", "BILLING", "CATALOG"):
        assert told[f"TOKENOUTPUT_{service}_URL"] == f"http://127.0.0.1:{told[f'TOKENOUTPUT_{service}_PORT']}"
    for service in ("EDGE", "ROUTER", "BILLING", "CATALOG"):
        assert told[f"TOKENOUTPUT_{service}_HOST"] == told[f"TOKENOUTPUT_{service}_ADMIN_HOST"] == "127.0.0.1"


def test_every_service_gets_a_role_of_its_own(stack: Stack) -> None:
    told = service_environment(stack)
    urls = {told[f"TOKENOUTPUT_{service}_DATABASE_URL"] for service in ("OWNER", "EDGE", "BILLING", "CATALOG")}
    assert {url.split("//")[1].split(":")[0] for url in urls} == {
        "tokenoutput",
        "tokenoutput_edge",
        "tokenoutput_billing",
        "tokenoutput_catalog",
    }


def test_every_service_is_told_its_own_users_and_nobody_the_administrators(stack: Stack) -> None:
    told = service_environment(stack)
    for service in ("EDGE", "ROUTER", "BILLING"):
        assert urlsplit(told[f"TOKENOUTPUT_{service}_REDIS_URL"]).username == f"tokenoutput_{service.lower()}"
    for service in ("ROUTER", "BILLING"):
        assert urlsplit(told[f"TOKENOUTPUT_{service}_AMQP_URL"]).username == f"tokenoutput_{service.lower()}"
    assert not {"TOKENOUTPUT_EDGE_AMQP_URL", "TOKENOUTPUT_REDIS_URL", "TOKENOUTPUT_AMQP_URL"} & told.keys()
    admins = (stack.secrets.redis, stack.secrets.amqp)
    assert not [name for name, value in told.items() if any(secret in value for secret in admins)]


def test_what_the_stores_read_has_each_services_password(stack: Stack) -> None:
    listed = users.filled(users.REDIS, stack.secrets.redis_passwords())
    assert f"user tokenoutput_edge on >{stack.secrets.edge_redis} " in listed
    assert f"user default on >{stack.secrets.redis} " in listed
    found = json.loads(users.filled(users.RABBITMQ, stack.secrets.amqp_passwords()))
    assert {each["name"]: each["password"] for each in found["users"]} == {
        "tokenoutput": stack.secrets.amqp,
        "tokenoutput_router": stack.secrets.router_amqp,
        "tokenoutput_billing": stack.secrets.billing_amqp,
    }


def test_the_environment_chooses_the_stack(tmp_path: Path) -> None:
    chosen = {"TOKENOUTPUT_RUN_DIR": str(tmp_path / "a"), "TOKENOUTPUT_PORT_BASE": "30000"}
    stack = from_environment(chosen)
    assert (stack.run_dir, stack.ports.base) == (tmp_path / "a", 30_000)


def test_a_stack_remembers_its_base(tmp_path: Path) -> None:
    chosen = {"TOKENOUTPUT_RUN_DIR": str(tmp_path / "a")}
    assert from_environment(chosen).ports.base == stacks.DEFAULT_BASE
    remember_base(from_environment({**chosen, "TOKENOUTPUT_PORT_BASE": "30000"}))
    assert from_environment(chosen).ports.base == 30_000
    assert from_environment({**chosen, "TOKENOUTPUT_PORT_BASE": "31000"}).ports.base == 31_000


def test_a_base_that_is_no_number_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="TOKENOUTPUT_PORT_BASE=many is not a number"):
        from_environment({"TOKENOUTPUT_RUN_DIR": str(tmp_path), "TOKENOUTPUT_PORT_BASE": "many"})
