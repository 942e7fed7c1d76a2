"""compose.yaml: valid, complete, and published to this machine alone."""

import re
import subprocess
import sys
from typing import Any, Final

import pytest

from services.edge.settings import EdgeSettings
from tests.fixtures import compose
from tests.fixtures.compose import READERS, STORES, strings

COMPOSE: Final = compose.read({})
ALL: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
JOBS: Final = ("migrate", "shelf", "operator", "seed")


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None, f"{duration} is not in seconds"
    return int(match[1])


def test_it_is_valid_by_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose.FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_in_it_has_a_form_that_this_reader_knows() -> None:
    assert not [text for text in strings(COMPOSE) if "${" in text]


def test_every_service_is_accounted_for_here() -> None:
    assert set(ALL) == {*STORES, *READERS}


@pytest.mark.parametrize("name", ALL)
def test_it_waits_for_what_it_needs_by_a_condition_that_can_come_true(name: str) -> None:
    for needed, rule in ALL[name].get("depends_on", {}).items():
        target = ALL[needed]
        assert set(target.get("profiles", [])) <= set(ALL[name].get("profiles", [])), f"{needed} may not be there"
        if rule["condition"] == "service_completed_successfully":
            assert needed in JOBS
            assert target["restart"] == "no"
        else:
            assert rule["condition"] == "service_healthy"
            assert target["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", ALL)
def test_what_stays_up_is_restarted_and_checked_and_a_job_is_neither(name: str) -> None:
    service = ALL[name]
    if name in JOBS:
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


def test_only_the_edge_is_published_and_only_on_this_machine() -> None:
    assert {name: service["ports"] for name, service in ALL.items() if "ports" in service} == {
        "edge": [f"127.0.0.1:8080:{EdgeSettings.model_fields['port'].default}"]
    }
    assert not [name for name, service in ALL.items() if "network_mode" in service or "privileged" in service]


def test_all_programs_come_from_one_image_built_by_our_dockerfile() -> None:
    assert {ALL[name]["image"] for name in READERS} == {"tokenoutput:local"}
    assert all(ALL[name]["build"] == {"context": ".", "dockerfile": "deploy/Dockerfile"} for name in READERS)


@pytest.mark.parametrize("name", READERS)
def test_a_program_can_write_nowhere_but_into_its_volumes_and_has_no_privileges(name: str) -> None:
    service = ALL[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root


def test_stores_are_recent_enough_and_lose_nothing_at_a_restart() -> None:
    images = {name: ALL[name]["image"].split(":") for name in STORES}
    assert {name: image for name, (image, _) in images.items()} == {name: name for name in STORES}
    oldest = {"postgres": (15,), "redis": (7,), "rabbitmq": (3, 13)}
    for name, least in oldest.items():
        assert tuple(map(int, images[name][1].split("."))) >= least
    command = ALL["redis"]["command"]
    options = command[command.index("redis-server") + 1 :]
    told = dict(zip(options[::2], options[1::2], strict=True))
    assert (told["--appendonly"], told["--maxmemory-policy"]) == ("yes", "noeviction")
    assert ALL["rabbitmq"]["hostname"]


def test_everything_that_must_last_lies_in_a_named_volume() -> None:
    mounts = {name: [mount.split(":") for mount in service.get("volumes", [])] for name, service in ALL.items()}
    assert {volume for found in mounts.values() for volume, _ in found} == set(COMPOSE["volumes"])
    assert {name: found[0][1] for name, found in mounts.items() if name in STORES} == {
        "postgres": "/var/lib/postgresql",
        "redis": "/data",
        "rabbitmq": "/var/lib/rabbitmq",
    }
    spool = ALL["router"]["environment"]["TOKENOUTPUT_ROUTER_SPOOL_DIR"]
    assert any(spool.startswith(f"{target}/") for _, target in mounts["router"])


@pytest.mark.parametrize("name", compose.SERVICES)
def test_a_service_is_given_time_to_finish_what_it_has_begun(name: str) -> None:
    drain = float(ALL[name]["environment"]["TOKENOUTPUT_DRAIN_SECONDS"])
    assert seconds(ALL[name]["stop_grace_period"]) >= 2 * drain + 5


@pytest.mark.parametrize("name", compose.SERVICES)
def test_a_services_health_is_its_own_readiness(name: str) -> None:
    (settings,) = READERS[name]
    admin = settings.model_fields["admin_port"].default
    assert ALL[name]["command"] == [name]
    assert ALL[name]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{admin}/readyz"
