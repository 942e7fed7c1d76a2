"""One fault under load, and the money counted afterwards."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from tests.faults import asks, driver, moneycheck, truths
from tests.faults.asks import Asked
from tests.faults.driver import Driver
from tests.faults.truths import Truths
from tests.faults.world import World
from tests.fixtures.gateway import Customer, nano, until

DRAIN_SECONDS: Final = 150
LONGEST_SECONDS: Final = 1800
LOUD: Final = ('"unhandled"', '"background_work_died"', '"booking_failed"', '"shipping_failed"', '"hold_forgotten"')
CREDITS: Final = ("5", "5", "1", "0.05", "0.0007")


def long(full: float, short: float, run: "Run") -> float:
    """``full`` when outages of their full length are asked for. The table says when they are not."""
    if os.environ.get("LONG") == "1":
        return full
    run.note = f"{short:g} for {full:g}"
    return short


class Unmet(AssertionError):
    """What the scenario asks for beyond the conservation of money did not come to be."""


class Verdict(NamedTuple):
    """How one scenario with one seed went. ``problems`` is empty when it passed."""

    number: str
    title: str
    seed: int
    problems: list[str]
    requests: int
    accepted: int
    charges: int
    seconds: float
    note: str

    @property
    def passed(self) -> bool:
        return not self.problems


class Run:
    """One scenario with one seed, in a world that others have used before it."""

    def __init__(self, world: World, seed: int, pace: float = 1) -> None:
        """``pace`` multiplies the rate of every load."""
        self.world = world
        self.pace = pace
        self.seed = seed
        self.rng = random.Random(seed)
        self.secret = f"canary-{secrets.token_hex(8)}"
        self.driver = Driver(world.session, lambda: world.edges, world.folder / "driver.jsonl")
        self.customers: list[Customer] = []
        self.credited: dict[int, int] = {}
        self.expected: dict[str, int] = {}
        self.allowed: set[str] = set()  # words in logs that are loud with good reason here
        self.note = ""

    async def begin(self) -> None:
        self._served = len(self.world.served())
        self._logs = {name: service.log.stat().st_size for name, service in self.world.services.items()}
        async with self.world.books() as books:
            self._odd = await truths.odd_so_far(books)
        for credit in CREDITS:
            self.customers.append(await self.customer(credit))

    def forget(self) -> None:
        """What was asked and served up to now is not part of the truths."""
        self.driver.answers.clear()
        self._served = len(self.world.served())

    async def customer(self, dollars: str = "5") -> Customer:
        """A new org of this scenario's own."""
        made = await self.world.gateway.customer(dollars)
        self.credited[made.org] = nano(dollars)
        return made

    @asynccontextmanager
    async def load(
        self, rate: float = 25, choose: Callable[[random.Random, str], Asked] = asks.mixed, *rich: Customer
    ) -> AsyncIterator[None]:
        """Requests at this rate around whatever happens inside."""
        who = list(rich) or self.customers
        async with self.driver.load(who, self.rng, rate * self.pace, self.secret, choose):
            await self.pause(1)
            yield

    async def pause(self, seconds: float) -> None:
        """About so long: where exactly a fault strikes differs by seed."""
        await asyncio.sleep(seconds * self.rng.uniform(0.7, 1.3))

    async def ask(self, customer: Customer, said: str = "", edge: int | None = None, **how: object) -> driver.Answer:
        return await self.driver.ask(customer, asks.asked(f"{self.secret} {said}", **how), edge)  # type: ignore[arg-type] # as `asked` has them

    async def served_again(self, customer: Customer, seconds: float = 60) -> None:
        """Waits until this customer is answered; fails when that does not come to be."""

        async def served() -> bool:
            return (await self.ask(customer)).whole

        must(await until(served, seconds), "nobody is served any more")

    async def until(self, holds: Callable[[], bool], seconds: float = 60) -> bool:
        """Whether it came to hold within this time."""

        async def held() -> bool:
            return holds()

        return await until(held, seconds)

    async def spooled(self) -> int:
        """Records in all spools."""
        return sum((await self.world.spooled()).values())

    def accepted(self) -> int:
        return driver.accepted(self.driver.answers)

    def statuses(self) -> dict[int, int]:
        return driver.statuses(self.driver.answers)

    async def drained(self) -> list[str]:
        """Waits until nothing moves any more; what moves still at the end of the time is what is wrong."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while left := await self._left():
            if time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.5)
        return []

    async def _left(self) -> list[str]:
        """What takes longer to ask is asked when the rest is at rest. An idle lease that is being closed moves too."""
        if left := moneycheck.unrest(await self.world.rest()):
            return left
        if queued := await self.world.queued():
            return [f"C8 queue {name}: {depth} messages" for name, depth in queued.items()]
        return [*filter(None, [await self.world.verified()]), *await self.balances()]

    async def truths(self) -> Truths:
        world, gateway = self.world, self.world.gateway
        async with world.books() as books:
            return Truths(
                self.driver.answers,
                world.served(self._served),
                self.credited,
                await truths.charges_of(books, self.credited),
                await truths.accounts_of(books, self.credited),
                {model.price_id: model.price for model in gateway.shelf.models},
                await truths.odd_since(books, *self._odd),
            )

    async def balances(self) -> list[str]:
        """H1: customers are shown what the books say, with nothing in flight."""
        found = []
        for customer in self.customers:
            shown = await customer.account()
            moving = {name: shown[name] for name in ("held", "in_doubt") if nano(shown[name])}
            if moving:
                found.append(f"H1 org {customer.org}: {moving} is shown")
        return found

    def told(self) -> list[str]:
        """H2: no prompt and no key in any log; and nothing there that only a fault of ours writes."""
        found = []
        for name, service in self.world.services.items():
            text = service.log.read_bytes()[self._logs.get(name, 0) :].decode(errors="replace")
            if self.secret in text or any(customer.key in text for customer in self.customers):
                found.append(f"H2 {name}: a prompt or a key stands in its log")
            loud = [line for line in text.splitlines() if any(word in line for word in set(LOUD) - self.allowed)]
            found += [f"log of {name}: {line[:400]}" for line in loud[:2]]
        files = [file for spool in self.world.spools for file in spool.glob("*.sqlite*")]
        return found + [f"H2 {f.name}: a prompt stands in a spool" for f in files if self._secret_in(f.read_bytes())]

    def _secret_in(self, content: bytes) -> bool:
        return self.secret.encode() in content


class Scenario(NamedTuple):
    """A row of the fault matrix. ``criterion``: what it asks for beyond the conservation of money."""

    number: str
    title: str
    criterion: str
    run: Callable[[Run], Awaitable[None]]
    fast: bool = False
    soak: bool = False


def must(holds: object, otherwise: str) -> None:
    """Raises Unmet."""
    if not holds:
        raise Unmet(otherwise)


async def judge(scenario: Scenario, world: World, seed: int, pace: float = 1) -> Verdict:
    """Runs it, heals the world, waits, and counts."""
    run, begun = Run(world, seed, pace), time.monotonic()
    await run.begin()
    problems = await _problems_of(scenario.run(run))
    problems += await _problems_of(world.heal())
    charges: list[truths.Charge] = []

    async def counted() -> None:
        problems.extend(await run.drained())
        found = await run.truths()
        charges.extend(found.charges)
        problems.extend(moneycheck.differences(found, run.expected))
        problems.extend(run.told())

    problems += await _problems_of(counted())
    answers, seconds = run.driver.answers, time.monotonic() - begun
    counts = (len(answers), driver.accepted(answers), len(charges))
    return Verdict(scenario.number, scenario.title, seed, problems, *counts, round(seconds, 1), run.note)


async def _problems_of(work: Awaitable[None]) -> list[str]:
    """What went wrong with it, in words: one row that fails must not keep the others from being tried."""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await work
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the row's verdict
        return [f"{type(error).__name__}: {error}"]
    return []
