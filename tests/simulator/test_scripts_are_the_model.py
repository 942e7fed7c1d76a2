"""The scripts in a real Redis answer what the model of them answers, and leave behind what it leaves: what is shown of
the model holds for the scripts."""

from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings

from tests.fixtures.servers import Servers
from tests.fixtures.strategies import thorough
from tests.simulator.commands import COMMANDS, Both, Client, Command
from tests.simulator.model.mutants import AnyProcess, CashFirst, GrantsAnyLease, GrantsWhatWasRevoked
from tests.simulator.model.till import Scripts

BEGINNING = (Command("look", 0, 1, 0), Command("create", 7, 40, 20))  # most need a lease to say anything


@pytest.fixture(scope="module")
def client(servers: Servers) -> Iterator[Client]:
    """In the database of that Redis that no other test uses."""
    servers.need("redis")
    with redis.Redis.from_url(servers.stack.stores.redis_url, decode_responses=True) as opened:
        yield opened


def _compare(client: Client, scripts: Scripts, commands: list[Command]) -> None:
    both = Both(client, scripts)
    for command in (*BEGINNING, *commands):
        expected, said = both.do(command)
        assert said == expected, command
    assert both.seen() == both.till


@settings(thorough, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=COMMANDS)
def test_model_and_scripts_agree(client: Client, commands: list[Command]) -> None:
    _compare(client, Scripts(), commands)


TELLING: dict[type[Scripts], list[Command]] = {
    AnyProcess: [Command("lose", 0, 1, 0), Command("hold", 0, 10, 0)],
    CashFirst: [Command("hold", 0, 40, 0), Command("settle", 0, 10, 0)],
    GrantsAnyLease: [Command("grant", 0, 40, 20)],
    GrantsWhatWasRevoked: [Command("revoke", 7, 1, 0), Command("grant", 1, 40, 20)],
}


@pytest.mark.parametrize("mutant", TELLING, ids=lambda mutant: mutant.__name__)
def test_they_agree_with_no_other_model(client: Client, mutant: type[Scripts]) -> None:
    with pytest.raises(AssertionError):
        _compare(client, mutant(), TELLING[mutant])
    _compare(client, Scripts(), TELLING[mutant])
