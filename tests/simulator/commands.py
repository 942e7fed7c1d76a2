"""What may be said to the scripts of one org, drawn at random, and done both by the model and by Redis."""

from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

import msgspec
import redis
from hypothesis import strategies as st

from libs.contracts.account import lease_keys
from libs.runtime import holds
from services.billing.leases import LUA
from services.billing.portion import FULL
from tests.simulator.model.till import Answer, Counted, Hold, Lease, Pair, Scripts, Till, changed

Client: TypeAlias = redis.Redis
ORG: Final = 7
DEAD: Final = "dead"  # the run id of a process that is gone
BILLING: Final = ("look", "create", "grant", "revoke", "close", "key_base")
CAPS: Final = {1: None, 2: 60}  # by key


class Command(NamedTuple):
    """``which`` chooses a request, a key or whether something is stale; what the amounts are for, the verb says."""

    verb: str
    which: int
    amount: int
    plan: int


OFTEN: Final = ("hold", "settle", "hold", "look", "create", "grant")
RARE: Final = ("revoke", "close", "base", "lose", "flush", "copy", "old")
COMMANDS: Final = st.lists(
    st.builds(
        Command,
        st.sampled_from(OFTEN * 3 + RARE),
        st.integers(0, 7),
        st.integers(1, 40),
        st.integers(0, 30),
    ),
    min_size=10,
    max_size=60,
)


