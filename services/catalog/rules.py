"""What may be published: a TOML text becomes a snapshot, or a list of everything that is wrong with it.

Vendors are rows of the document. Nothing is sold unpriced, under a name that hides what serves it, or through a
provider that does not speak the protocol.
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from libs.contracts.catalog import Offer, Snapshot
from services.catalog import names
from services.catalog.credentials import in_order
from services.catalog.fields import Fields, Mistake, written
from services.catalog.models import Entry, read_entry
from services.catalog.profiles import GENERIC, Row, Rows, read_row
from services.catalog.providers import Source, read_source
from services.catalog.toml_lines import line_at, lines_of

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Located(msgspec.Struct, frozen=True, order=True):
    """One mistake as an editor finds it."""

    line: int
    path: str
    reason: str


class Refused(Exception):
    """The text may not be published; ``mistakes`` holds every reason, in the order of the lines."""

    def __init__(self, mistakes: Iterable[Located]) -> None:
        self.mistakes = sorted(mistakes)
        super().__init__(f"{len(self.mistakes)} mistakes")


def read(text: str) -> Snapshot:
    """The snapshot (version 0) that the text describes, in an order that the text's own does not change.

    Raises Refused.
    """
    mistakes: list[Mistake] = []
    with Fields(_parse(text), (), mistakes) as root:
        rows = _rows(root)
        providers = root.table("providers").named(names.NAME, names.NAME_SHAPE)
        sources = {name: read_source(fields, name, rows) for name, fields in providers.items()}
        models = root.table("models").named(names.NAME, names.NAME_SHAPE)
        entries = [read_entry(fields, name, sources) for name, fields in models.items()]
    _refuse_unused(root, rows, sources.values())
    _refuse_shared_ids(entries)
    _refuse_shared_credentials(list(sources.values()))
    _refuse_chains(entries)
    if mistakes:
        lines = lines_of(text)
        raise Refused(Located(line_at(lines, path), written(path), reason) for path, reason in mistakes)
    return _snapshot(list(sources.values()), entries)


def digest_of(snapshot: Snapshot) -> str:
    """What is on the shelf, whatever its version: equal digests sell the same things at the same prices."""
    models = [asdict(model) for model in snapshot.models]  # all fields: a default is content too
    offers = [
        {**asdict(offer), "profile": asdict(offer.profile), "deadlines": asdict(offer.deadlines)}
        for offer in snapshot.offers
    ]
    credentials = [asdict(credential) for credential in snapshot.credentials]
    content = {"providers": snapshot.providers, "models": models, "offers": offers, "credentials": credentials}
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_exact)
    except (ValueError, RecursionError) as error:  # ValueError: TOMLDecodeError, and an integer of 5000 digits
        place = _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else 1 + text.rstrip().count("\n")
        raise Refused([Located(line, "TOML", _PLACE.sub("", str(error)))]) from error


def _exact(number: str) -> Decimal:
    try:
        return Decimal(number)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent beyond reason; refused where the number is read


def _rows(root: Fields) -> dict[str, Row]:
    if root.maybe("profiles") is None:
        return {}
    named = root.table("profiles").named(names.NAME, names.NAME_SHAPE)
    return {name: read_row(fields, name) for name, fields in named.items()}


def _refuse_unused(root: Fields, rows: Rows, sources: Iterable[Source]) -> None:
    """The generic rows stand for every endpoint that names none, also for one to come."""
    used = {row.name for source in sources for row in source.profiles.values()}
    for name in rows.keys() - used - set(GENERIC.values()):
        root.wrong("is named by no endpoint", "profiles", name)


def _refuse_shared_ids(entries: Sequence[Entry]) -> None:
    """An offer's id names it alone, in breakers and in usage records."""
    taken: dict[str, str] = {}
    for entry in entries:
        for index, offer in enumerate(entry.offers):
            place = written((*entry.fields.path, "offers", index))
            first = taken.setdefault(offer.id, place)
            if first != place:
                entry.fields.wrong(f"has the id {offer.id!r} of {first}; give one of them an id", "offers", index)


def _refuse_shared_credentials(sources: Sequence[Source]) -> None:
    """A credential's id names it alone too, among all providers'."""
    taken = {source.provider.id: source.provider.id for source in sources}
    for source in sources:
        for place, credential in enumerate(source.credentials[1:]):
            owner = taken.setdefault(credential.id, source.provider.id)
            if owner != source.provider.id:
                source.fields.wrong(f"{credential.id!r} is a credential of {owner}", "credentials", place, "id")


def _refuse_chains(entries: Sequence[Entry]) -> None:
    """What serves an alias is named in one step."""
    aliases = {entry.id: entry.served_as for entry in entries if entry.served_as is not None}
    for entry in entries:
        behind = aliases.get(entry.served_as or "")
        if behind is not None and entry.served_as != entry.id:
            entry.fields.wrong(f"is itself served as {behind!r}: name that", "served_as")


def _snapshot(sources: Sequence[Source], entries: Sequence[Entry]) -> Snapshot:
    on_sale = sorted((entry for entry in entries if entry.sold is not None), key=lambda entry: entry.id)
    return Snapshot(
        version=0,
        providers=tuple(sorted((source.provider for source in sources), key=lambda provider: provider.id)),
        models=tuple(entry.sold for entry in on_sale if entry.sold is not None),
        offers=tuple(offer for entry in on_sale for offer in sorted(entry.offers, key=_preference)),
        credentials=in_order(credential for source in sources for credential in source.credentials),
    )


def _preference(offer: Offer) -> tuple[int, str]:
    return offer.priority, offer.id
