"""What other services are told: the published shelf with an operator's credentials and pauses laid over it. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from libs.contracts.catalog import Credential, Snapshot
from services.catalog.credentials import in_order

Kind = Literal["offer", "provider", "credential"]


class Stored(msgspec.Struct, frozen=True):
    """A credential that was added by an operator; its secret is sealed."""

    id: str
    provider: str
    sealed: str
    weight: int = 1
    max_concurrent: int | None = None
    added_at: datetime | None = None


class Pause(msgspec.Struct, frozen=True):
    """Something that serves nobody until it is resumed. It may have left the shelf since."""

    kind: Kind
    id: str
    reason: str
    since: datetime


class State(msgspec.Struct, frozen=True):
    """The shelf as it was published, and everything that lies over it."""

    published: Snapshot
    stored: tuple[Stored, ...]
    pauses: tuple[Pause, ...]

    def paused(self, kind: Kind) -> dict[str, Pause]:
        return {pause.id: pause for pause in self.pauses if pause.kind == kind}


def overlaid(state: State) -> Snapshot:
    """An offer is paused with its provider. A stored credential stays out while its provider is not on the shelf, or
    while its id is one of the file's: a release that knew no stored ones may have published that."""
    providers, offers, credentials = state.paused("provider"), state.paused("offer"), state.paused("credential")
    return replace(
        state.published,
        offers=tuple(
            replace(offer, paused=offer.id in offers or offer.provider in providers) for offer in state.published.offers
        ),
        credentials=tuple(replace(found, paused=found.id in credentials) for found in _credentials(state)),
    )


def _credentials(state: State) -> Sequence[Credential]:
    on_shelf = {provider.id for provider in state.published.providers}
    taken = {credential.id for credential in state.published.credentials}
    stored = [
        Credential(found.id, found.provider, "", found.sealed, found.weight, found.max_concurrent)
        for found in state.stored
        if found.provider in on_shelf and found.id not in taken
    ]
    return in_order([*state.published.credentials, *stored])
