"""A router's reports to billing: what is promised, what is forgotten, what is sent again, and who may take requests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from libs.contracts.evidence import MOST_ASKED, REPORTS_PATH, Heard, Report
from libs.runtime import client
from libs.runtime.clock import now_ms
from libs.runtime.identity import Identity
from services.router import report as reports
from services.router.report import BillingAway, Mailbox, Reporter
from services.router.spool import BelowFloor, Spool, opened
from tests.fixtures.gateway import until
from tests.fixtures.samples import request_id

SECRET: Final = b"a-secret-between-services"
BEHIND_MS: Final = 15_000


class Ledger:
    """Billing, as far as routers know it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Report]] = []
        self.books: set[UUID] = set()
        self.lost, self.ready, self.away = False, True, False
        self.ahead_ms = 0
        self.identity = Identity("billing", SECRET)

    async def take(self, request: web.Request) -> web.Response:
        assert self.identity.caller(request.headers["authorization"]) == "router"
        if self.away:
            return web.Response(status=503)
        report = msgspec.json.decode(await request.read(), type=Report)
        self.heard.append((request.match_info["spool"], report))
        booked = tuple(one for one in report.asked if one in self.books)
        answer = Heard(booked, self.lost, self.ready, now_ms() + self.ahead_ms)
        return web.Response(body=msgspec.json.encode(answer))

    @property
    def last(self) -> Report:
        return self.heard[-1][1]


class Told:
    """A router's half that reports, and the ledger it reports to."""

    def __init__(self, ledger: Ledger, spool: Spool, reporter: Reporter) -> None:
        self.ledger = ledger
        self.spool = spool
        self.reporter = reporter

    async def ship(self, *numbers: int, authorized_at: int = 0, at_ms: int = 0) -> None:
        """Records that the broker has."""
        for number in numbers:
            await self.spool.start(rid(number), 0, authorized_at or now_ms(), b"start", b"price")
        await asyncio.gather(*(self.spool.finish(rid(number), b"end") for number in numbers))
        rows = await self.spool.waiting(0, len(numbers))
        await self.spool.mark_shipped([row.seq for row in rows], at_ms or now_ms())


def refuses(told: Told) -> bool:
    return told.reporter.refusing is not None


def rid(number: int) -> UUID:
    return request_id(noise=number)


