"""Billing's internal door: leases, balances, what a request cost."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import structlog
from aiohttp import web

from libs import ids
from libs.contracts import account
from libs.contracts.usage import Attempt
from libs.errors import InvalidRequest, NotFound, PermissionDenied, Unavailable
from libs.pricing import Usage
from libs.runtime import postgres, redis
from libs.runtime.app import IDENTITY
from libs.runtime.clock import now_ms
from services.billing.leases import Leases
from services.billing.settings import BillingSettings
from services.billing.store import accounts, charges
from services.billing.store import leases as lease_store
from services.billing.till import Till

log = structlog.get_logger()
routes = web.RouteTableDef()

SETTINGS: Final = web.AppKey("settings", BillingSettings)
POOL: Final[web.AppKey[postgres.Pool]] = web.AppKey("pool")
LEASES: Final = web.AppKey("leases", Leases)
TILL: Final = web.AppKey("till", Till)

ID_TOLERANCE_MS: Final = 60_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")


@web.middleware
async def stores_may_be_away(request: web.Request, handler: Handler) -> web.StreamResponse:
    """PostgreSQL or Redis being away is a 503 that the edge understands, not a fault."""
    try:
        return await handler(request)
    except (*postgres.TRANSIENT, *redis.Failed) as error:
        log.warning("store_away", error=repr(error))
        raise Unavailable("A store of billing's is away.", retry_after=2) from error


@routes.post(account.LEASES_PATH)
async def lease(request: web.Request) -> web.Response:
    wanted, leases = await _read(request, account.LeaseRequest), request.app[LEASES]
    if wanted.shard != leases.shard or wanted.need < 0:
        raise InvalidRequest(f"this instance leases to {leases.shard!r}, and needs are not negative")
    return _answer(await leases.extend(wanted))


@routes.post(account.HOLDS_PATH)
async def hold(request: web.Request) -> web.Response:
    """A producer asks for itself, and only one that could also publish usage."""
    wanted = await _read(request, account.HoldRequest)
    caller = request.app[IDENTITY].caller(request.headers.get("authorization"))
    if caller != wanted.producer or caller not in request.app[SETTINGS].producers():
        raise PermissionDenied("this service is no producer of usage here, or asks for another")
    if wanted.need < 1:
        raise InvalidRequest("a hold is a positive amount", param="need")
    if abs(ids.millisecond_of(wanted.request_id) - now_ms()) > ID_TOLERANCE_MS:
        raise InvalidRequest("the id is not a UUIDv7 of now", param="request_id")
    return _answer(await request.app[TILL].hold(wanted))


@routes.get(account.BALANCE_PATH)
async def balance(request: web.Request) -> web.Response:
    org = int(request.match_info["org"])
    held, used = await request.app[LEASES].held(org)
    async with request.app[POOL].acquire() as connection:
        there = await accounts.posted(connection, org)
        consumed = await accounts.consumed_of_open_lease(connection, org)
    return _answer(
        account.Balance(
            posted=there.posted,
            held=held,
            unposted=max(used - consumed, 0),
            in_doubt=there.in_doubt,
            frozen=there.frozen,
            plan=there.plan.posted,
        )
    )


@routes.get(account.SPEND_PATH)
async def spend(request: web.Request) -> web.Response:
    org, key = int(request.match_info["org"]), int(request.match_info["key"])
    async with request.app[POOL].acquire() as connection:
        found = await charges.spend(connection, key, since(datetime.fromtimestamp(now_ms() / 1000, UTC)))
        if account.LIFETIME in request.query:
            total, _ = await lease_store.spent_before(connection, org, key, 0)
            found = msgspec.structs.replace(found, total=total)
    return _answer(found)


@routes.get(account.CHARGE_PATH)
async def charge(request: web.Request) -> web.Response:
    request_id = ids.parse_public(request.match_info["request_id"])
    if request_id is None:
        raise InvalidRequest("not a request id")
    async with request.app[POOL].acquire() as connection:
        row = await charges.find_charge(connection, int(request.match_info["org"]), request_id)
    if row is None:
        raise NotFound("no such charge")
    return _answer(view(row))


def since(now: datetime) -> tuple[UUID, UUID, UUID]:
    """The first request id of today, of this week (Monday), of this month, all UTC."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = (day, day - timedelta(days=day.weekday()), day.replace(day=1))
    today, week, month = (ids.first_of(int(start.timestamp()) * 1000) for start in starts)
    return today, week, month


def view(row: Any) -> account.ChargeView:
    """A row of `charge` as the contract has it."""
    return account.ChargeView(
        request_id=ids.public(row["request_id"]),
        key=row["key_id"],
        model=row["model"],
        provider=row["provider"],
        provider_model=row["provider_model"],
        provider_request_id=row["provider_request_id"],
        outcome=row["outcome"],
        reason=row["reason"],
        usage=Usage(
            input=row["tok_input"],
            cache_read=row["tok_cache_read"],
            cache_write=row["tok_cache_write"],
            cache_write_1h=row["tok_cache_write_1h"],
            output=row["tok_output"],
            reasoning=row["tok_reasoning"],
        ),
        price_id=row["price_id"],
        cost=row["cost"],
        charged=row["cash"] + row["plan"],
        absorbed=row["absorbed"],
        stream=row["stream"],
        client_gone=row["client_gone"],
        accepted_at=row["accepted_at"],
        started_at=row["started_at"],
        first_token_at=row["first_token_at"],
        ended_at=row["ended_at"],
        settled_at=int(row["charged_at"].timestamp() * 1000),
        attempts=msgspec.json.decode(row["attempts"], type=tuple[Attempt, ...]),
    )


async def _read(request: web.Request, kind: type[T]) -> T:
    """Raises InvalidRequest."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error


def _answer(value: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
