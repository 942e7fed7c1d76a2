"""The Dockerfile: what an orchestrator and a cautious reader rely on."""

import json
import re
from pathlib import Path
from typing import Final

from services.billing.settings import BillingSettings
from services.catalog.settings import CatalogSettings
from services.edge.settings import EdgeSettings
from services.router.settings import RouterSettings

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
SERVICES: Final = (EdgeSettings, RouterSettings, BillingSettings, CatalogSettings)


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and argument, lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


ALL: Final = instructions(TEXT)
SHIPPED: Final = ALL[max(index for index, (word, _) in enumerate(ALL) if word == "FROM") :]


def shipped(word: str) -> str:
    (found,) = [rest for name, rest in SHIPPED if name == word]
    return found


def test_every_stage_stands_on_one_base_that_can_be_chosen() -> None:
    base = next(rest for word, rest in ALL if word == "ARG")
    assert base.startswith("BASE=docker.io/library/python:3.11-slim")
    froms = [rest.partition(" AS ") for word, rest in ALL if word == "FROM"]
    stages = {name for _, _, name in froms}
    assert {image for image, _, _ in froms} <= {"${BASE}", *stages}


def test_it_runs_as_a_number_that_is_not_root() -> None:
    user, group = shipped("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_signals_reach_the_program_and_not_a_shell() -> None:
    assert json.loads(shipped("ENTRYPOINT")) == ["python", "-m", "services"]
    assert shipped("STOPSIGNAL") == "SIGTERM"


def test_nothing_runs_in_the_stage_that_is_shipped() -> None:
    assert "RUN" not in {word for word, _ in SHIPPED}


def test_only_what_the_lock_pins_is_installed_and_its_hashes_are_checked() -> None:
    (install,) = [rest for word, rest in ALL if word == "RUN" and "pip " in rest]
    assert {"--require-hashes", "--no-deps"} <= set(install.split())
    assert install.endswith("requirements.lock")
    assert "requirements-dev" not in TEXT


def test_it_runs_optimised_and_is_compiled_for_that() -> None:
    settings = [rest for word, rest in ALL if word == "ENV"]
    assert [bool(re.search(r"(^|\s)PYTHONOPTIMIZE=1(\s|$)", each)) for each in settings] == [True, True]
    assert re.search(r"(^|\s)PYTHONOPTIMIZE=1(\s|$)", shipped("ENV"))
    (compiled,) = [rest for word, rest in ALL if word == "RUN" and "compileall" in rest]
    assert re.search(r"compileall .*-o 1 .*/app$", compiled)


def test_pips_configuration_is_a_secret_and_never_a_part_of_the_image() -> None:
    assert "--mount=type=secret,id=pip_conf" in TEXT
    assert not [rest for word, rest in ALL if word in ("COPY", "ARG", "ENV") and "pip" in rest.lower()]


def test_ports_and_probes_are_those_that_the_services_have_unless_told_otherwise() -> None:
    ports = {str(cls.model_fields[name].default) for cls in SERVICES for name in ("port", "admin_port")}
    assert set(shipped("EXPOSE").split()) == ports
    probed = re.findall(r"http://127\.0\.0\.1:(\d+)/livez", shipped("HEALTHCHECK"))
    assert sorted(map(int, probed)) == sorted(cls.model_fields["admin_port"].default for cls in SERVICES)


def test_the_build_sees_only_what_is_named() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    copied = {rest.split()[0] for word, rest in ALL if word == "COPY" and not rest.startswith("--from")}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
