"""What routers tell billing over HTTP, and what they hear."""

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr

from libs.contracts.evidence import MOST_ASKED, REPORTS_PATH, Heard, Report
from libs.runtime.app import new_app
from libs.runtime.clock import now_ms
from libs.runtime.identity import Identity
from services.billing import reports
from services.billing.api import POOL, SETTINGS
from services.billing.parcel import Parcel
from services.billing.settings import BillingSettings
from services.billing.store import parked, routers
from tests.fixtures.books import Books

SECRET: Final = "the internal secret of these tests"
PRODUCER: Final = "batcher"
SPOOL: Final = "3f2a"
LAG: Final = 15_000


class Desk:
    """Where routers report to."""

    def __init__(self, books: Books, url: str, session: aiohttp.ClientSession) -> None:
        self.books = books
        self._url = url
        self._session = session

    async def send(self, body: bytes, spool: str = SPOOL, caller: str | None = "router") -> tuple[int, Any]:
        headers = Identity(caller, SECRET.encode()).authorization("billing") if caller else {}
        url = self._url + REPORTS_PATH.format(spool=spool)
        async with self._session.post(url, data=body, headers=headers) as response:
            return response.status, await response.json()

    async def report(self, spool: str = SPOOL, *, behind: int = LAG, caller: str = "router", **said: Any) -> Heard:
        status, body = await self.send(report(behind, **said), spool, caller)
        assert status == 200, body
        return msgspec.convert(body, Heard)

    async def row(self, spool: str = SPOOL) -> dict[str, Any]:
        (row,) = await self.books.pool.fetch("SELECT * FROM router WHERE spool = $1", spool)
        return dict(row)


def report(behind: int = LAG, **said: Any) -> bytes:
    now = now_ms()
    given = {"instance": "router-0", "watermark": now - behind, "unbooked": 3, "sent_at": now}
    return msgspec.json.encode({**given, **said})