@asynccontextmanager
async def ledger_running() -> AsyncIterator[tuple[Ledger, str]]:
    ledger, app = Ledger(), web.Application()
    app.router.add_post(REPORTS_PATH, ledger.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield ledger, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def router_of(ledger: Ledger, url: str, folder: Path, reship_ms: int = 600_000) -> AsyncIterator[Told]:
    async with client.session() as session, opened(folder) as spool:
        mailbox = Mailbox(session, url, Identity("router", SECRET), spool.id)
        yield Told(ledger, spool, Reporter(spool, mailbox, "router-7", reship_ms=reship_ms))


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    async with ledger_running() as (ledger, url), router_of(ledger, url, tmp_path) as made:
        yield made


async def test_a_new_spool_takes_nothing_before_billing_has_accepted_it(told: Told) -> None:
    assert told.reporter.refusing == "not registered with billing"
    told.ledger.away = True
    with pytest.raises(BillingAway):
        await told.reporter.report()
    assert refuses(told)
    told.ledger.away, told.ledger.ready = False, False
    await told.reporter.report()
    assert refuses(told)
    told.ledger.ready = True
    await told.reporter.report()
    assert not refuses(told)
    told.ledger.away = True
    with pytest.raises(BillingAway):
        await told.reporter.report()
    assert not refuses(told), "whoever is known may go on without billing"


async def test_a_spool_that_is_known_is_known_after_a_restart(tmp_path: Path) -> None:
    async with ledger_running() as (ledger, url):
        async with router_of(ledger, url, tmp_path) as told:
            await told.reporter.report()
        async with router_of(ledger, url, tmp_path) as told:
            assert told.reporter.refusing is None
            await told.reporter.report()
    assert len({spool for spool, _ in ledger.heard}) == 1
    assert {report.instance for _, report in ledger.heard} == {"router-7"}


async def test_the_first_report_promises_nothing_and_the_next_one_comes_at_once(told: Told) -> None:
    """A clock that is wrong must not make a promise that it cannot take back."""
    assert await told.reporter.report() is True
    assert told.ledger.last.watermark == 0
    before = now_ms()
    assert await told.reporter.report() is False
    assert before - BEHIND_MS - 1000 <= told.ledger.last.watermark <= now_ms() - BEHIND_MS


async def test_a_clock_that_runs_ahead_promises_no_more_than_billings(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told.reporter.report()
    monkeypatch.setattr(reports, "now_ms", lambda: now_ms() + 600_000)
    await told.reporter.report()
    assert told.ledger.last.watermark <= now_ms() - BEHIND_MS
    assert told.ledger.last.sent_at > now_ms() + 500_000, "which is for billing to see"


async def test_what_is_told_is_kept(told: Told) -> None:
    await told.reporter.report()
    await told.reporter.report()
    with pytest.raises(BelowFloor):
        await told.spool.start(rid(1), 0, told.ledger.last.watermark - 1, b"start", b"price")
    await told.spool.start(rid(1), 0, told.ledger.last.watermark, b"start", b"price")
    watermark = told.ledger.last.watermark
    await asyncio.sleep(0.05)
    await told.reporter.report()
    assert (told.ledger.last.watermark, told.ledger.last.unbooked) == (watermark, 1)


async def test_what_is_booked_is_forgotten_and_nothing_else(told: Told) -> None:
    await told.ship(1, 2, 3)
    await told.spool.start(rid(4), 0, now_ms(), b"start", b"price")
    told.ledger.books = {rid(1), rid(3), rid(4)}
    await told.reporter.report()
    assert sorted(told.ledger.last.asked) == sorted([rid(1), rid(2), rid(3)])
    assert [row.request_id for row in await told.spool.shipped(0, 9)] == [rid(2)]
    assert await told.spool.unbooked() == 2, "an open record is never forgotten"


async def test_what_stays_unbooked_for_long_is_sent_again(told: Told) -> None:
    await told.ship(1, at_ms=now_ms() - 600_001)
    await told.ship(2, at_ms=now_ms() - 500_000)
    await told.reporter.report()
    assert [row.seq for row in await told.spool.waiting(0, 9)] == [1]
    assert [row.request_id for row in await told.spool.shipped(0, 9)] == [rid(2)]
    assert told.reporter.sent_again == 1
    await told.spool.mark_shipped([1], 1)
    told.ledger.away = True
    with pytest.raises(BillingAway):
        await told.reporter.report()
    assert await told.spool.waiting(0, 9) == [], "nobody said that it is not booked"


async def test_many_are_asked_about_in_turns_and_those_that_are_stuck_keep_nobody_waiting(told: Told) -> None:
    await told.reporter.report()
    count = MOST_ASKED + 50
    numbers = range(1, count + 1)
    await told.ship(*numbers)
    told.ledger.books = {rid(n) for n in numbers if n > MOST_ASKED}
    assert await told.reporter.report() is False, "nothing came of it, so there is no hurry"
    assert len(told.ledger.last.asked) == MOST_ASKED
    await told.reporter.report()
    assert await told.spool.unbooked() == MOST_ASKED
    told.ledger.books = {rid(n) for n in numbers}
    assert await told.reporter.report() is True, "there may be more, and it goes well"
    assert await told.spool.unbooked() == 0


async def test_a_lost_spool_takes_nothing_and_says_so_loudly(tmp_path: Path) -> None:
    async with ledger_running() as (ledger, url):
        async with router_of(ledger, url, tmp_path) as told:
            await told.reporter.report()
            ledger.lost = True
            with capture_logs() as logs:
                await told.reporter.report()
                await told.reporter.report()
            assert [one["event"] for one in logs if one["log_level"] == "error"] == ["spool_declared_lost"]
            assert "lost" in str(told.reporter.refusing)
        ledger.away = True
        async with router_of(ledger, url, tmp_path) as told:
            assert "lost" in str(told.reporter.refusing), "also when billing cannot say it again"


async def test_a_goodbye_is_said_with_an_empty_spool_and_has_to_be_taken_back_before_the_next_request(
    tmp_path: Path,
) -> None:
    async with ledger_running() as (ledger, url):
        async with router_of(ledger, url, tmp_path) as told:
            await told.reporter.report()
            await told.ship(1)
            saying = asyncio.create_task(told.reporter.last_call())
            assert await until(lambda: _asked(ledger, rid(1)))
            assert not any(report.goodbye for _, report in ledger.heard)
            ledger.books = {rid(1)}
            await saying
            assert (ledger.last.goodbye, ledger.last.unbooked, ledger.last.asked) == (True, 0, ())
        async with router_of(ledger, url, tmp_path) as told:
            assert told.reporter.refusing == "not registered with billing"


async def _asked(ledger: Ledger, request: UUID) -> bool:
    return any(request in report.asked for _, report in ledger.heard)


@pytest.mark.parametrize("why", ["unbooked", "away", "lost"])
async def test_nobody_says_goodbye_who_may_still_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(reports, "LAST_CALL_SECONDS", 0.5)
    async with ledger_running() as (ledger, url), router_of(ledger, url, tmp_path) as told:
        await told.reporter.report()
        if why == "unbooked":
            await told.ship(1)
        ledger.away, ledger.lost = why == "away", why == "lost"
        await told.reporter.last_call()
        assert not any(report.goodbye for _, report in ledger.heard)
        assert told.spool.standing == ("lost" if why == "lost" else "known")


async def test_the_loop_goes_on_whatever_happens(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "EVERY_SECONDS", 0.01)
    heard: list[str | None] = []
    told.ledger.away = True
    running = asyncio.create_task(told.reporter.run(heard.append))
    assert await until(_holds(lambda: len(heard) == 1))
    told.ledger.away = False
    assert await until(_holds(lambda: heard[-1] is None))
    count = len(told.ledger.heard)
    assert await until(_holds(lambda: len(told.ledger.heard) > count + 3))
    running.cancel()
    await asyncio.wait({running})
    assert heard[0] == "not registered with billing"


def _holds(check: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return check()

    return ask
