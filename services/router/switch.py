"""Who can be called now: the shelf, the credentials, and what earlier attempts taught about both."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import structlog

from libs.contracts.catalog import Offer, Provider, Shelf
from libs.contracts.dispatch import Dispatch
from libs.errors import CandidateBusy, GatewayError, UnsupportedParameter
from libs.runtime.catalog import LiveShelf
from libs.runtime.clock import tick_ms
from services.router import affinity, failover, wishes
from services.router.breaker import Begun, Breakers, Health, offer_in, subjects_of
from services.router.choose import Chosen, Held, candidates

log = structlog.get_logger()


class Watched:
    """What is learnt of an attempt on its way. ``broke``: it ended badly although the caller had seen some of it."""

    def __init__(self, begun: Sequence[Begun]) -> None:
        self._begun = begun
        self.broke: GatewayError | None = None

    def answering(self) -> None:
        for one in self._begun:
            one.answering()


class Switch:
    """``credentials`` gives a provider's keys, opened; ``most_at_once`` how many calls one of them may carry."""

    def __init__(
        self,
        live: LiveShelf,
        credentials: Callable[[Provider], Sequence[Held]],
        breakers: Breakers,
        *,
        most_at_once: Callable[[str], int | None],
        simulator_url: str,
        most_cooling_ms: int,
    ) -> None:
        self._live = live
        self._credentials = credentials
        self._breakers = breakers
        self._most_at_once = most_at_once
        self._simulator_url = simulator_url
        self._most_cooling_ms = most_cooling_ms
        self._in_flight: Counter[str] = Counter()
        self._seen: Shelf | None = None

    def candidates(self, order: Dispatch, body: bytes) -> list[Chosen]:
        """First choice first. Raises what ``choose.candidates`` raises."""
        now = tick_ms()
        self._notice_a_new_shelf()
        wanted = wishes.read(body)
        if wanted.sort in ("latency", "throughput"):
            raise UnsupportedParameter(f"provider.sort {wanted.sort!r} is not measured yet.", param="provider.sort")
        return candidates(
            self._live.shelf,
            order.model,
            self._credentials,
            self._simulator_url,
            affinity=self._affinity(order, body),
            wishes=wanted,
            usable=self._usable_at(now),
            wait=self._breakers.wait_at(now),
        )

    def _notice_a_new_shelf(self) -> None:
        if (shelf := self._live.shelf) is not self._seen:
            self._seen = shelf
            offers = {offer.id for offer in shelf.snapshot.offers}
            self._breakers.drop(lambda subject: (named := offer_in(subject)) is not None and named not in offers)

    def _usable_at(self, now: int) -> Callable[[str, str], bool]:
        allowed = self._breakers.usable_at(now)

        def usable(offer_id: str, credential_id: str) -> bool:
            return allowed(offer_id, credential_id) and self._has_room(credential_id)

        return usable

    def _has_room(self, credential_id: str) -> bool:
        most = self._most_at_once(credential_id)
        return most is None or self._in_flight[credential_id] < most

    def health(self) -> list[Health]:
        """Of everything that was called since the shelf knows it."""
        return self._breakers.snapshot(tick_ms())

    def in_flight(self) -> dict[str, int]:
        """Calls under way, by credential."""
        return {credential: calls for credential, calls in sorted(self._in_flight.items()) if calls}

    @property
    def shelf(self) -> Shelf:
        return self._live.shelf

    def all_of(self, offer: Offer) -> list[Chosen]:
        """An offer with each of its credentials, whatever is known of them."""
        alone = Shelf(
            msgspec.structs.replace(self.shelf.snapshot, offers=(msgspec.structs.replace(offer, paused=False),))
        )
        return candidates(alone, offer.model, self._credentials, self._simulator_url, affinity=b"")

    @contextmanager
    def watching(self, chosen: Chosen) -> Iterator[Watched]:
        """What comes of an attempt is a verdict about whom it called, and never about what the caller asked."""
        offer_id, credential_id = chosen.offer.id, chosen.credential_id
        begun = self._breakers.begin(subjects_of(offer_id, credential_id), tick_ms())
        if begun is None or not self._has_room(credential_id):
            for one in begun or ():
                one.abandoned()
            raise CandidateBusy("This provider has just become busy; try again in a moment.", retry_after=1)
        self._in_flight[chosen.credential_id] += 1
        watched = Watched(begun)
        try:
            yield watched
        except GatewayError as error:
            self._judge(begun, error)
            raise
        else:
            if watched.broke is not None:
                self._judge(begun, watched.broke)
            else:
                for one in begun:
                    one.succeeded(tick_ms())
        finally:
            self._in_flight[chosen.credential_id] -= 1
            for one in begun:
                one.abandoned()

    def _judge(self, begun: Sequence[Begun], error: GatewayError) -> None:
        blamed = failover.blame(error)
        for one, who in zip(begun, ("offer", "credential", "pair"), strict=True):
            if who == blamed:
                one.failed(tick_ms())
            elif who == "pair" and blamed == "rate":
                one.cool(tick_ms() + min((error.retry_after or 0) * 1000, self._most_cooling_ms))

    def _affinity(self, order: Dispatch, body: bytes) -> bytes:
        """Only where there is a choice: it takes a look into the body."""
        shelf = self._live.shelf
        offers = shelf.offers_of(order.model)
        alone = len(offers) == 1 and len(shelf.credentials_of(offers[0].provider)) == 1
        return b"" if alone else affinity.key(order.org, body)
