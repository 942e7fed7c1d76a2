"""For services other than routers that charge customers: credit is set aside first, then usage is published.

Everything that billing asks of a producer is done here: the hold, the seal, the broker's confirmation, sending again
what billing has not booked, and the watermark, without which billing would give back a hold after seconds. See
``docs/publishing-usage.md``.

Nothing is kept on disk, so a run does not know what an earlier one of the same name has published and billing has not
booked yet. So its first report promises nothing. If billing finds the watermark that it has already good enough to
begin with, an earlier run was told the same and may have left something: billing is left with that watermark for
``settle_seconds``, until all that was published is booked. Otherwise no earlier run ever began anything that is not.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

import aiohttp
import msgspec
import structlog

from libs import ids, pricing
from libs.contracts import account, evidence, usage
from libs.contracts.account import HoldAnswer, HoldRequest
from libs.contracts.dispatch import Hold
from libs.contracts.usage import Outcome, UsageEvent
from libs.pricing import Price, Usage
from libs.runtime import backoff, client, rabbit
from libs.runtime.clock import now_ms, tick_ms
from libs.runtime.health import Health
from libs.runtime.identity import Identity
from libs.runtime.tasks import running

log = structlog.get_logger()

LAG_SECONDS: Final = 15.0  # longer than billing may take to answer, so that no hold is older than what is promised
READY_SECONDS: Final = 60
REPORT_SECONDS: Final = 1.0
RESHIP_MS: Final = 600_000
LAST_CALL_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 600.0
RESERVED_SECONDS: Final = 3600.0
MOST_REMEMBERED: Final = 100_000
NO_PROMISE: Final = 0


class NoCredit(Exception):
    """Nothing was set aside. ``state`` as in ``LeaseAnswer``; ``available`` nano-USD could be."""

    def __init__(self, answer: HoldAnswer) -> None:
        super().__init__(f"{answer.state}: {answer.available} nano-USD available")
        self.state = answer.state
        self.available = answer.available


class NotReady(Exception):
    """Billing does not wait for this producer yet, or not any more, so nothing may begin."""


class TooLate(Exception):
    """The reservation was given up before it was charged, so nothing is."""


class Reserved(msgspec.Struct, frozen=True):
    """Credit that is set aside for one piece of work, until it is charged or given back."""

    request_id: UUID
    org: int
    key: int
    price: Price
    hold: Hold
    sig: str


class _Begun(NamedTuple):
    """Holds the watermark back. ``at``: when it came to be known here, a tick in milliseconds."""

    authorized_at: int
    at: int


class _Sent(msgspec.Struct):
    """An event on its way into the books. ``at``: a tick in milliseconds, None until the broker has it; ``senders``:
    how many calls send it just now."""

    event: UsageEvent
    price: Price
    at: int | None = None
    senders: int = 0
    booked: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class Producer:
    """One instance of a service. Made by ``producing``."""

    def __init__(
        self,
        name: str,
        instance: str,
        key: bytes,
        billing_url: str,
        *,
        session: aiohttp.ClientSession,
        identity: Identity,
        publisher: rabbit.Publisher,
        lag_seconds: float = LAG_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        reserved_seconds: float = RESERVED_SECONDS,
    ) -> None:
        self._name = name
        self._instance = instance
        self._key = key
        self._billing_url = billing_url
        self._session = session
        self._identity = identity
        self._publisher = publisher
        self._lag_ms = int(lag_seconds * 1000)
        self._settle_ms = int(settle_seconds * 1000)
        self._reserved_ms = int(reserved_seconds * 1000)
        self._run = now_ms()  # grows with each process
        self._open: dict[UUID, _Begun] = {}
        self._sent: dict[UUID, _Sent] = {}
        self._given_up: dict[UUID, None] = {}  # in order, so that the oldest can be forgotten
        self._ahead = 0
        self._floor = NO_PROMISE
        self._settled_at: int | None = None  # a tick in milliseconds, None until billing has answered
        self._ready = asyncio.Event()

    async def ready(self) -> None:
        """Returns when billing waits for what this producer does. Raises NotReady when it does not come to that."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._ready.wait()
        except TimeoutError as error:
            raise NotReady("billing does not take this producer's reports") from error

    async def reserve(self, org: int, key: int, price: Price, need: int) -> Reserved:
        """Sets ``need`` nano-USD aside: no more than that is ever taken from the customer for this. Raises NoCredit,
        NotReady, or one of ``client.Failed``."""
        if not self._ready.is_set():
            raise NotReady("not registered with billing")
        request_id = ids.uuid7(now_ms(), secrets.token_bytes(ids.RANDOM_BYTES))
        wanted = HoldRequest(self._name, org, key, request_id, price, need)
        answer = msgspec.json.decode(await self._post(account.HOLDS_PATH, wanted), type=HoldAnswer)
        if answer.hold is None:
            raise NoCredit(answer)
        if answer.hold.authorized_at < self._floor:
            raise NotReady("the answer took so long that the hold may be given back")
        reserved = Reserved(request_id, org, key, price, answer.hold, answer.sig)
        self._open[request_id] = _Begun(answer.hold.authorized_at, tick_ms())
        return reserved

    async def charge(
        self,
        reserved: Reserved,
        used: Usage,
        *,
        started_at: int,
        ended_at: int | None = None,
        reason: str = "complete",
    ) -> None:
        """Publishes what was used. Returns when the broker has it, however long that takes; it is sent even if nobody
        waits for that any more. Calling it again with the same changes nothing. ``started_at``: Unix milliseconds, by
        which prices with hours are read; ``ended_at`` is the same unless it is told. Raises TooLate when it was not
        called within ``reserved_seconds``."""
        if reserved.request_id in self._given_up:
            raise TooLate(f"{reserved.request_id} was not charged within {self._reserved_ms // 1000} seconds")
        times = started_at, started_at if ended_at is None else ended_at
        await self._publish(reserved, "usage", used, times, reason)

    async def give_back(self, reserved: Reserved, *, reason: str) -> None:
        """Nothing is owed. What was given up goes back without it."""
        if reserved.request_id not in self._given_up:
            accepted_at = ids.millisecond_of(reserved.request_id)  # the same when it is called again
            await self._publish(reserved, "void", Usage(), (accepted_at, accepted_at), reason)

    async def booked(self, reserved: Reserved) -> None:
        """Returns when what was charged or given back is in the books, or parked: a record of it may be forgotten then,
        and not before. Raises ValueError for what is neither yet."""
        if sent := self._sent.get(reserved.request_id):
            await sent.booked.wait()
        elif reserved.request_id in self._open:
            raise ValueError(f"{reserved.request_id} was neither charged nor given back")

    async def _publish(
        self, reserved: Reserved, outcome: Outcome, used: Usage, times: tuple[int, int], reason: str
    ) -> None:
        """``times``: when it started and ended. Called again with the same it makes the same event, for what says
        something else of a request that is booked is an anomaly."""
        started_at, ended_at = times
        event = UsageEvent(
            request_id=reserved.request_id,
            outcome=outcome,
            reason=reason,
            org=reserved.org,
            key=reserved.key,
            model=reserved.price.model,
            offer="",
            provider=self._name,
            provider_model=reserved.price.model,
            price_id=pricing.version_of(reserved.price),
            usage=used,
            cost=pricing.cost(reserved.price, used, started_at),
            hold=reserved.hold,
            sig=reserved.sig,
            accepted_at=ids.millisecond_of(reserved.request_id),
            started_at=started_at,
            ended_at=ended_at,
        )
        sent = self._sent.setdefault(event.request_id, _Sent(event, reserved.price))
        self._open.setdefault(event.request_id, _Begun(reserved.hold.authorized_at, tick_ms()))  # of an earlier run
        sent.senders += 1
        try:
            await self._until_confirmed(sent)
        finally:
            sent.senders -= 1

    async def _until_confirmed(self, sent: _Sent) -> None:
        failures = 0
        while True:
            try:
                return await self._ship(sent)
            except rabbit.Failed as error:
                failures += 1
                log.warning("publishing_waits", error=repr(error))
                await asyncio.sleep(backoff.after(failures))

    async def _ship(self, sent: _Sent) -> None:
        event = sent.event
        raw = msgspec.Raw(usage.encode_event(event))
        plain = usage.Envelope(usage.SCHEMA, self._name, now_ms(), {event.price_id: sent.price}, [raw])
        body = usage.encode_envelope(usage.seal_envelope(plain, self._key))
        key = usage.routing_key(usage.partition_of(event.org))
        await self._publisher.publish(usage.EXCHANGE, key, body, message_id=f"{self._name}:{event.request_id.hex}")
        sent.at = tick_ms()

    async def run(self) -> None:
        """Reports once a second, and sends what nobody sends: what a call that was cancelled has left, and again what
        billing does not know after ten minutes."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._reporting())
            both.create_task(self._sending())

    async def _reporting(self) -> None:
        while True:
            try:
                await self.report()
            except (*client.Failed, msgspec.DecodeError) as error:
                log.warning("report_waits", error=repr(error))
            await asyncio.sleep(REPORT_SECONDS)

    async def _sending(self) -> None:
        while True:
            try:
                await self._send_left()
            except rabbit.Failed as error:
                log.warning("publishing_waits", error=repr(error))
            await asyncio.sleep(REPORT_SECONDS)

    async def _send_left(self) -> None:
        """Raises one of ``rabbit.Failed``."""
        for sent in list(self._sent.values()):
            if sent.senders == 0 and (sent.at is None or tick_ms() - sent.at > RESHIP_MS):
                await self._ship(sent)

    async def report(self, *, goodbye: bool = False) -> None:
        """What was authorized before the watermark is booked, or was never begun here and never will be."""
        if self._settled_at is None:
            settle_ms = self._settle_ms if await self._may_be_left() else 0
            self._settled_at = tick_ms() + settle_ms
        self._give_up_old()
        if self._settled():
            self._floor = max(self._floor, self._lowest())
        asked = tuple(i for i, sent in self._sent.items() if sent.at is not None)[: evidence.MOST_ASKED]
        heard = await self._say(asked, goodbye=goodbye)
        for request_id in heard.booked:
            self._open.pop(request_id, None)
            if sent := self._sent.pop(request_id, None):
                sent.booked.set()
        if heard.ready and not goodbye:
            self._ready.set()
        else:
            self._ready.clear()

    async def _may_be_left(self) -> bool:
        """Whether an earlier run of this name was ready once, and has not said goodbye."""
        left = (await self._say(())).ready
        if left:
            log.info("settling", seconds=self._settle_ms // 1000, producer=self._name, instance=self._instance)
        return left

    def _lowest(self) -> int:
        now = min(now_ms(), tick_ms() + self._ahead)
        return min([now - self._lag_ms, *(begun.authorized_at for begun in self._open.values())])

    def _give_up_old(self) -> None:
        """What is neither charged nor given back would hold back for ever what all others get back."""
        before = tick_ms() - self._reserved_ms
        for request_id in [i for i, begun in self._open.items() if i not in self._sent and begun.at < before]:
            log.error("reservation_given_up", request_id=request_id.hex)
            del self._open[request_id]
            self._given_up[request_id] = None
        while len(self._given_up) > MOST_REMEMBERED:
            del self._given_up[next(iter(self._given_up))]

    async def _say(self, asked: tuple[UUID, ...], *, goodbye: bool = False) -> evidence.Heard:
        said = evidence.Report(
            self._instance, self._floor, len(self._open), now_ms(), asked, goodbye=goodbye, run=self._run
        )
        path = evidence.REPORTS_PATH.format(spool=f"{self._name}:{self._instance}")
        heard = msgspec.json.decode(await self._post(path, said), type=evidence.Heard)
        self._ahead = heard.now - tick_ms()
        return heard

    async def last_call(self) -> None:
        """Before the process ends: nobody has to wait for a producer of which everything is booked. While an earlier
        run may have left something, that is not known, and somebody has to."""
        self._ready.clear()
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                while self._sent:
                    await self._send_left()
                    await self.report()
                    await asyncio.sleep(REPORT_SECONDS / 10)
                if self._open or not self._settled():
                    log.warning("no_goodbye", unbooked=len(self._open), settled=self._settled())
                else:
                    await self.report(goodbye=True)
        except (*client.Failed, *rabbit.Failed, msgspec.DecodeError) as error:
            log.warning("no_goodbye", unbooked=len(self._open), error=repr(error))

    def _settled(self) -> bool:
        return self._settled_at is not None and tick_ms() >= self._settled_at

    async def _post(self, path: str, body: Any) -> bytes:
        headers = self._identity.authorization("billing")
        async with self._session.post(
            self._billing_url + path, data=msgspec.json.encode(body), headers=headers
        ) as response:
            if response.status >= 400:
                raise aiohttp.ClientError(f"billing answered {response.status}: {await response.text()}")
            return await response.read()


@asynccontextmanager
async def producing(
    name: str,
    instance: str,
    *,
    key: str,
    internal_secret: str,
    billing_url: str,
    amqp_url: str,
    lag_seconds: float = LAG_SECONDS,
    settle_seconds: float = SETTLE_SECONDS,
    reserved_seconds: float = RESERVED_SECONDS,
) -> AsyncIterator[Producer]:
    """A producer that is ready, until the context ends. ``instance`` must be this process's own name among those of the
    service, and the same after a restart. ``lag_seconds``: billing's setting ``watermark_lag_seconds``, if it is less
    than usual. ``settle_seconds``: how long after a crash what the earlier run under that
    name published is waited for: more than billing is ever behind. What it had not published is given up then.
    ``reserved_seconds``: how long a reservation may wait for its charge."""
    async with client.session() as session, rabbit.publisher(amqp_url, declares=False) as publisher:
        producer = Producer(
            name,
            instance,
            key.encode(),
            billing_url,
            session=session,
            identity=Identity(name, internal_secret.encode()),
            publisher=publisher,
            lag_seconds=lag_seconds,
            settle_seconds=settle_seconds,
            reserved_seconds=reserved_seconds,
        )
        try:
            async with running(Health(), "report and send", producer.run()):
                await producer.ready()
                yield producer
        finally:
            await producer.last_call()
