"""Billing's internal door for statements."""

import msgspec
from aiohttp import web

from libs.contracts import statement as contract
from libs.errors import InvalidRequest
from services.billing import months, statements
from services.billing.api import POOL

routes = web.RouteTableDef()


@routes.get(contract.STATEMENT_PATH)
async def statement(request: web.Request) -> web.Response:
    org, name = int(request.match_info["org"]), request.match_info["month"]
    try:
        month = statements.month_of(name)
    except statements.BadMonth as error:
        raise InvalidRequest(str(error), param="month") from error
    async with request.app[POOL].acquire() as connection:
        shown = contract.OrgStatement(org, name, tuple(await months.shown(connection, org, month)))
    return web.Response(body=msgspec.json.encode(shown), content_type="application/json")
