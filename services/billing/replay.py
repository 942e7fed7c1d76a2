"""A parked event again: judged and posted by the same path, at the time at which it was parked."""

from typing import Literal

import msgspec

from libs import pricing
from libs.contracts.usage import Envelope
from libs.runtime import postgres
from libs.runtime.postgres import Connection
from services.billing import parcel
from services.billing.poster import Posted, Poster
from services.billing.store import parked
from services.billing.store.parked import ParkedRow
from services.billing.verdict import Accepted, Judge, Refused, honest


class NotToBeDecided(LookupError):
    """There is no such parked event, or it is decided already."""


class Replayed(msgspec.Struct, frozen=True):
    """What became of a parked event: booked now, or parked as before, with the reason of now; or somebody else has
    decided on it meanwhile."""

    id: int
    state: Literal["replayed", "parked", "decided"]
    result: str


async def replay(pool: postgres.Pool, poster: Poster, judge: Judge, parked_id: int) -> Replayed:
    """May be done as often as one likes: what is booked is not booked again. Raises NotToBeDecided."""
    async with pool.acquire() as connection:
        row, body = await waiting(connection, parked_id)
    try:
        posted, refused = await _post(poster, judge, body, row.parked_at)
    except Refused as error:
        posted, refused = Posted([], [], []), [str(error)]
    async with pool.acquire() as connection:
        if refused:
            reason = parcel.sentence("; ".join(refused))
            await parked.refuse_again(connection, parked_id, reason)
            return Replayed(parked_id, "parked", reason)
        if not await parked.decide(connection, parked_id, "replayed", _told(posted)):
            raise NotToBeDecided(f"parked event {parked_id} was decided meanwhile")
    return Replayed(parked_id, "replayed", _told(posted))


async def waiting(connection: Connection, parked_id: int) -> tuple[ParkedRow, bytes]:
    """Raises NotToBeDecided."""
    found = await parked.find(connection, parked_id)
    if found is None:
        raise NotToBeDecided(f"there is no parked event {parked_id}")
    if found[0].state != "parked":
        raise NotToBeDecided(f"parked event {parked_id} is decided: {found[0].state}, {found[0].decision}")
    return found


async def _post(poster: Poster, judge: Judge, body: bytes, at_ms: int) -> tuple[Posted, list[str]]:
    """What was booked, and why the rest of it was not. Raises Refused for what cannot be opened."""
    envelope = judge.open(body)
    accepted, refused = _judged(judge, envelope, at_ms)
    posted = await poster.post(accepted, envelope.prices)
    return posted, refused + [item.reason for item in posted.refused]


def _judged(judge: Judge, envelope: Envelope, at_ms: int) -> tuple[list[Accepted], list[str]]:
    accepted, refused, prices = [], [], honest(envelope.prices)
    for raw in map(bytes, envelope.events):
        try:
            accepted.append(judge.judge(raw, envelope, prices, at_ms))
        except Refused as error:
            refused.append(str(error))
    return accepted, refused


def _told(posted: Posted) -> str:
    paid = pricing.usd(sum(item.paid for item in posted.booked))
    return "; ".join([f"{len(posted.booked)} booked, ${paid} paid by the org", *sorted(set(posted.odd))])
