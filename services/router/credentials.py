"""Providers' credentials, opened: from the environment by name, or sealed in the catalog and opened here alone."""

from collections.abc import Sequence
from typing import Final

import structlog

from libs.contracts.catalog import Credential, Provider, Shelf, sealing_context
from libs.runtime.catalog import LiveShelf
from libs.sealing import KeyRing, NotOpened
from services.router.choose import Held
from services.router.upstream import credential as from_environment

log = structlog.get_logger()

NONE: Final = ""


class Keyring:
    """Without a ``ring``, sealed credentials are as good as none."""

    def __init__(self, live: LiveShelf, ring: KeyRing | None) -> None:
        self._live = live
        self._ring = ring
        self._opened: dict[str, str] = {}
        self._seen: Shelf | None = None
        self._limits: dict[str, int | None] = {}

    def held(self, provider: Provider) -> Sequence[Held]:
        """Those that can be used at all."""
        found = [(one, self._secret(one)) for one in self._live.shelf.credentials_of(provider.id)]
        return [Held(one.id, secret, one.weight, one.paused) for one, secret in found if secret]

    def most_at_once(self, credential_id: str) -> int | None:
        """How many calls may be under way with a credential; None: as many as there are."""
        shelf = self._live.shelf
        if shelf is not self._seen:
            self._seen = shelf
            self._limits = {one.id: one.max_concurrent for one in shelf.snapshot.credentials}
        return self._limits.get(credential_id)

    def _secret(self, one: Credential) -> str:
        if not one.sealed:
            return from_environment(one.variable)
        if one.sealed not in self._opened:
            self._opened[one.sealed] = self._open(one)
        return self._opened[one.sealed]

    def _open(self, one: Credential) -> str:
        try:
            return self._ring.open(one.sealed, sealing_context(one.provider, one.id)) if self._ring else NONE
        except NotOpened as error:
            log.error("credential_not_opened", id=one.id, error=str(error))  # noqa: TRY400 - the operator's slip
            return NONE
