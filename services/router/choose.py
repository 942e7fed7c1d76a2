"""Which offers serve a request, with which credentials, and in which order they are tried. Pure."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil, inf, log
from typing import Final

import msgspec

from libs.contracts.catalog import AuthStyle, Offer, Provider, Shelf
from libs.errors import ModelNotFound, Overloaded, UpstreamUnavailable
from libs.protocols import ANTHROPIC_MESSAGES, OPENAI_CHAT, Protocol
from services.router.wishes import NO_WISHES, UNMEASURED, Measurements, Wishes

SIMULATED_KEY: Final = "simulated"
WORD_BYTES: Final = 8
WORD: Final = (1 << 64) - 1
ODD: Final = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, to mix with
EPSILON: Final = 2.0**-53
SOON_MS: Final = 2000
PATHS: Final[dict[Protocol, str]] = {OPENAI_CHAT: "/chat/completions", ANTHROPIC_MESSAGES: "/v1/messages"}


class Held(msgspec.Struct, frozen=True):
    """One of a provider's credentials, opened. ``weight`` is its share among them; 0 is a last resort."""

    id: str
    secret: str
    weight: int = 1
    paused: bool = False

    def __repr__(self) -> str:
        return f"Held({self.id!r})"


class Endpoint(msgspec.Struct, frozen=True):
    """Where an offer's requests go, and as whom."""

    url: str
    auth: AuthStyle
    credential: str
    simulated: bool

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"


class Chosen(msgspec.Struct, frozen=True):
    """An offer with everything that a call to it needs; ``context_tokens`` is the model's limit."""

    offer: Offer
    provider: Provider
    endpoint: Endpoint
    context_tokens: int
    credential_id: str


class Pair(msgspec.Struct, frozen=True):
    """An offer and a credential for it; ``weight`` is the credential's share of the offer's."""

    offer: Offer
    provider: Provider
    held: Held
    weight: float


def always(_offer_id: str, _credential_id: str) -> bool:
    return True


def soon(_offer_id: str, _credential_id: str) -> int:
    return SOON_MS


def candidates(
    shelf: Shelf,
    model: str,
    credentials: Callable[[Provider], Sequence[Held]],
    simulator_url: str,
    *,
    affinity: bytes,
    wishes: Wishes = NO_WISHES,
    usable: Callable[[str, str], bool] = always,
    wait: Callable[[str, str], int] = soon,
    measured: Measurements = UNMEASURED,
) -> list[Chosen]:
    """Whoever can be called now, first choice first: as the caller wishes, then by priority, then so that requests of
    one ``affinity`` meet the same credential while it is ``usable``, and all of them together the weights.

    ``wait`` is in milliseconds. Raises ModelNotFound, InvalidRequest for wishes that leave nobody, UpstreamUnavailable
    where nobody could ever be called, Overloaded where nobody can be now.
    """
    offers = shelf.offers_of(model)
    if not offers:
        raise ModelNotFound(f"There is no model {model!r} here; see GET /v1/models.", param="model")
    pairs = _pairs(wishes.among(offers, shelf.providers), shelf, credentials, simulator_url)
    if not pairs:
        raise UpstreamUnavailable(f"{model} has no provider that can be called now; the operator has been told.")
    able = [pair for pair in pairs if usable(pair.offer.id, pair.held.id)]
    if not able:
        raise _overloaded(model, min(wait(pair.offer.id, pair.held.id) for pair in pairs))
    if len(able) > 1:
        able = _ranked(able, affinity, wishes, measured)
    context_tokens = shelf.models[model].context_tokens
    return [_chosen(pair, simulator_url, context_tokens) for pair in able]


def choose(shelf: Shelf, model: str, credential: Callable[[str], str], simulator_url: str) -> Chosen:
    """The first candidate of a caller without wishes, where every provider has one credential at most."""

    def held(provider: Provider) -> Sequence[Held]:
        key = credential(provider.credential)
        return (Held(provider.id, key),) if key else ()

    return candidates(shelf, model, held, simulator_url, affinity=b"")[0]


def _ranked(able: list[Pair], affinity: bytes, wishes: Wishes, measured: Measurements) -> list[Pair]:
    """Weighted rendezvous hashing: the least of -ln(u)/weight is whose turn it is, with a u of its own for each. Taking
    one away moves nothing but what was its own."""
    seed = _word(affinity)

    def place(pair: Pair) -> tuple[int, float]:
        offer = pair.offer
        if pair.weight <= 0:
            return offer.priority, inf
        mixed = ((seed ^ _salt(offer.id, pair.held.id)) * ODD) & WORD
        mixed = ((mixed ^ (mixed >> 32)) * ODD) & WORD
        return offer.priority, -log(((mixed >> 11) + 0.5) * EPSILON) / pair.weight

    if wishes is NO_WISHES:
        return sorted(able, key=place)
    return sorted(able, key=lambda pair: (wishes.rank(pair.offer, measured), place(pair)))


@lru_cache(maxsize=1 << 14)
def _salt(offer_id: str, credential_id: str) -> int:
    """A number that is a pair's own."""
    return _word(f"{offer_id}\n{credential_id}".encode())


def _word(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=WORD_BYTES).digest(), "big")


def _overloaded(model: str, least_ms: int) -> Overloaded:
    sentence = f"Every provider of {model} is failing or busy; try again in a moment."
    return Overloaded(sentence, retry_after=max(1, ceil(least_ms / 1000)))


def _pairs(
    offers: Sequence[Offer], shelf: Shelf, credentials: Callable[[Provider], Sequence[Held]], simulator_url: str
) -> list[Pair]:
    """An offer's weight is its own, however many credentials share it. One that is paused keeps its part, so that a
    pause moves nothing but what was its own."""
    found = []
    for offer in offers:
        if offer.paused:
            continue
        provider = shelf.providers[offer.provider]
        helds = credentials(provider)
        if not helds and simulator_url:
            found.append(Pair(offer, provider, _stand_in(provider), offer.weight))
        part = offer.weight / (sum([held.weight for held in helds]) or 1)
        for held in helds:
            if held.secret and not held.paused:
                found.append(Pair(offer, provider, held, part * held.weight))  # noqa: PERF401 - it is slower here
    return found


def _stand_in(provider: Provider) -> Held:
    """The simulator, for a provider that has no credential at all. Each has its own: they fail apart."""
    return Held(f"{SIMULATED_KEY}:{provider.id}", "")


def _chosen(pair: Pair, simulator_url: str, context_tokens: int) -> Chosen:
    there = _endpoint(pair.provider, pair.offer.protocol, pair.held.secret, simulator_url)
    return Chosen(pair.offer, pair.provider, there, context_tokens, pair.held.id)


def _endpoint(provider: Provider, protocol: Protocol, key: str, simulator_url: str) -> Endpoint:
    """No ``key``: the simulator."""
    if key:
        there = provider.base_urls[protocol].rstrip("/") + PATHS[protocol]
        return Endpoint(there, provider.auth[protocol], key, simulated=False)
    there = f"{simulator_url.rstrip('/')}/{provider.id}{PATHS[protocol]}"
    return Endpoint(there, provider.auth[protocol], SIMULATED_KEY, simulated=True)
