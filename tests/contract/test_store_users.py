"""Who may do what in Redis and RabbitMQ: one list for each, no wider than what the services do, filled in alike by
`make up` and by containers."""

import os
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.stores import users
from libs.contracts import usage
from libs.contracts.account import lease_keys
from tests.fixtures import compose

ROOT: Final = compose.ROOT
START: Final = ROOT / "deploy" / "stores" / "start.sh"
LISTS: Final = (users.REDIS, users.RABBITMQ, users.PRODUCER)
STORES: Final = (("redis", users.REDIS), ("rabbitmq", users.RABBITMQ))
CALL: Final = re.compile(r"redis\.p?call\(\s*'(\w+)'")
# Whose clients run which scripts. What a folder of a service has is its own.
SHARED: Final = {"hold.lua": {"edge", "billing"}, "settle.lua": {"edge", "router", "billing"}}
# What a service's own code says to Redis besides.
SPOKEN: Final[dict[str, set[str]]] = {
    "edge": set(),
    "router": set(),
    "billing": {"del", "hgetall", "hlen", "hmget", "info", "time"},
}
CONNECTION: Final = ["-@all", "+@connection", "-@dangerous", "-client|tracking"]
CLIENT: Final = {"evalsha", "script|exists", "script|load"}
QUEUES: Final = (usage.PARKED_QUEUE, *map(usage.queue_name, range(usage.PARTITIONS)))
EXCHANGES: Final = (usage.EXCHANGE, usage.PARKING_EXCHANGE)
REFUSED: Final = ("", "two words", "a>b", "quo'te", 'quo"te', "back\\slash", "amp&ersand")


def scripts_of(service: str) -> list[Path]:
    shared = [ROOT / "libs" / "runtime" / name for name, roles in SHARED.items() if service in roles]
    return [*shared, *(ROOT / "services" / service).rglob("*.lua")]


def redis_users() -> dict[str, list[str]]:
    """The rules of each user."""
    lines = [line.split() for line in users.filled(users.REDIS, passwords(users.REDIS)).splitlines()]
    assert {line[0] for line in lines} == {"user"}
    return {line[1]: line[2:] for line in lines}


def passwords(template: Path) -> dict[str, str]:
    return {name: f"of-{name.lower()}" for name in users.passwords_of(template)}


def permissions(template: Path = users.RABBITMQ) -> dict[str, dict[str, str]]:
    defined: dict[str, Any] = yaml.safe_load(users.filled(template, passwords(template)))
    return {each["user"]: each for each in defined["permissions"]}


def may(user: str, what: str, *names: str, template: Path = users.RABBITMQ) -> set[str]:
    """Those of the names on which the user has the right. RabbitMQ calls the exchange without a name amq.default."""
    return {name for name in names if re.search(permissions(template)[user][what], name)}