class Both:
    """A model and a Redis that hear the same. Each verb answers what the model and what the script said."""

    def __init__(self, client: Client, scripts: Scripts) -> None:
        self._client = client
        self._model = scripts
        self._keys = lease_keys(ORG)
        client.delete(*self._all())
        sources = {name: (LUA / f"{name}.lua").read_text(encoding="utf-8") for name in BILLING}
        sources |= {"hold": holds.HOLD, "settle": holds.SETTLE}
        self._scripts = {name: client.register_script(text) for name, text in sources.items()}
        self.till = Till(run=client.info("server")["run_id"])
        self._copy: tuple[Till, dict[str, bytes]] = (self.till, {})
        self._epoch = 0
        self._tickets = 0

    def do(self, command: Command) -> tuple[Any, Any]:
        answers: tuple[Any, Any] = getattr(self, command.verb)(command)
        return answers

    def hold(self, command: Command) -> tuple[Answer, Answer]:
        request, key = str(UUID(int=command.which + 1).hex), 1 + command.which % 2
        cap = CAPS[key]
        args = [request, command.amount, key, "" if cap is None else cap]
        said = self._run("hold", "lease holds keys", args)
        at = int(said[4]) if said[0] == "OK" else 0
        self.till, answer = self._model.hold(self.till, request, command.amount, at, key=key, cap=cap)
        return answer, _answer(said[:2] if said[0] == "KEYCAP" else said)

    def settle(self, command: Command) -> tuple[Answer, Answer]:
        request = UUID(int=command.which + 1).hex
        said = self._run("settle", "lease holds keys", [request, command.amount])
        self.till, answer = self._model.settle(self.till, request, command.amount)
        return answer, _answer(said)

    def look(self, command: Command) -> tuple[Answer, Answer]:
        self._tickets += 1
        ticket = f"t{self._tickets}"
        state, _, *rest = self._run("look", "lease holds keys ticket", [ticket, FULL])
        self.till, answer = self._model.look(self.till, ticket)
        return answer, (state, *rest) if state == "COLD" else _answer([state, *rest])

    def create(self, command: Command) -> tuple[str, str]:
        """Now and then with an old ticket, for another process, or of an epoch that was before."""
        ticket = f"t{self._tickets - (command.which == 0)}"
        run = DEAD if command.which == 1 else self.till.run
        epoch = max(self._epoch + (command.which != 2), 1)
        self._epoch = max(epoch, self._epoch)
        said = self._run("create", "lease holds keys ticket", [ticket, run, epoch, command.amount, command.plan])
        self.till, answer = self._model.create(self.till, ticket, run, epoch, Pair(command.amount, command.plan))
        return answer, said

    def grant(self, command: Command) -> tuple[str, str]:
        """Of twice as much at most, and now and then of another epoch or from before a revocation."""
        epoch, limit = self._epoch - (command.which == 0), Pair(2 * command.amount, 2 * command.plan)
        revoked = (self.till.lease.revoked if self.till.lease else 0) - (command.which == 1)
        said = self._run("grant", "lease", [epoch, revoked, limit.cash, limit.plan])
        self.till, answer = self._model.grant(self.till, epoch, limit, revoked)
        return answer, said

    def revoke(self, command: Command) -> tuple[Answer, Answer]:
        epoch = self._epoch - (command.which == 0)
        said = self._run("revoke", "lease", [epoch])
        self.till, answer = self._model.revoke(self.till, epoch)
        return answer, _answer(said)

    def close(self, command: Command) -> tuple[Answer, Answer]:
        epoch = self._epoch - (command.which == 0)
        said = self._run("close", "lease holds keys", [epoch, 0])
        self.till, answer = self._model.close(self.till, epoch)
        return answer, _answer(said)

    def base(self, command: Command) -> tuple[str, str]:
        epoch, key = self._epoch - (command.which == 0), 1 + command.which % 2
        said = self._run("key_base", "lease keys", [epoch, key, command.plan, 0])
        self.till, answer = self._model.base(self.till, epoch, key, command.plan)
        return answer, said

    def flush(self, command: Command) -> tuple[None, None]:
        self._client.delete(*self._all())
        self.till = self.till.flushed()
        return None, None

    def lose(self, command: Command) -> tuple[None, None]:
        """The lease is one of a process that is gone; its data stays."""
        if self.till.lease is not None:
            self._client.hset(self._keys.lease, "g", DEAD)
            self.till = changed(self.till, lease=msgspec.structs.replace(self.till.lease, run=DEAD))
        return None, None

    def copy(self, command: Command) -> tuple[None, None]:
        self._copy = (self.till, {key: data for key in self._all() if (data := self._client.dump(key)) is not None})
        return None, None

    def old(self, command: Command) -> tuple[None, None]:
        """Another process with an old copy."""
        self.till, data = self._copy
        self._client.delete(*self._all())
        for key, dump in data.items():
            self._client.restore(key, 0, dump)
        return self.lose(command)

    def seen(self) -> Till:
        """What is in Redis now, as the model has it."""
        lease, holding, keys = (self._all_of(key) for key in (self._keys.lease, self._keys.holds, self._keys.keys))
        holds = {name: _hold(text) for name, text in holding.items()}
        ticket: str | None = self._client.get(self._keys.ticket)  # type: ignore[assignment] # decoded
        return Till(self.till.run, _lease(lease) if lease else None, holds, _counted(keys), ticket)

    def _all_of(self, key: str) -> dict[str, str]:
        found: dict[str, str] = self._client.hgetall(key)  # type: ignore[assignment] # decoded, and not awaited
        return found

    def _run(self, name: str, keys: str, arguments: list[Any]) -> Any:
        return self._scripts[name](keys=[getattr(self._keys, key) for key in keys.split()], args=arguments)

    def _all(self) -> list[str]:
        return [self._keys.lease, self._keys.holds, self._keys.keys, self._keys.ticket]


def _answer(said: list[str]) -> Answer:
    return (said[0], *map(int, said[1:]))


def _lease(fields: dict[str, str]) -> Lease:
    cash, plan = ([int(fields[f"{bucket}{name}"]) for name in ("lim", "used", "held")] for bucket in ("", "p"))
    limit, used, held = map(Pair, cash, plan)
    return Lease(int(fields["e"]), fields["g"], limit, used, held, int(fields["r"]))


def _hold(text: str) -> Hold:
    cash, plan, epoch, at, key = map(int, text.split(":"))
    return Hold(Pair(cash, plan), epoch, at, key)


def _counted(fields: dict[str, str]) -> dict[int, Counted]:
    keys = {int(name.split(":")[0]) for name in fields}
    before = {key: int(fields[f"{key}:b"]) if f"{key}:b" in fields else None for key in keys}
    return {key: Counted(before[key], int(fields.get(f"{key}:u", 0)), int(fields.get(f"{key}:h", 0))) for key in keys}
