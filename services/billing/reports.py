"""What routers tell, about once a second: their promises are written down, and they hear what is booked."""

import re
from collections.abc import Container
from typing import Final

import msgspec
from aiohttp import web

from libs.contracts import evidence as contract
from libs.contracts.evidence import Heard, Report
from libs.errors import InvalidRequest, PermissionDenied
from libs.runtime.app import IDENTITY
from libs.runtime.clock import now_ms
from services.billing import evidence
from services.billing.api import POOL, SETTINGS
from services.billing.store import routers

routes = web.RouteTableDef()

SPOOL: Final = re.compile(r"(?:[a-z0-9-]{1,32}:)?[0-9A-Za-z_-]{1,64}", re.ASCII)
MOST_NAME: Final = 200
MOST_RECORDS: Final = 1 << 40
FUTURE_MS: Final = 24 * 3600 * 1000  # a clock that is farther off is no clock
ROUTER: Final = "router"


@routes.post(contract.REPORTS_PATH)
async def report(request: web.Request) -> web.Response:
    caller = request.app[IDENTITY].caller(request.headers.get("authorization"))
    if not may_report(caller, request.match_info["spool"], request.app[SETTINGS].producers()):
        raise PermissionDenied("only routers report, and producers of usage as NAME:SPOOL")
    now = now_ms()
    spool, said = read(request.match_info["spool"], await request.read(), now)
    async with request.app[POOL].acquire() as connection:
        try:
            known = await routers.hear(connection, spool, said, evidence.skew_of_report(said.sent_at, now))
        except routers.Overtaken as error:
            raise InvalidRequest(str(error)) from error
        booked = await routers.booked(connection, said.asked)
    heard = Heard(tuple(booked), known.state == "lost", is_ready(known, request.app[SETTINGS].rules()), now_ms())
    return web.Response(body=msgspec.json.encode(heard), content_type="application/json")


def may_report(caller: str, spool: str, producers: Container[str]) -> bool:
    """A service that holds and publishes on its own is waited for in the same way, under names of its own: nobody can
    move another's watermark."""
    owner, colon, _ = spool.partition(":")
    return caller == ROUTER if not colon else caller == owner and owner in producers


def is_ready(known: evidence.Router, rules: evidence.Rules) -> bool:
    """Whether it may begin requests: billing waits for it, and gave nothing back above its watermark before that."""
    return known.state == "serving" and evidence.is_fresh(known.watermark, known.registered_at, rules)


def read(spool: str, body: bytes, now: int) -> tuple[str, Report]:
    """Raises InvalidRequest for what no router says. A clock that is somewhat wrong is written down, not refused."""
    if not SPOOL.fullmatch(spool):
        raise InvalidRequest("a spool's name is up to 64 letters, digits, _ and -")
    try:
        said = msgspec.json.decode(body, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error
    if len(said.asked) > contract.MOST_ASKED:
        raise InvalidRequest(f"at most {contract.MOST_ASKED} requests at a time", param="asked")
    if not 1 <= len(said.instance) <= MOST_NAME or "\0" in said.instance:
        raise InvalidRequest("an instance has a name", param="instance")
    if not 0 <= said.unbooked <= MOST_RECORDS:
        raise InvalidRequest("that many records are in no spool", param="unbooked")
    if not 0 <= said.watermark <= now + FUTURE_MS or abs(said.sent_at - now) > FUTURE_MS:
        raise InvalidRequest("times are Unix milliseconds of today", param="watermark")
    if said.goodbye and (said.unbooked or said.asked):
        raise InvalidRequest("only an empty spool says goodbye", param="goodbye")
    return spool, said
