"""For services other than routers that charge customers: credit is set aside first, then usage is published.

Everything that billing asks of a producer is done here: the hold, the seal, the broker's confirmation, sending again
what billing has not booked, and the watermark, without which billing would give back a hold after seconds. See
``docs/publishing-usage.md``.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
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

BEHIND_MS: Final = 15_000  # longer than billing may take to answer, so that no hold is older than what is promised
READY_SECONDS: Final = 60
REPORT_SECONDS: Final = 1.0
RESHIP_MS: Final = 600_000
LAST_CALL_SECONDS: Final = 5.0


class NoCredit(Exception):
    """Nothing was set aside. ``state`` as in ``LeaseAnswer``; ``available`` nano-USD could be."""

    def __init__(self, answer: HoldAnswer) -> None:
        super().__init__(f"{answer.state}: {answer.available} nano-USD available")
        self.state = answer.state
        self.available = answer.available


class NotReady(Exception):
    """Billing does not wait for this producer yet, or not any more, so nothing may begin."""


class Reserved(msgspec.Struct, frozen=True):
    """Credit that is set aside for one piece of work, until it is charged or given back."""

    request_id: UUID
    org: int
    key: int
    price: Price
    hold: Hold
    sig: str


class _Sent(msgspec.Struct):
    """An event on its way into the books: ``at``, a tick in milliseconds, None until the broker has it."""

    event: UsageEvent
    price: Price
    at: int | None = None


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
    ) -> None:
        self._name = name
        self._instance = instance
        self._key = key
        self._billing_url = billing_url
        self._session = session
        self._identity = identity
        self._publisher = publisher
        self._open: dict[UUID, Reserved] = {}
        self._sent: dict[UUID, _Sent] = {}
        self._ahead = 0
        self._floor = 0
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
        self._open[request_id] = reserved
        return reserved

    async def charge(self, reserved: Reserved, used: Usage, *, started_at: int, reason: str = "complete") -> None:
        """Publishes what was used. Returns when the broker has it, however long that takes; calling it again for the
        same work changes nothing. ``started_at``: Unix milliseconds, by which prices with hours are read."""
        await self._publish(reserved, "usage", used, started_at, reason)

    async def give_back(self, reserved: Reserved, *, reason: str) -> None:
        """Nothing is owed."""
        await self._publish(reserved, "void", Usage(), now_ms(), reason)

    async def _publish(self, reserved: Reserved, outcome: Outcome, used: Usage, started_at: int, reason: str) -> None:
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
            ended_at=now_ms(),
        )
        sent = self._sent.setdefault(event.request_id, _Sent(event, reserved.price))
        await self._until_confirmed(sent)

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
        """Reports once a second, and sends again what billing does not know after ten minutes."""
        while True:
            try:
                await self.report()
            except (*client.Failed, msgspec.DecodeError) as error:
                log.warning("report_waits", error=repr(error))
            for sent in list(self._sent.values()):
                if sent.at is not None and tick_ms() - sent.at > RESHIP_MS:
                    await self._until_confirmed(sent)
            await asyncio.sleep(REPORT_SECONDS)

    async def report(self, *, goodbye: bool = False) -> None:
        """What was authorized before the watermark is booked, or was never begun here and never will be."""
        asked = tuple(i for i, sent in self._sent.items() if sent.at is not None)[: evidence.MOST_ASKED]
        now = min(now_ms(), tick_ms() + self._ahead) if self._ahead else now_ms()
        self._floor = max(self._floor, min([now - BEHIND_MS, *(r.hold.authorized_at for r in self._open.values())]))
        said = evidence.Report(self._instance, self._floor, len(self._open), now_ms(), asked, goodbye)
        path = evidence.REPORTS_PATH.format(spool=f"{self._name}:{self._instance}")
        heard = msgspec.json.decode(await self._post(path, said), type=evidence.Heard)
        self._ahead = heard.now - tick_ms()
        for request_id in heard.booked:
            self._sent.pop(request_id, None)
            self._open.pop(request_id, None)
        if heard.ready and not goodbye:
            self._ready.set()
        else:
            self._ready.clear()

    async def last_call(self) -> None:
        """Before the process ends: nobody has to wait for a producer of which everything is booked."""
        self._ready.clear()
        try:
            async with asyncio.timeout(LAST_CALL_SECONDS):
                while self._open:
                    await self.report()
                    await asyncio.sleep(REPORT_SECONDS / 10)
                await self.report(goodbye=True)
        except (*client.Failed, msgspec.DecodeError) as error:
            log.warning("no_goodbye", unbooked=len(self._open), error=repr(error))

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
    name: str, instance: str, *, key: str, internal_secret: str, billing_url: str, amqp_url: str
) -> AsyncIterator[Producer]:
    """A producer that is ready, until the context ends. ``instance`` must be this process's own name among those of the
    service, and the same after a restart: what an earlier run under that name had not published is then given up."""
    async with client.session() as session, rabbit.publisher(amqp_url, declares=False) as publisher:
        producer = Producer(
            name,
            instance,
            key.encode(),
            billing_url,
            session=session,
            identity=Identity(name, internal_secret.encode()),
            publisher=publisher,
        )
        try:
            async with running(Health(), "report", producer.run()):
                await producer.ready()
                yield producer
        finally:
            await producer.last_call()