@pytest.fixture
async def desk(books: Books) -> AsyncIterator[Desk]:
    settings = BillingSettings(
        env="dev",
        database_url=SecretStr("-"),
        redis_url=SecretStr("-"),
        amqp_url=SecretStr("-"),
        hold_secret=SecretStr("the hold secret of these tests"),
        internal_secret=SecretStr(SECRET),
        producer_keys=SecretStr(f"{PRODUCER}:a key of more than sixteen characters"),
    )
    app = new_app(settings)
    app[SETTINGS], app[POOL] = settings, books.pool
    app.add_routes(reports.routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            yield Desk(books, f"http://{host}:{port}", session)
    finally:
        await runner.cleanup()


async def test_a_new_router_is_known_from_its_first_report(desk: Desk) -> None:
    before = now_ms()
    heard = await desk.report()
    assert (heard.booked, heard.lost, heard.ready) == ((), False, True)
    assert before <= heard.now <= now_ms()
    row = await desk.row()
    assert (row["instance"], row["state"], row["unbooked"], row["skew_ms"]) == ("router-0", "serving", 3, 0)


async def test_a_new_router_may_not_begin_what_was_given_back_before_it_was_known(desk: Desk) -> None:
    """But it is waited for from its first word on."""
    assert (await desk.report(watermark=0)).ready is False
    row = await desk.row()
    assert (row["state"], row["watermark"]) == ("serving", 0)
    assert (await desk.report(behind=60_000)).ready is False
    assert (await desk.report()).ready is True


async def test_a_long_answer_does_not_make_a_known_router_a_new_one(desk: Desk) -> None:
    first = await desk.report()
    await desk.books.pool.execute("UPDATE router SET registered_at = now() - interval '1 hour'")
    again = await desk.report(behind=LAG + 3000)
    assert (first.ready, again.ready) == (True, True)


async def test_a_watermark_never_goes_back(desk: Desk) -> None:
    high = now_ms() - LAG
    await desk.report(watermark=high)
    await desk.report(watermark=high - 5000)
    assert (await desk.row())["watermark"] == high
    await desk.report(watermark=high + 1)
    assert (await desk.row())["watermark"] == high + 1


async def test_only_what_is_booked_or_parked_may_be_forgotten(desk: Desk) -> None:
    books = desk.books
    org = await books.org()
    charged, waiting, decided, unknown = (books.event(org) for _ in range(4))
    assert await books.post(charged) == []
    async with books.pool.acquire() as connection:
        for event in (waiting, decided):
            await parked.park(connection, [Parcel(event.request_id.bytes, "odd", event.request_id, org, 1)])
        assert await parked.decide(connection, 2, "void", "nothing")
    asked = [event.request_id for event in (charged, waiting, decided, unknown)]
    heard = await desk.report(asked=asked)
    assert set(heard.booked) == set(asked[:3])
    assert (await desk.report(asked=[unknown.request_id])).booked == ()


async def test_as_many_as_may_be_asked_about_are_answered(desk: Desk) -> None:
    org = await desk.books.org()
    events = [desk.books.event(org, hold=desk.books.event(org).hold) for _ in range(20)]
    assert await desk.books.post(*events) == []
    asked = [event.request_id for event in events] + [UUID(int=n) for n in range(MOST_ASKED - 20)]
    assert set((await desk.report(asked=asked)).booked) == {event.request_id for event in events}


async def test_a_lost_spool_stays_lost_and_begins_nothing(desk: Desk) -> None:
    await desk.report()
    async with desk.books.pool.acquire() as connection:
        assert (await routers.declare_lost(connection, SPOOL, "ops", "burnt")) is not None
        assert (await routers.declare_lost(connection, SPOOL, "ops", "burnt")) is None
        assert (await routers.declare_lost(connection, "other", "ops", "burnt")) is None
    org = await desk.books.org()
    event = desk.books.event(org)
    await desk.books.post(event)
    for goodbye in (False, True, False):
        said: dict[str, Any] = {"goodbye": True, "unbooked": 0} if goodbye else {"asked": [event.request_id]}
        heard = await desk.report(**said)
        assert (heard.lost, heard.ready) == (True, False)
        assert heard.booked == (() if goodbye else (event.request_id,))
    assert (await desk.row())["state"] == "lost"
    assert await desk.books.value("SELECT count(*) FROM anomaly WHERE kind = 'router declared lost'") == 1


async def test_a_router_that_said_goodbye_may_come_back(desk: Desk) -> None:
    high = now_ms() - 12_000
    await desk.report(watermark=high)
    for _ in range(2):  # its answer may be lost
        heard = await desk.report(watermark=high, unbooked=0, goodbye=True)
        assert (heard.ready, (await desk.row())["state"]) == (False, "gone")
    status, _ = await desk.send(report(watermark=high - 1))
    assert (status, (await desk.row())["state"]) == (400, "gone"), "said before its goodbye, and overtaken by it"
    await desk.books.pool.execute("UPDATE router SET registered_at = now() - interval '1 hour'")
    assert (await desk.report(watermark=high, run=1)).ready is True
    row = await desk.row()
    assert (row["state"], row["watermark"]) == ("serving", high)
    assert await desk.books.value("SELECT registered_at > now() - interval '10 minutes' FROM router")


async def test_one_that_comes_back_is_waited_for_but_not_above_what_was_given_back(desk: Desk) -> None:
    old = now_ms() - 3_600_000
    await desk.report(watermark=old)
    await desk.report(watermark=old, unbooked=0, goodbye=True)
    assert (await desk.report(watermark=old, run=1)).ready is False
    assert (await desk.row())["state"] == "serving"
    assert (await desk.report()).ready is True


async def test_a_clock_that_is_wrong_is_written_down(desk: Desk) -> None:
    await desk.report(sent_at=now_ms() + 600_000)
    assert (await desk.row())["skew_ms"] > 590_000
    await desk.report(sent_at=now_ms() - 600_000)
    assert 590_000 < (await desk.row())["skew_ms"] < 601_000
    await desk.report()
    assert (await desk.row())["skew_ms"] == 0


async def test_when_it_was_heard_never_goes_back(desk: Desk) -> None:
    await desk.report()
    await desk.books.pool.execute("UPDATE router SET heard_at = now() + interval '1 hour'")
    await desk.report()
    assert await desk.books.value("SELECT heard_at > now() + interval '50 minutes' FROM router")


async def test_only_routers_report(desk: Desk) -> None:
    assert (await desk.send(report(), caller="edge"))[0] == 403
    assert (await desk.send(report(), caller="catalog"))[0] == 403
    assert (await desk.send(report(), caller=None))[0] == 401
    assert await desk.books.value("SELECT count(*) FROM router") == 0


async def test_a_producer_is_waited_for_too_under_a_name_of_its_own(desk: Desk) -> None:
    assert (await desk.report(f"{PRODUCER}:{SPOOL}", caller=PRODUCER)).ready is True
    assert (await desk.send(report(), SPOOL, PRODUCER))[0] == 403
    assert (await desk.send(report(), f"other:{SPOOL}", PRODUCER))[0] == 403
    assert (await desk.send(report(), f"other:{SPOOL}", "other"))[0] == 403
    assert (await desk.send(report(), f"{PRODUCER}:{SPOOL}", "router"))[0] == 403


UNSAID: Final[list[dict[str, Any]]] = [
    {"instance": ""},
    {"instance": "x" * 201},
    {"instance": "a\0b"},
    {"unbooked": -1},
    {"unbooked": 1 << 62},
    {"watermark": -1},
    {"watermark": 1 << 62},
    {"watermark": 1.5},
    {"sent_at": 0},
    {"sent_at": 1 << 62},
    {"asked": [str(UUID(int=n)) for n in range(MOST_ASKED + 1)]},
    {"asked": ["no id"]},
    {"goodbye": True, "unbooked": 1},
    {"goodbye": True, "unbooked": 0, "asked": [str(UUID(int=1))]},
    {"goodbye": "yes"},
    {"state": "gone"},
]


async def test_what_no_router_says_is_refused(desk: Desk) -> None:
    for said in UNSAID:
        status, body = await desk.send(report(**said))
        assert (status, body["error"]["type"]) == (400, "invalid_request_error"), said
    for spool in ("x" * 65, "a%20b", "%C3%A4", "a:b:c", ":a", "a:"):
        assert (await desk.send(report(), spool))[0] in (400, 403), spool
    for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"instance": "a"}', b"[" * 100_000):
        assert (await desk.send(body))[0] == 400, body[:20]
    assert await desk.books.value("SELECT count(*) FROM router") == 0


def test_the_contract_is_what_the_tests_send() -> None:
    assert msgspec.json.decode(report(), type=Report).unbooked == 3
