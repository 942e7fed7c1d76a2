"""Which offer serves a request. Pure."""

from collections.abc import Callable

import msgspec

from libs.contracts.catalog import AuthStyle, Offer, Provider, Shelf
from libs.errors import ModelNotFound, UpstreamUnavailable
from libs.protocols import ANTHROPIC_MESSAGES, Protocol

SIMULATED_KEY = "simulated"


class Endpoint(msgspec.Struct, frozen=True):
    """Where an offer's requests go, and as whom."""

    url: str
    auth: AuthStyle
    credential: str
    simulated: bool


class Chosen(msgspec.Struct, frozen=True):
    """An offer with everything that a call to it needs; ``context_tokens`` is the model's limit."""

    offer: Offer
    provider: Provider
    endpoint: Endpoint
    context_tokens: int


def choose(shelf: Shelf, model: str, credential: Callable[[str], str], simulator_url: str) -> Chosen:
    """The first offer that can be called, whatever protocol it speaks. Raises ModelNotFound or UpstreamUnavailable."""
    offers = shelf.offers_of(model)
    if not offers:
        raise ModelNotFound(f"There is no model {model!r} here; see GET /v1/models.", param="model")
    for offer in offers:
        provider = shelf.providers[offer.provider]
        found = endpoint(provider, offer.protocol, credential, simulator_url)
        if found is not None:
            return Chosen(offer, provider, found, shelf.models[model].context_tokens)
    raise UpstreamUnavailable(f"{model} has no provider that can be called now; the operator has been told.")


def endpoint(
    provider: Provider, protocol: Protocol, credential: Callable[[str], str], simulator_url: str
) -> Endpoint | None:
    """The provider's real address where its credential is there, the simulator where one is, else None."""
    key = credential(provider.credential)
    base = provider.base_urls[protocol] if key else f"{simulator_url.rstrip('/')}/{provider.id}"
    if not key and not simulator_url:
        return None
    path = "/v1/messages" if protocol == ANTHROPIC_MESSAGES else "/chat/completions"
    return Endpoint(
        url=base.rstrip("/") + path,
        auth=provider.auth[protocol],
        credential=key or SIMULATED_KEY,
        simulated=not key,
    )
