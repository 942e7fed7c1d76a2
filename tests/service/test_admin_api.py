"""The admin API: who gets in, what it does, and that no secret ever comes out of it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import structlog
from aiohttp import web
from pydantic import SecretStr

from libs.contracts.catalog import decode, sealing_context
from libs.runtime.identity import Identity
from libs.runtime.metrics import METRICS
from libs.runtime.operators import new_operator_app
from libs.runtime.run import PortTaken
from libs.sealing import key_ring
from services.catalog.app import create_app
from services.catalog.parts import WINDOW
from tests.fixtures.catalog import (
    KEYS,
    OPERATOR_TOKEN,
    SECRET,
    Operator,
    Running,
    Tables,
    catalog_service,
    catalog_settings,
    operator_of,
    until,
)
from tests.fixtures.servers import Servers
from tests.unit.catalog.shelf_text import SHELF

KEY: Final = "sk-live-0123456789"
WANTED: Final = {"provider": "acme", "id": "spare", "secret": KEY, "weight": 2, "max_concurrent": 50}
OFFER: Final = "/admin/v1/offers/acme-one@acme"
LONG: Final = 25


@pytest.fixture
async def tables(servers: Servers) -> AsyncIterator[Tables]:
    async with servers.new_database() as database:
        made = Tables(database.catalog_url, database.owner_url)
        await made.publish(SHELF)
        yield made


@pytest.fixture
async def service(tables: Tables) -> AsyncIterator[Running]:
    async with catalog_service(tables.url) as running:
        await until(lambda: running.app[WINDOW].edition is not None)
        yield running


@pytest.fixture
async def operator(tables: Tables, service: Running) -> AsyncIterator[Operator]:
    async with operator_of(service, tables.url, KEYS) as made:
        yield made


@pytest.fixture(scope="module")
async def quiet(servers: Servers) -> AsyncIterator[Operator]:
    """For tests that change nothing."""
    async with servers.new_database() as database:
        await Tables(database.catalog_url, database.owner_url).publish(SHELF)
        async with (
            catalog_service(database.catalog_url) as running,
            operator_of(running, database.catalog_url, KEYS) as made,
        ):
            yield made


async def listed(operator: Operator, kind: str) -> list[dict[str, Any]]:
    status, body = await operator.call("GET", f"/admin/v1/{kind}")
    assert (status, body["object"]) == (200, "list")
    found: list[dict[str, Any]] = body["data"]
    return found


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {OPERATOR_TOKEN} ".replace("token", "Token"),
        f"Basic {OPERATOR_TOKEN}",
        OPERATOR_TOKEN,
        f"Bearer {SECRET}",
        "Bearer sk-to-0123456789abcdef",
        Identity("edge", SECRET.encode()).authorization("catalog")["authorization"],
        Identity("catalog", SECRET.encode()).authorization("catalog")["authorization"],
    ],
)
@pytest.mark.parametrize("path", ["/admin/v1/providers", "/admin/v1/nothing", "/"])
async def test_nobody_but_the_operator_gets_in(quiet: Operator, authorization: str, path: str) -> None:
    status, body = await quiet.call("GET", path, authorization=authorization)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert OPERATOR_TOKEN not in str(body)


async def test_the_services_own_port_knows_no_operator(service: Running) -> None:
    token = {"authorization": f"Bearer {OPERATOR_TOKEN}"}
    for path, headers, status in (("/admin/v1/providers", {}, 404), ("/internal/v1/snapshot", token, 401)):
        assert (await service.get(path, headers))[0] == status


async def test_providers_are_listed(quiet: Operator) -> None:
    assert await listed(quiet, "providers") == [
        {
            "id": "acme",
            "name": "Acme Models",
            "base_urls": {"openai_chat": "https://api.acme.example/v1"},
            "credentials": ["acme"],
            "offers": 1,
            "paused": False,
            "pause": None,
        }
    ]


async def test_offers_are_listed_with_all_their_deadlines(quiet: Operator) -> None:
    assert await listed(quiet, "offers") == [
        {
            "id": "acme-one@acme",
            "model": "acme-one",
            "provider": "acme",
            "protocol": "openai_chat",
            "upstream_model": "acme-one",
            "priority": 0,
            "weight": 1,
            "deadlines": {"connect": 10.0, "first": 120.0, "idle": 300.0, "total": 3500.0},
            "paused": False,
            "pause": None,
        }
    ]


async def test_a_credential_goes_in_and_only_its_name_comes_out(operator: Operator) -> None:
    status, answer = await operator.call("POST", "/admin/v1/credentials", WANTED)
    assert status == 201
    assert {name: answer[name] for name in ("id", "provider", "source", "sealed_with", "weight", "max_concurrent")} == {
        "id": "spare",
        "provider": "acme",
        "source": "stored",
        "sealed_with": "new",
        "weight": 2,
        "max_concurrent": 50,
    }
    first, spare = await listed(operator, "credentials")
    assert (first["id"], first["source"], first["variable"]) == ("acme", "environment", "ACME_API_KEY")
    assert spare == answer
    assert not {"secret", "sealed"} & answer.keys()


async def test_a_new_credential_reaches_whoever_waits_for_the_snapshot(operator: Operator, service: Running) -> None:
    _, _, tag = await service.snapshot()
    poll = asyncio.create_task(service.snapshot(tag, LONG))
    await operator.call("POST", "/admin/v1/credentials", WANTED)
    status, body, new_tag = await asyncio.wait_for(poll, LONG / 2)
    assert (status, body["version"], new_tag != tag) == (200, 1, True)
    (sealed,) = [found["sealed"] for found in body["credentials"] if found["id"] == "spare"]
    assert key_ring(KEYS).open(sealed, sealing_context("acme", "spare")) == KEY


async def test_a_pause_reaches_whoever_waits_and_so_does_its_end(operator: Operator, service: Running) -> None:
    for step, paused in (("pause", True), ("resume", False)):
        _, _, tag = await service.snapshot()
        poll = asyncio.create_task(service.snapshot(tag, LONG))
        status, row = await operator.call("POST", f"{OFFER}/{step}", {"reason": "slow"} if paused else None)
        assert (status, row["paused"]) == (200, paused)
        _, body, _ = await asyncio.wait_for(poll, LONG / 2)
        assert [offer["paused"] for offer in body["offers"]] == [paused]


@pytest.mark.parametrize(
    ("kind", "name"), [("providers", "acme"), ("offers", "acme-one@acme"), ("credentials", "acme")]
)
async def test_whatever_is_listed_can_be_paused_and_resumed(operator: Operator, kind: str, name: str) -> None:
    path = f"/admin/v1/{kind}/{name}"
    _, row = await operator.call("POST", f"{path}/pause", {"reason": "out of credit"})
    assert (row["paused"], row["pause"]["reason"]) == (True, "out of credit")
    assert await listed(operator, kind) == [row]
    assert (await operator.call("POST", f"{path}/resume"))[1] == {**row, "paused": False, "pause": None}
    assert (await operator.call("POST", f"{path}/resume"))[0] == 200


async def test_a_stored_credential_is_removed_and_one_of_the_file_is_not(operator: Operator) -> None:
    await operator.call("POST", "/admin/v1/credentials", WANTED)
    assert await operator.call("DELETE", "/admin/v1/credentials/spare") == (200, {"id": "spare", "deleted": True})
    assert (await operator.call("DELETE", "/admin/v1/credentials/spare"))[0] == 404
    status, body = await operator.call("DELETE", "/admin/v1/credentials/acme")
    assert (status, "shelf file" in body["error"]["message"]) == (400, True)


@pytest.mark.parametrize("kind", ["providers", "offers", "credentials"])
@pytest.mark.parametrize("step", ["pause", "resume"])
async def test_what_is_not_there_is_not_found(quiet: Operator, kind: str, step: str) -> None:
    status, body = await quiet.call("POST", f"/admin/v1/{kind}/acmee/{step}", {"reason": "x"})
    assert (status, body["error"]["code"], body["error"]["param"]) == (404, "not_found", "id")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/admin/v1/models", 404),
        ("GET", "/admin/v1/offers/acme-one@acme", 404),
        ("POST", "/admin/v1/models/acme-one/pause", 404),
        ("DELETE", "/admin/v1/offers/acme-one@acme", 404),
        ("PUT", "/admin/v1/credentials", 405),
        ("POST", "/admin/v1/offers", 405),
    ],
)
async def test_there_is_nothing_else(quiet: Operator, method: str, path: str, status: int) -> None:
    assert (await quiet.call(method, path))[0] == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"reason": 5}',
        b'{"reason": ""}',
        b'{"reason": " "}',
        b'{"reason": "x", "until": 5}',
        b'{"reason": "' + b"x" * 501 + b'"}',
        b"[" * 100_000,
    ],
)
async def test_a_pause_without_a_good_reason_is_refused(quiet: Operator, body: bytes) -> None:
    status, answer = await quiet.call("POST", f"{OFFER}/pause", raw=body)
    assert (status in (400, 413), answer["error"]["type"]) == (True, "invalid_request_error")
    assert not (await listed(quiet, "offers"))[0]["paused"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"provider": "acmee"}, "provider"),
        ({"id": "acme"}, "id"),
        ({"secret": "two words"}, "secret"),
        ({"weight": 0}, "weight"),
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"secret": 5}, None),
        ({"secret": [KEY]}, None),
        ({"weight": "2"}, None),
        ({"sealed": "x"}, None),
        ({"variable": "PATH"}, None),
    ],
)
async def test_a_wrong_credential_is_refused_without_a_word_of_it(
    quiet: Operator, changes: dict[str, object], param: str | None
) -> None:
    with structlog.testing.capture_logs() as lines:
        status, answer = await quiet.call("POST", "/admin/v1/credentials", {**WANTED, **changes})
    assert (status, answer["error"]["param"]) == (400, param)
    assert KEY not in str(answer) + str(lines)
    assert len(await listed(quiet, "credentials")) == 1


async def test_the_log_names_what_was_done_and_never_the_secret(operator: Operator) -> None:
    with structlog.testing.capture_logs() as lines:
        await operator.call("POST", "/admin/v1/credentials", WANTED)
        await operator.call("POST", f"{OFFER}/pause", {"reason": "slow"})
    told = [line for line in lines if line["event"] == "request"]
    assert [(line.get("credential"), line.get("offer")) for line in told] == [("spare", None), (None, "acme-one@acme")]
    assert KEY not in str(lines)
    assert OPERATOR_TOKEN not in str(lines)


async def test_without_keys_nothing_is_stored_and_all_else_goes_on(tables: Tables, service: Running) -> None:
    async with operator_of(service, tables.url) as operator:
        status, answer = await operator.call("POST", "/admin/v1/credentials", WANTED)
        assert (status, "TOKENOUTPUT_CREDENTIAL_KEYS" in answer["error"]["message"]) == (400, True)
        assert (await operator.call("POST", f"{OFFER}/pause", {"reason": "slow"}))[0] == 200


async def test_a_database_that_is_away_is_told(tables: Tables, operator: Operator) -> None:
    async with tables.as_owner() as owner:
        await owner.execute("ALTER TABLE pause RENAME TO gone")
    status, answer = await operator.call("GET", "/admin/v1/offers")
    assert (status, answer["error"]["code"]) == (503, "unavailable")


async def test_calls_count_into_the_services_metrics(operator: Operator, service: Running) -> None:
    await listed(operator, "offers")
    metrics = service.app[METRICS]
    samples = next(iter(metrics.requests.collect())).samples
    assert any("/admin/v1/" in sample.labels.get("route", "") for sample in samples)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_the_service_opens_the_port_that_it_is_given_and_closes_it(tables: Tables, service: Running) -> None:
    port = free_port()
    settings = catalog_settings(tables.url, operator_port=port, operator_token=SecretStr(OPERATOR_TOKEN))
    runner = web.AppRunner(create_app(settings), access_log=None)
    await runner.setup()
    operator = Operator(f"http://127.0.0.1:{port}", service.session)
    assert [row["id"] for row in await listed(operator, "providers")] == ["acme"]
    await runner.cleanup()
    with pytest.raises(OSError, match=str(port)):
        await operator.call("GET", "/admin/v1/providers")


async def test_a_taken_port_is_told_by_the_name_of_its_setting(tables: Tables) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = catalog_settings(
            tables.url, operator_port=other.getsockname()[1], operator_token=SecretStr(OPERATOR_TOKEN)
        )
        runner = web.AppRunner(create_app(settings), access_log=None)
        with pytest.raises(PortTaken, match="TOKENOUTPUT_CATALOG_OPERATOR_PORT"):
            await runner.setup()
        await runner.cleanup()


def test_there_is_no_admin_api_without_a_token() -> None:
    settings = catalog_settings("postgresql://nowhere")
    with pytest.raises(ValueError, match="token"):
        new_operator_app(create_app(settings), settings)


async def test_the_snapshot_that_is_sent_is_one_that_services_read(operator: Operator, service: Running) -> None:
    await operator.call("POST", "/admin/v1/credentials", WANTED)
    await until(lambda: b"spare" in (service.app[WINDOW].edition or (0, "", b""))[2])
    edition = service.app[WINDOW].edition
    assert edition is not None
    assert [found.id for found in decode(edition.body).credentials] == ["acme", "spare"]
