"""Ending a hold in Redis. The edge voids what never left, the router settles at once, billing settles again after its
commit: whoever comes second finds it gone."""

from pathlib import Path
from uuid import UUID

from libs.contracts.account import lease_keys
from libs.runtime import redis

_LUA = (Path(__file__).parent / "settle.lua").read_text(encoding="utf-8")


class Holds:
    """The holds of one Redis."""

    def __init__(self, client: redis.Client) -> None:
        self._settle = client.register_script(_LUA)

    async def settle(self, org: int, request_id: UUID, cost: int) -> bool:
        """Ends the hold; False when it was already gone. Raises one of ``redis.Failed``."""
        keys = lease_keys(org)
        answer = await self._settle(keys=[keys.lease, keys.holds], args=[request_id.hex, cost])
        return bool(answer[0] == "OK")

    async def void(self, org: int, request_id: UUID) -> bool:
        """Ends the hold of a request that cost nothing."""
        return await self.settle(org, request_id, 0)
