"""The catalog service: snapshots by tag, news at once, and what happens when a part of it goes away."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from libs.contracts.catalog import SNAPSHOT_PATH, Snapshot, decode
from libs.runtime.catalog import LiveShelf, following
from libs.runtime.health import HEALTH
from libs.runtime.identity import Identity
from libs.runtime.metrics import METRICS
from services.catalog.parts import WINDOW
from services.catalog.rules import digest_of, read
from services.catalog.store import tables as announcing
from tests.fixtures.catalog import (
    SECRET,
    Running,
    Tables,
    catalog_service,
    end_connections,
    until,
)
from tests.fixtures.servers import Database, Servers
from tests.unit.catalog.shelf_text import SHELF, edited

NEXT = edited('"1.10"', '"1.11"')
LONG = 25


@pytest.fixture
async def tables(servers: Servers) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        yield Tables(database.catalog_url, database.owner_url)


@pytest.fixture
async def service(tables: Tables) -> AsyncIterator[Running]:
    """Ready, with nothing on the shelf."""
    async with catalog_service(tables.url) as running:
        await until_ready(running)
        yield running


@pytest.fixture(scope="module")
async def quiet(fresh_database: Database) -> AsyncIterator[Running]:
    """Ready, with nothing on the shelf, and shared by tests that publish nothing."""
    async with catalog_service(fresh_database.catalog_url) as running:
        await until_ready(running)
        yield running


async def until_ready(running: Running) -> None:
    await until(lambda: not set(running.app[HEALTH].reasons) - {"start"})


async def until_version(running: Running, version: int) -> None:
    window = running.app[WINDOW]
    await until(lambda: window.edition is not None and window.edition.version == version)


async def waiting(running: Running, tag: str, wait: int = LONG) -> asyncio.Task[tuple[int, Any, str]]:
    """A long poll that has surely begun."""
    before = in_flight(running)
    task = asyncio.create_task(running.snapshot(tag, wait))
    await until(lambda: in_flight(running) > before)
    assert not task.done()
    return task


def in_flight(running: Running) -> float:
    metrics = running.app[METRICS]
    return float(metrics.in_flight.labels(metrics.service)._value.get())


def shows(live: LiveShelf, snapshot: Snapshot) -> bool:
    return live.shelf.snapshot == snapshot


async def test_an_empty_catalog_is_ready_and_sells_nothing(quiet: Running) -> None:
    status, body, tag = await quiet.snapshot()
    assert (status, body["version"], body["models"]) == (200, 0, [])
    assert tag.startswith('"0-')


async def test_the_snapshot_is_what_was_published(tables: Tables, service: Running) -> None:
    await tables.publish(SHELF)
    await until_version(service, 1)
    url = service.url + SNAPSHOT_PATH
    async with service.session.get(url, headers=service.identity.authorization("catalog")) as response:
        assert response.content_type == "application/json"
        assert digest_of(decode(await response.read())) == digest_of(read(SHELF))


async def test_a_known_tag_is_answered_with_304_and_any_other_with_the_shelf(quiet: Running) -> None:
    _, _, tag = await quiet.snapshot()
    assert await quiet.snapshot(tag) == (304, None, tag)
    assert await quiet.snapshot(f'"other", {tag}') == (304, None, tag)
    assert (await quiet.snapshot('"other"'))[0] == 200
    assert (await quiet.snapshot('"other"', wait=LONG))[0] == 200


async def test_a_publication_ends_every_wait_with_the_new_shelf(tables: Tables, service: Running) -> None:
    _, _, tag = await service.snapshot()
    polls = [await waiting(service, tag) for _ in range(3)]
    await tables.publish(SHELF)
    for status, body, new_tag in await asyncio.wait_for(asyncio.gather(*polls), LONG / 2):
        assert (status, body["version"], new_tag != tag) == (200, 1, True)


async def test_a_wait_in_vain_ends_with_304(quiet: Running) -> None:
    _, _, tag = await quiet.snapshot()
    assert await quiet.snapshot(tag, wait=1) == (304, None, tag)


async def test_publishing_the_same_again_disturbs_nobody(tables: Tables, service: Running) -> None:
    await tables.publish(SHELF)
    await until_version(service, 1)
    _, _, tag = await service.snapshot()
    poll = await waiting(service, tag)
    await tables.publish(SHELF)
    await tables.publish(NEXT)
    status, body, _ = await asyncio.wait_for(poll, LONG / 2)
    assert (status, body["version"]) == (200, 2)


@pytest.mark.parametrize("wait", ["-1", "1.5", "soon", "", "٣", "1e3"])
async def test_a_wait_that_is_no_number_of_seconds_is_refused(quiet: Running, wait: str) -> None:
    status, body, _ = await quiet.get(SNAPSHOT_PATH, wait=wait)
    assert (status, body["error"]["param"]) == (400, "wait")


async def test_going_down_ends_every_wait_at_once(tables: Tables) -> None:
    async with catalog_service(tables.url) as running:
        await until_ready(running)
        _, _, tag = await running.snapshot()
        poll = await waiting(running, tag)
        await asyncio.wait_for(running.runner.cleanup(), LONG / 2)
        assert await poll == (304, None, tag)


async def test_a_price_is_explained_after_it_has_gone(tables: Tables, service: Running) -> None:
    await tables.publish(SHELF)
    await tables.publish(NEXT)
    old = read(SHELF).models[0]
    status, body, _ = await service.get(f"/internal/v1/prices/{old.price_id}")
    assert (status, body["id"], body["price"]["rates"]["output"]) == (200, old.price_id, 1_100_000_000)
    assert [(period["version"], bool(period["valid_until"])) for period in body["periods"]] == [(1, True)]


async def test_an_unknown_price_is_not_found(quiet: Running) -> None:
    assert (await quiet.get("/internal/v1/prices/pr_0"))[0] == 404


@pytest.mark.parametrize("path", [SNAPSHOT_PATH, "/internal/v1/prices/pr_0"])
@pytest.mark.parametrize("who", ["nobody", "a stranger", "a service that meant another"])
async def test_a_caller_without_a_service_token_gets_nothing(quiet: Running, path: str, who: str) -> None:
    headers = {
        "nobody": {},
        "a stranger": Identity("edge", b"another secret than that of these tests").authorization("catalog"),
        "a service that meant another": Identity("edge", SECRET.encode()).authorization("billing"),
    }[who]
    async with quiet.session.get(quiet.url + path, headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (401, "invalid_api_key")


async def test_a_lost_connection_loses_no_news(tables: Tables, service: Running) -> None:
    _, _, tag = await service.snapshot()
    async with tables.as_owner() as owner:
        assert await end_connections(owner, "tokenoutput-catalog") >= 1
    await tables.publish(SHELF)
    status, body, _ = await asyncio.wait_for(service.snapshot(tag, LONG), LONG)
    assert (status, body["version"]) == (200, 1)


async def test_news_that_was_never_announced_is_found_by_looking(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with catalog_service(tables.url, poll_seconds=0.05) as running:
        await until_ready(running)
        _, _, tag = await running.snapshot()
        poll = await waiting(running, tag)
        with monkeypatch.context() as patch:
            patch.setattr(announcing, "CHANNEL", "somewhere_else")
            await tables.publish(SHELF)
        assert (await asyncio.wait_for(poll, LONG))[1]["version"] == 1


async def test_a_shelf_that_went_wrong_is_not_shown_and_the_last_good_one_stays(tables: Tables) -> None:
    async with catalog_service(tables.url, poll_seconds=0.05) as running:
        await tables.publish(SHELF)
        await until_ready(running)
        await until_version(running, 1)
        async with tables.as_owner() as owner:
            await owner.execute("ALTER TABLE price_version DISABLE TRIGGER USER")
            await owner.execute("UPDATE price_version SET price = jsonb_set(price, '{rates,output}', '1')")
            await owner.execute("INSERT INTO publication SELECT 2, digest, now(), 'nobody' FROM publication")
        await until(lambda: "shelf" in running.app[HEALTH].reasons)
        status, body, _ = await running.snapshot()
        assert (status, body["version"], body["models"][0]["price"]["rates"]["output"]) == (200, 1, 1_100_000_000)


async def test_without_its_tables_the_catalog_says_so_instead_of_selling_nothing(tables: Tables) -> None:
    async with tables.as_owner() as owner:
        await owner.execute("ALTER TABLE publication RENAME TO gone")
    async with catalog_service(tables.url) as running:
        await until(lambda: "publication" in running.app[HEALTH].reasons.get("shelf", ""))
        status, body, _ = await running.snapshot()
        assert (status, body["error"]["code"]) == (503, "unavailable")
        async with tables.as_owner() as owner:
            await owner.execute("ALTER TABLE gone RENAME TO publication")
        await until_ready(running)
        assert (await running.snapshot())[0] == 200


async def test_the_other_services_shelf_follows_every_publication(tables: Tables, service: Running) -> None:
    health = service.app[HEALTH]
    async with following(service.url, service.identity, health, service.session) as live:
        for text in (SHELF, NEXT, SHELF):
            publication = await tables.publish(text)
            await until(partial(shows, live, publication.after))
        assert live.shelf.snapshot.version == 3
        assert live.shelf.offers_of("acme-one")[0].provider == "acme"
