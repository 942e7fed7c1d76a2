"""What `make up` tells people and writes for programs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.local import demo, processes, progress, up
from deploy.local.demo import Operator
from deploy.local.errors import StackError
from deploy.local.stack import Stack, open_stack, service_environment

KEY: Final = "sk-to-of-these-tests"


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return open_stack(tmp_path, 25_600, tmp_path / "packages")


class Answers(Operator):
    """An operator whose commands are answered here."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    def ask(self, *arguments: str) -> dict[str, Any]:
        self.asked.append(" ".join(arguments))
        answer = self._answers.get(" ".join(arguments[:2]))
        if answer is None:
            raise StackError("the services are away")
        return dict(answer)


ORG: Final[dict[str, dict[str, Any]]] = {"org create": {"org": 3}}
ALL: Final[dict[str, dict[str, Any]]] = {**ORG, "org credit": {}, "key create": {"key": KEY, "id": 1}}


def test_the_demo_customer_is_made_once(tmp_path: Path) -> None:
    first, second = Answers(ALL), Answers({})
    memory = tmp_path / "demo.json"
    assert demo.funded_key(first, memory) == demo.funded_key(second, memory) == KEY
    assert first.asked == ["org create demo", "org credit 3 100 --ticket demo", "key create 3 --name demo"]
    assert second.asked == []


def test_an_interrupted_start_makes_no_second_org(tmp_path: Path) -> None:
    memory = tmp_path / "demo.json"
    with pytest.raises(StackError, match="away"):
        demo.funded_key(Answers(ORG), memory)
    later = Answers(ALL)
    assert demo.funded_key(later, memory) == KEY
    assert "org create demo" not in later.asked


def test_a_credential_makes_a_providers_offers_real() -> None:
    none, some = demo.offers({}), demo.offers({"DEEPSEEK_API_KEY_FILE": "/run/secrets/deepseek"})
    assert not any(real for real, _ in none.values())
    assert [name for name, (real, _) in some.items() if real] == ["DeepSeek"]
    assert some["DeepSeek"] == (True, ["deepseek-chat", "deepseek-reasoner"])


def test_the_settings_can_be_read_by_a_shell(stack: Stack) -> None:
    file = stack.run_dir / "env"
    file.write_text(up.env_text(stack, KEY))
    show = "set -a; . ./env; python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    seen = json.loads(processes.run(["/bin/sh", "-c", show], {"PATH": os.environ["PATH"]}, cwd=stack.run_dir).output)
    assert seen["GATEWAY_URL"] == "http://127.0.0.1:25610"
    assert seen["API_KEY"] == KEY
    assert seen["DATABASE_URL"] == stack.stores.owner_url
    assert seen["ADMIN_EDGE_URL"] == "http://127.0.0.1:25620"
    assert service_environment(stack).items() <= seen.items()


def test_the_summary_says_what_is_real_and_how_to_call_it(stack: Stack) -> None:
    said = up.summary(stack, KEY, {"ZHIPU_API_KEY": "x"})
    assert "real       Zhipu AI: glm-4-plus, glm-4-air, glm-4-flash" in said
    assert "simulated  DeepSeek: deepseek-chat, deepseek-reasoner" in said
    assert f"-H 'authorization: Bearer {KEY}'" in said
    assert "curl http://127.0.0.1:25610/v1/chat/completions" in said


def test_a_step_is_one_line_with_its_seconds() -> None:
    assert progress.line("PostgreSQL on 127.0.0.1:25600", 0.53).split()[-2:] == ["0.5", "s"]
    assert "\n" not in progress.line("x" * 200, 1)


def test_a_step_that_fails_claims_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StackError), progress.Progress().step("Tables migrated"):
        raise StackError("no")
    assert capsys.readouterr().out == ""
