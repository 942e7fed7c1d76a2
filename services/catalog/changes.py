"""What a publication changed, model by model."""

import msgspec

from libs.contracts.catalog import Shelf, Snapshot


class Changes(msgspec.Struct, frozen=True):
    """Ids, sorted. A model can be in both ``repriced`` and ``changed``: the latter is all but its price."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    repriced: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()


def changes_of(before: Snapshot, after: Snapshot) -> Changes:
    """``providers`` are those that came, went or changed, or whose credentials did."""
    old, new = Shelf(before), Shelf(after)
    kept = sorted(old.models.keys() & new.models.keys())
    every = sorted(old.providers.keys() | new.providers.keys())
    return Changes(
        added=tuple(sorted(new.models.keys() - old.models.keys())),
        removed=tuple(sorted(old.models.keys() - new.models.keys())),
        repriced=tuple(name for name in kept if old.models[name].price_id != new.models[name].price_id),
        changed=tuple(name for name in kept if _unpriced(old, name) != _unpriced(new, name)),
        providers=tuple(name for name in every if _provider(old, name) != _provider(new, name)),
    )


def _unpriced(shelf: Shelf, name: str) -> tuple[object, ...]:
    facts = msgspec.structs.asdict(shelf.models[name])
    return ({key: facts[key] for key in facts if key not in ("price", "price_id")}, list(shelf.offers_of(name)))


def _provider(shelf: Shelf, name: str) -> tuple[object, ...]:
    return (shelf.providers.get(name), list(shelf.credentials_of(name)))
