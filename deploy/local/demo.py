"""The first customer of a local stack: an org with credit and a key, made once with the operator's own command."""

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.stack import ROOT, write_private

CATALOG: Final = ROOT / "services" / "catalog" / "catalog.toml"
TOKENOUTPUT: Final = (sys.executable, "-m", "services.cli")
CREDIT: Final = "100"
SECONDS: Final = 120


class Operator:
    """Runs the project's own commands with the services' environment; their output is kept in a log."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log

    def migrate(self) -> None:
        self._run([sys.executable, "-m", "services", "migrate"])

    def apply_catalog(self) -> None:
        self._run([*TOKENOUTPUT, "catalog", "apply", str(CATALOG)])

    def ask(self, *arguments: str) -> dict[str, Any]:
        """What ``tokenoutput … --json`` answers."""
        return dict(json.loads(self._run([*TOKENOUTPUT, *arguments, "--json"])))

    def _run(self, command: Sequence[str]) -> str:
        done = processes.run(command, self._environment, cwd=ROOT, seconds=SECONDS)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(done.output + done.errors)
        if done.code:
            said = processes.quoted(done.output + done.errors)
            raise StackError(f"`{' '.join(command[1:])}` failed; the end of {self._log}:\n{said}")
        return done.output


def funded_key(operator: Operator, memory: Path) -> str:
    """The demo key. What is done is remembered step by step, so that an interrupted start makes no second org."""
    known: dict[str, Any] = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
    if "org" not in known:
        known |= {"org": operator.ask("org", "create", "demo")["org"]}
        write_private(memory, json.dumps(known))
    if "key" not in known:
        operator.ask("org", "credit", str(known["org"]), CREDIT, "--ticket", "demo")
        known |= {"key": operator.ask("key", "create", str(known["org"]), "--name", "demo")["key"]}
        write_private(memory, json.dumps(known))
    return str(known["key"])


def offers(environment: Mapping[str, str]) -> dict[str, tuple[bool, list[str]]]:
    """Each provider of the catalog: whether its credential is there, and the models it serves."""
    catalog = tomllib.loads(CATALOG.read_text(encoding="utf-8"))
    found: dict[str, tuple[bool, list[str]]] = {}
    for identity, provider in catalog["providers"].items():
        name = provider["credential"]
        real = bool(environment.get(name) or environment.get(f"{name}_FILE"))
        models = [
            model
            for model, entry in catalog["models"].items()
            if any(offer["provider"] == identity for offer in entry["offers"])
        ]
        found[provider["name"]] = (real, models)
    return found
