"""What a key may know of its account: limits, balance, and what a request cost."""

from typing import Any

from aiohttp import web

from libs import ids, pricing
from libs.contracts.account import Balance, ChargeView
from libs.contracts.statement import MONTH, OrgStatement
from libs.errors import InvalidRequest
from services.edge.parts import BILLING, CALLERS

routes = web.RouteTableDef()


@routes.get("/v1/billing/balance")
async def balance(request: web.Request) -> web.Response:
    caller = await request.app[CALLERS].identify(request)
    return web.json_response(_balance(await request.app[BILLING].balance(caller.org)))


@routes.get("/v1/billing/statement")
async def statement(request: web.Request) -> web.Response:
    caller = await request.app[CALLERS].identify(request)
    month = request.query.get("month", "")
    if MONTH.fullmatch(month) is None:
        raise InvalidRequest("month must be as in 2026-10.", param="month")
    return web.json_response(_statement(await request.app[BILLING].statement(caller.org, month)))


@routes.get("/v1/key")
async def key(request: web.Request) -> web.Response:
    caller = await request.app[CALLERS].identify(request)
    spend = await request.app[BILLING].spend(caller.org, caller.key, lifetime=caller.cap is not None)
    there = await request.app[BILLING].balance(caller.org)
    return web.json_response(
        {
            "label": caller.name,
            "hint": caller.hint,
            "limit": None if caller.cap is None else pricing.usd(caller.cap),
            "limit_remaining": None if caller.cap is None else pricing.usd(max(caller.cap - (spend.total or 0), 0)),
            "usage_daily": pricing.usd(spend.today),
            "usage_weekly": pricing.usd(spend.week),
            "usage_monthly": pricing.usd(spend.month),
            "balance": pricing.usd(there.posted),
            "available": pricing.usd(there.available),
        }
    )


@routes.get("/v1/generation")
async def generation(request: web.Request) -> web.Response:
    caller = await request.app[CALLERS].identify(request)
    request_id = ids.parse_public(request.query.get("id", ""))
    if request_id is None:
        raise InvalidRequest("id must be the req_… of one of your requests (its x-request-id header).", param="id")
    return web.json_response(_generation(await request.app[BILLING].charge(caller.org, request_id)))


def _balance(there: Balance) -> dict[str, Any]:
    return {
        "balance": there.posted / pricing.NANO,
        "balance_exact": pricing.usd(there.posted),
        "currency": "USD",
        "plan": pricing.usd(there.plan),
        "available": pricing.usd(there.available),
        "held": pricing.usd(there.held),
        "unposted": pricing.usd(there.unposted),
        "in_doubt": pricing.usd(there.in_doubt),
        "frozen": there.frozen,
    }


def _statement(told: OrgStatement) -> dict[str, Any]:
    return {
        "month": told.month,
        "currency": "USD",
        "buckets": [
            {
                "bucket": each.bucket,
                "closed": each.digest is not None,
                "opening": pricing.usd(each.opening),
                "movements": [
                    {"kind": m.kind, "transfers": m.transfers, "amount": pricing.usd(m.amount)} for m in each.movements
                ],
                "closing": pricing.usd(each.closing),
                "digest": each.digest,
            }
            for each in told.buckets
        ],
    }


def _generation(charge: ChargeView) -> dict[str, Any]:
    usage = charge.usage
    return {
        "id": charge.request_id,
        "model": charge.model,
        "provider": charge.provider,
        "provider_model": charge.provider_model,
        "provider_request_id": charge.provider_request_id,
        "status": charge.outcome,
        "reason": charge.reason,
        "streamed": charge.stream,
        "cancelled": charge.client_gone,
        "usage": {name: getattr(usage, name) for name in usage.__struct_fields__},
        "price_id": charge.price_id,
        "cost": pricing.usd(charge.cost),
        "charged": pricing.usd(charge.charged),
        "absorbed": pricing.usd(charge.absorbed),
        "accepted_at": charge.accepted_at,
        "started_at": charge.started_at,
        "first_token_at": charge.first_token_at,
        "ended_at": charge.ended_at,
        "settled_at": charge.settled_at,
        "attempts": [{"offer": a.offer, "status": a.status, "reason": a.reason, "ms": a.ms} for a in charge.attempts],
    }