def started(
    folder: Path, template: Path, environment: Mapping[str, str]
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """What start.sh writes for a store, which here only says that it began."""
    owner, target = str(os.getuid()), folder / "users"
    command = ["sh", str(START), str(template), str(target), owner, "echo", "began"]
    given = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    return target, done


@pytest.mark.parametrize("template", LISTS, ids=lambda path: path.name)
def test_a_container_fills_a_list_in_as_make_up_does(template: Path, tmp_path: Path) -> None:
    target, done = started(tmp_path, template, passwords(template))
    assert (done.returncode, done.stdout, done.stderr) == (0, "began\n", "")
    assert target.read_text("utf-8") == users.filled(template, passwords(template))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("password", REFUSED)
def test_a_store_does_not_start_with_a_password_that_would_change_its_list(password: str, tmp_path: Path) -> None:
    given = {**passwords(users.REDIS), "TOKENOUTPUT_ROUTER_REDIS_PASSWORD": password}
    _, done = started(tmp_path, users.REDIS, given)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("TOKENOUTPUT_ROUTER_REDIS_PASSWORD is missing")


@pytest.mark.parametrize(("store", "template"), STORES)
def test_outside_of_development_a_store_refuses_every_well_known_password(
    store: str, template: Path, tmp_path: Path
) -> None:
    own = compose.environment(store, compose.example())
    assert started(tmp_path, template, own)[1].stdout == "began\n"
    assert started(tmp_path, template, compose.environment(store, {}))[1].stdout == "began\n"
    for name in users.passwords_of(template):
        left_out = {each: value for each, value in compose.example().items() if each != name}
        _, done = started(tmp_path, template, compose.environment(store, left_out))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{name} is the well-known one of the demo; make your own\n"


def test_a_list_wants_every_password() -> None:
    with pytest.raises(KeyError):
        users.filled(users.REDIS, {})


def test_every_script_has_a_service_that_runs_it() -> None:
    found = {path for folder in ("libs", "services") for path in (ROOT / folder).rglob("*.lua")}
    assert found == {path for service in SPOKEN for path in scripts_of(service)} != set()


@pytest.mark.parametrize("service", SPOKEN)
def test_a_service_may_say_to_redis_what_it_says_and_not_a_word_more(service: str) -> None:
    said = {call.lower() for path in scripts_of(service) for call in CALL.findall(path.read_text("utf-8"))}
    rules = redis_users()[f"tokenoutput_{service}"]
    assert rules[:4] == ["on", f">of-tokenoutput_{service}_redis_password", "~to:*", "resetchannels"]
    assert rules[4:8] == CONNECTION
    assert rules[8:] == [f"+{command}" for command in [*sorted(CLIENT), *sorted(said | SPOKEN[service])]]


def test_every_script_says_in_plain_words_what_it_calls() -> None:
    for service in SPOKEN:
        for path in scripts_of(service):
            text = path.read_text("utf-8")
            assert text.count("redis.call") + text.count("redis.pcall") == len(CALL.findall(text)), path


def test_the_keys_of_leased_credit_are_those_that_services_reach() -> None:
    keys = lease_keys(7)
    assert all(key.startswith("to:") for key in (keys.lease, keys.holds, keys.keys, keys.ticket))


def test_nobody_but_the_services_and_the_administrator_is_let_in() -> None:
    assert set(redis_users()) == {"default", *(f"tokenoutput_{service}" for service in SPOKEN)}
    assert set(permissions()) == {"tokenoutput", "tokenoutput_router", "tokenoutput_billing"}
    defined = yaml.safe_load(users.filled(users.RABBITMQ, passwords(users.RABBITMQ)))
    assert {each["name"]: each["tags"] for each in defined["users"]} == {
        "tokenoutput": "administrator",
        "tokenoutput_router": "",
        "tokenoutput_billing": "",
    }


def test_the_router_publishes_usage_and_reads_no_queue() -> None:
    everything = (*EXCHANGES, *QUEUES, "amq.default", "usage.other", "other")
    assert may("tokenoutput_router", "write", *everything) == {usage.EXCHANGE, *QUEUES}  # into a queue: to bind it
    assert may("tokenoutput_router", "read", *everything) == {*EXCHANGES}  # an exchange: to bind to it
    assert may("tokenoutput_router", "configure", *everything) == {*EXCHANGES, *QUEUES}


def test_billing_reads_usage_and_publishes_none() -> None:
    everything = (*EXCHANGES, *QUEUES, "amq.default", "usage.other", "other")
    assert may("tokenoutput_billing", "write", *everything) == {usage.PARKING_EXCHANGE, *QUEUES}
    assert may("tokenoutput_billing", "read", *everything) == {*EXCHANGES, *QUEUES}
    assert may("tokenoutput_billing", "configure", *everything) == {*EXCHANGES, *QUEUES}


def test_another_producer_may_do_nothing_but_publish_usage() -> None:
    everything = (*EXCHANGES, *QUEUES, "amq.default", "usage.other", "other")
    allowed = {
        what: may("tokenoutput_producer", what, *everything, template=users.PRODUCER)
        for what in ("configure", "write", "read")
    }
    assert allowed == {"configure": set(), "write": {usage.EXCHANGE}, "read": set()}


def test_the_rights_on_another_virtual_host_are_the_same() -> None:
    other = users.permissions("elsewhere")
    assert other["vhosts"] == [{"name": "elsewhere"}]
    assert {each["vhost"] for each in other["permissions"]} == {"elsewhere"}
    assert [{**each, "vhost": "/"} for each in other["permissions"]] == list(permissions().values())


@pytest.mark.parametrize(("store", "template"), STORES)
def test_composes_store_begins_with_our_list(store: str, template: Path) -> None:
    document = compose.read({})
    service = document["services"][store]
    mounted = {each["target"]: ROOT / document["configs"][each["source"]]["file"] for each in service["configs"]}
    shell, script, listed, target, owner, *command = service["command"]
    assert (shell, mounted[script].resolve(), mounted[listed].resolve(), owner) == ("sh", START, template, store)
    assert command[0] == "docker-entrypoint.sh"  # the image's own: it becomes the store's user
    assert command[1] == f"{store}-server"
    assert str(Path(target).parent) in service["tmpfs"]
    assert users.passwords_of(template) == {name for name in service["environment"] if name.endswith("_PASSWORD")}
    read_from = [*command, *(mounted[path].read_text("utf-8") for path in mounted if path.endswith(".conf"))]
    assert target in " ".join(read_from).split()
