"""What the edge asks billing. Shapes and addresses are `libs.contracts.account`'s."""

from typing import Any, Final, TypeVar
from uuid import UUID

import aiohttp
import msgspec
import structlog

from libs.contracts import account
from libs.contracts.statement import STATEMENT_PATH, OrgStatement
from libs.errors import NotFound, Unavailable
from libs.runtime import client
from libs.runtime.identity import Identity

log = structlog.get_logger()

T = TypeVar("T")
RETRY_AFTER: Final = 2
AWAY: Final = "Billing is away for a moment; nothing was charged."


class Billing:
    """The billing service. Every method raises Unavailable while it cannot be reached."""

    def __init__(self, session: aiohttp.ClientSession, url: str, identity: Identity) -> None:
        self._session = session
        self._url = url
        self._identity = identity

    async def lease(self, org: int, shard: str, need: int, key: int = 0) -> account.LeaseAnswer:
        body = msgspec.json.encode(account.LeaseRequest(org, shard, need, key))
        return await self._call("POST", account.LEASES_PATH, account.LeaseAnswer, data=body)

    async def balance(self, org: int) -> account.Balance:
        return await self._call("GET", account.BALANCE_PATH.format(org=org), account.Balance)

    async def spend(self, org: int, key: int, *, lifetime: bool = False) -> account.Spend:
        params = {account.LIFETIME: "1"} if lifetime else {}
        return await self._call("GET", account.SPEND_PATH.format(org=org, key=key), account.Spend, params=params)

    async def charge(self, org: int, request_id: UUID) -> account.ChargeView:
        """Raises NotFound for a request that this org has no charge of."""
        path = account.CHARGE_PATH.format(org=org, request_id=request_id)
        return await self._call("GET", path, account.ChargeView)

    async def statement(self, org: int, month: str) -> OrgStatement:
        """``month`` as in ``2026-10``."""
        return await self._call("GET", STATEMENT_PATH.format(org=org, month=month), OrgStatement)

    async def _call(self, method: str, path: str, answer: type[T], **options: Any) -> T:
        headers = self._identity.authorization("billing")
        try:
            async with self._session.request(method, f"{self._url}{path}", headers=headers, **options) as response:
                if response.status == 404:
                    raise NotFound("There is no charge with this id yet.")
                response.raise_for_status()
                return msgspec.json.decode(await response.read(), type=answer)
        except (*client.Failed, msgspec.DecodeError) as error:
            log.warning("billing_away", path=path, error=repr(error))
            raise Unavailable(AWAY, retry_after=RETRY_AFTER) from error
