"""The shelf as everyone else sees it: one immutable snapshot, fetched by ETag.

`GET /internal/v1/snapshot` answers 200 with a Snapshot, or 304 to a matching `if-none-match`. With `?wait=SECONDS` the
304 is held back until the shelf changes or the time is over, which makes a poll a push.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from libs.contracts.profile import GENERIC, Profile
from libs.pricing import Price
from libs.protocols import Protocol

SNAPSHOT_PATH: Final = "/internal/v1/snapshot"
MAX_WAIT_SECONDS: Final = 30

AuthStyle = Literal["bearer", "x-api-key"]
OnDisconnect = Literal["cancel", "drain"]


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Who serves. ``base_urls`` has one entry per protocol the provider speaks; ``credential`` names the environment
    variable (or ``…_FILE``) that holds its first key: the Credential with the provider's own id."""

    id: str
    name: str
    base_urls: dict[Protocol, str]
    auth: dict[Protocol, AuthStyle]
    credential: str


class Credential(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of a provider's account. It stands in the environment ``variable`` (or ``…_FILE``), or is ``sealed`` with
    ``libs.sealing`` under its id and its provider's. Ids are unique among all providers' credentials."""

    id: str
    provider: str
    variable: str = ""
    sealed: str = ""
    weight: int = 1
    max_concurrent: int | None = None
    paused: bool = False


def sealing_context(provider: str, credential: str) -> str:
    """What a credential is sealed for: it opens nowhere else."""
    return f"credential/{provider}/{credential}"


class Deadlines(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long a provider may take, in seconds: to be reached (``connect``), until its ``first`` meaningful event,
    between two events (``idle``), and in all."""

    connect: float = 10.0
    first: float = 120.0
    idle: float = 300.0
    total: float = 3500.0


USUAL_DEADLINES: Final = Deadlines()


class Offer(msgspec.Struct, frozen=True):
    """One provider's way to serve a Model. ``on_disconnect`` is ``cancel`` where the provider stops billing when we
    hang up, ``drain`` where reading on costs nothing more. ``profile`` is what this endpoint takes and wants.
    ``weight`` is its share among the offers of its ``priority``. ``paused`` is its own pause or its provider's."""

    id: str
    model: str
    provider: str
    protocol: Protocol
    upstream_model: str
    on_disconnect: OnDisconnect
    priority: int = 0
    profile: Profile = GENERIC
    weight: int = 1
    paused: bool = False
    deadlines: Deadlines = USUAL_DEADLINES


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sold. Limits are tokens; ``created`` is a Unix second; ``served_as`` names the model behind an alias."""

    id: str
    name: str
    description: str
    owned_by: str
    created: int
    context_tokens: int
    max_output_tokens: int
    price_id: str
    price: Price
    protocols: tuple[Protocol, ...]
    input_modalities: tuple[str, ...] = ("text",)
    output_modalities: tuple[str, ...] = ("text",)
    supported_parameters: tuple[str, ...] = ()
    served_as: str | None = None


def first_credential(provider: Provider) -> Credential:
    """The one that every provider has, also in a snapshot of a release that knew no other."""
    return Credential(provider.id, provider.id, provider.credential)


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that is sold at one moment. ``version`` grows with every publication."""

    version: int
    providers: tuple[Provider, ...]
    models: tuple[Model, ...]
    offers: tuple[Offer, ...]
    credentials: tuple[Credential, ...] = ()


class Shelf:
    """A snapshot with its look-ups made once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.models = {model.id: model for model in snapshot.models}
        self.providers = {provider.id: provider for provider in snapshot.providers}
        self._offers: dict[str, list[Offer]] = {}
        for offer in sorted(snapshot.offers, key=lambda o: o.priority):
            self._offers.setdefault(offer.model, []).append(offer)
        self._credentials: dict[str, list[Credential]] = {}
        for credential in snapshot.credentials or map(first_credential, snapshot.providers):
            self._credentials.setdefault(credential.provider, []).append(credential)

    def offers_of(self, model: str) -> Sequence[Offer]:
        """The model's offers, first choice first."""
        return self._offers.get(model, ())

    def credentials_of(self, provider: str) -> Sequence[Credential]:
        """The provider's credentials, paused ones too."""
        return self._credentials.get(provider, ())


EMPTY: Final = Shelf(Snapshot(0, (), (), ()))


def encode(snapshot: Snapshot) -> bytes:
    return msgspec.json.encode(snapshot)


def decode(body: bytes) -> Snapshot:
    """Raises ``msgspec.DecodeError`` for anything that is no snapshot."""
    return msgspec.json.decode(body, type=Snapshot)
