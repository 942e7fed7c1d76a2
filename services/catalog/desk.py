"""What an operator may do, whether he asks by the admin API or by a command. Each is one transaction, and announced."""

import re
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from libs.contracts.catalog import sealing_context
from libs.runtime.postgres import Connection
from libs.sealing import KeyRing, NotOpened
from services.catalog import listing, names, store
from services.catalog.fields import suggestion
from services.catalog.listing import Row
from services.catalog.overlay import Kind, State, Stored
from services.catalog.store import operated

SECRET: Final = re.compile(r"[\x21-\x7e]{1,4096}")
LONGEST_REASON: Final = 500
MOST_NAMED: Final = 20

Seal = Callable[[str, str], str]


class NotDone(Exception):
    """A sentence for the operator; ``param`` is what he should change. Never holds a secret."""

    def __init__(self, reason: str, param: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.param = param


class Unknown(NotDone):
    """There is no such thing."""


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A credential to be stored. ``secret`` goes in and never comes out."""

    provider: str
    id: str
    secret: str
    weight: int = 1
    max_concurrent: int | None = None

    def __repr__(self) -> str:
        return f"Wanted({self.provider!r}, {self.id!r})"


class Resealed(msgspec.Struct, frozen=True):
    """Ids by what became of them: sealed anew, sealed with the first key already, sealed so that no key opens it."""

    resealed: tuple[str, ...]
    kept: tuple[str, ...]
    failed: tuple[str, ...]


async def look(connection: Connection, kind: Kind) -> list[Row]:
    return listing.rows(await store.state(connection), kind)


async def add(connection: Connection, seal: Seal | None, wanted: Wanted) -> Row:
    """Stores a credential. Raises NotDone."""
    if seal is None:
        raise NotDone("Stored credentials are off: TOKENOUTPUT_CREDENTIAL_KEYS is not set.")
    _check(wanted)
    async with store.changing(connection):
        _check_place(wanted, await store.state_within(connection))
        sealed = seal(wanted.secret, sealing_context(wanted.provider, wanted.id))
        kept = Stored(wanted.id, wanted.provider, sealed, wanted.weight, wanted.max_concurrent)
        await operated.add(connection, kept)
        await store.announce(connection, f"credential {wanted.id} added")
        return await _row(connection, "credential", wanted.id)


async def remove(connection: Connection, name: str) -> None:
    """Removes a stored credential. Raises NotDone."""
    async with store.changing(connection):
        state = await store.state_within(connection)
        if name not in {stored.id for stored in state.stored}:
            _known(state, "credential", name)
            raise NotDone(f"The credential {name} is one of the shelf file: take it out there, or pause it.", "id")
        await operated.remove(connection, name)
        await store.announce(connection, f"credential {name} removed")


async def pause(connection: Connection, kind: Kind, name: str, reason: str) -> Row:
    """Takes something out of service; doing it again changes the reason. Raises NotDone."""
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise NotDone(f"reason must say why, in up to {LONGEST_REASON} characters.", "reason")
    async with store.changing(connection):
        _known(await store.state_within(connection), kind, name)
        await operated.pause(connection, kind, name, reason)
        await store.announce(connection, f"{kind} {name} paused")
        return await _row(connection, kind, name)


async def resume(connection: Connection, kind: Kind, name: str) -> Row | None:
    """Puts something back into service, if it was out; None when it has left the shelf meanwhile. Raises NotDone."""
    async with store.changing(connection):
        _known(await store.state_within(connection), kind, name)
        await operated.resume(connection, kind, name)
        await store.announce(connection, f"{kind} {name} resumed")
        return listing.row(await store.state_within(connection), kind, name)


async def reseal(connection: Connection, ring: KeyRing) -> Resealed:
    """Seals every stored credential with the ring's first key. One that does not open stays as it is."""
    found: dict[str, list[str]] = {"resealed": [], "kept": [], "failed": []}
    async with store.changing(connection):
        for stored in (await store.state_within(connection)).stored:
            found[await _reseal(connection, ring, stored)].append(stored.id)
        if found["resealed"]:
            await store.announce(connection, "credentials resealed")
    return Resealed(**{fate: tuple(ids) for fate, ids in found.items()})


async def _reseal(connection: Connection, ring: KeyRing, stored: Stored) -> str:
    try:
        sealed = ring.resealed(stored.sealed, sealing_context(stored.provider, stored.id))
    except NotOpened:
        return "failed"
    if sealed == stored.sealed:
        return "kept"
    await operated.reseal(connection, stored.id, sealed)
    return "resealed"


def _check(wanted: Wanted) -> None:
    if not names.NAME.fullmatch(wanted.id):
        raise NotDone(f"id must be {names.NAME_SHAPE}.", "id")
    if not SECRET.fullmatch(wanted.secret):
        raise NotDone("secret must be one line of visible ASCII characters without blanks.", "secret")
    if not 1 <= wanted.weight <= names.MAX_WEIGHT:
        raise NotDone(f"weight must be a whole number from 1 to {names.MAX_WEIGHT}.", "weight")
    if wanted.max_concurrent is not None and not 1 <= wanted.max_concurrent <= names.MAX_CONCURRENT:
        raise NotDone(f"max_concurrent must be a whole number from 1 to {names.MAX_CONCURRENT}.", "max_concurrent")


def _check_place(wanted: Wanted, state: State) -> None:
    providers = {provider.id for provider in state.published.providers}
    if wanted.provider not in providers:
        raise NotDone(_unknown("provider", wanted.provider, providers), "provider")
    if wanted.id in {found.id for found in listing.rows(state, "credential")}:
        raise NotDone(f"There is a credential {wanted.id!r} already.", "id")


def _known(state: State, kind: Kind, name: str) -> None:
    known = {found.id for found in listing.rows(state, kind)} | state.paused(kind).keys()
    if name not in known:
        raise Unknown(_unknown(kind, name, known), "id")


def _unknown(kind: Kind, name: str, known: Collection[str]) -> str:
    tail = suggestion(name, known) if len(known) <= MOST_NAMED else ""
    sentence = f"There is no {kind} {name!r}{tail}"
    return sentence if sentence.endswith("?") else f"{sentence}."


async def _row(connection: Connection, kind: Kind, name: str) -> Row:
    found = listing.row(await store.state_within(connection), kind, name)
    if found is None:
        raise Unknown(f"The {kind} {name!r} has left the shelf.", "id")
    return found
