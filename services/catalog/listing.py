"""What an operator sees: providers, offers and credentials, each with why it is paused. Pure; never a secret."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from libs.contracts.catalog import Credential, Deadlines
from libs.protocols import Protocol
from libs.sealing import NotOpened, key_of
from services.catalog.overlay import Kind, Pause, State, Stored


class Why(msgspec.Struct, frozen=True):
    """Why and since when something is paused."""

    reason: str
    since: datetime


class ProviderRow(msgspec.Struct, frozen=True):
    """``credentials`` are ids, the first one first."""

    id: str
    name: str
    base_urls: dict[Protocol, str]
    credentials: tuple[str, ...]
    offers: int
    paused: bool
    pause: Why | None


class OfferRow(msgspec.Struct, frozen=True):
    """``paused`` is its own ``pause`` or its provider's. Deadlines are seconds."""

    id: str
    model: str
    provider: str
    protocol: Protocol
    upstream_model: str
    priority: int
    weight: int
    deadlines: dict[str, float]
    paused: bool
    pause: Why | None


class CredentialRow(msgspec.Struct, frozen=True):
    """Where its secret is: the environment ``variable``, or sealed here with the key named ``sealed_with``."""

    id: str
    provider: str
    source: str
    variable: str | None
    sealed_with: str | None
    weight: int
    max_concurrent: int | None
    added_at: datetime | None
    on_shelf: bool
    paused: bool
    pause: Why | None


Row: TypeAlias = ProviderRow | OfferRow | CredentialRow


def rows(state: State, kind: Kind) -> list[Row]:
    """All of a kind, in the order of the shelf."""
    made: dict[Kind, Any] = {"provider": _providers, "offer": _offers, "credential": _credentials}
    return list(made[kind](state))


def row(state: State, kind: Kind, name: str) -> Row | None:
    return next((found for found in rows(state, kind) if found.id == name), None)


def _providers(state: State) -> Iterator[ProviderRow]:
    pauses, credentials = state.paused("provider"), list(_credentials(state))
    for provider in state.published.providers:
        yield ProviderRow(
            id=provider.id,
            name=provider.name,
            base_urls=provider.base_urls,
            credentials=tuple(found.id for found in credentials if found.provider == provider.id and found.on_shelf),
            offers=sum(offer.provider == provider.id for offer in state.published.offers),
            paused=provider.id in pauses,
            pause=_why(pauses.get(provider.id)),
        )


def _offers(state: State) -> Iterator[OfferRow]:
    pauses, providers = state.paused("offer"), state.paused("provider")
    for offer in state.published.offers:
        yield OfferRow(
            id=offer.id,
            model=offer.model,
            provider=offer.provider,
            protocol=offer.protocol,
            upstream_model=offer.upstream_model,
            priority=offer.priority,
            weight=offer.weight,
            deadlines=_seconds(offer.deadlines),
            paused=offer.id in pauses or offer.provider in providers,
            pause=_why(pauses.get(offer.id)),
        )


def _seconds(deadlines: Deadlines) -> dict[str, float]:
    return msgspec.structs.asdict(deadlines)


def _credentials(state: State) -> Iterator[CredentialRow]:
    pauses = state.paused("credential")
    taken = {found.id for found in state.published.credentials}
    on_shelf = {provider.id for provider in state.published.providers}
    for credential in state.published.credentials:
        yield _row_of(credential, _why(pauses.get(credential.id)))
    for stored in state.stored:
        shown = stored.provider in on_shelf and stored.id not in taken
        yield _stored_row(stored, _why(pauses.get(stored.id)), on_shelf=shown)


def _row_of(credential: Credential, pause: Why | None) -> CredentialRow:
    return CredentialRow(
        id=credential.id,
        provider=credential.provider,
        source="environment",
        variable=credential.variable,
        sealed_with=None,
        weight=credential.weight,
        max_concurrent=credential.max_concurrent,
        added_at=None,
        on_shelf=True,
        paused=pause is not None,
        pause=pause,
    )


def _stored_row(stored: Stored, pause: Why | None, *, on_shelf: bool) -> CredentialRow:
    return CredentialRow(
        id=stored.id,
        provider=stored.provider,
        source="stored",
        variable=None,
        sealed_with=_key_of(stored.sealed),
        weight=stored.weight,
        max_concurrent=stored.max_concurrent,
        added_at=stored.added_at,
        on_shelf=on_shelf,
        paused=pause is not None,
        pause=pause,
    )


def _key_of(sealed: str) -> str | None:
    try:
        return key_of(sealed)
    except NotOpened:
        return None


def _why(pause: Pause | None) -> Why | None:
    return None if pause is None else Why(pause.reason, pause.since)
