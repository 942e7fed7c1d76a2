"""What a caller wishes of providers: the field ``provider`` beside ``model``, in either protocol. Pure.

A wish that cannot be met is refused and not forgotten: whoever excludes a provider has a reason. The field is ours and
never goes upstream.
"""

from collections.abc import Container, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from libs.contracts.catalog import Offer
from libs.errors import InvalidRequest, UnsupportedParameter
from services.router.raws import UNREADABLE, Fields, encoded, fields_of

FIELD: Final = "provider"
SHOWN_CHARS: Final = 80

Sort = Literal["price", "latency", "throughput"]
Names = tuple[str, ...]


class Measured(msgspec.Struct, frozen=True):
    """How an offer did lately."""

    first_token_ms: float
    tokens_per_second: float


Measurements = Mapping[str, Measured]  # by offer
UNMEASURED: Final[Measurements] = MappingProxyType({})


class Wishes(msgspec.Struct, frozen=True):
    """Providers' ids; None is no wish. ``order`` puts its own before all others and excludes none. ``sort: price``
    changes nothing where a model has one price, whoever serves it."""

    only: Names | None = None
    ignore: Names | None = None
    order: Names | None = None
    sort: Sort | None = None

    def among(self, offers: Sequence[Offer], known: Container[str]) -> Sequence[Offer]:
        """The offers of a model that the caller would take. Raises InvalidRequest naming a provider that is not among
        the ``known``, or the providers that there are when none is left."""
        if self is NO_WISHES:
            return offers
        for name, ids in (("only", self.only), ("ignore", self.ignore), ("order", self.order)):
            _refuse_unknown(name, ids or (), offers, known)
        left = [offer for offer in offers if self._takes(offer.provider)]
        if not left:
            at_fault = "ignore" if self.only is None else "only"
            raise _refused(at_fault, f"leaves no provider of this model. {_serving(offers)}")
        return left

    def rank(self, offer: Offer, measured: Measurements) -> tuple[int, float]:
        """The lower the earlier; the same for all where nothing was wished."""
        order = self.order or ()
        place = order.index(offer.provider) if offer.provider in order else len(order)
        return place, self._cost(measured.get(offer.id))

    def _takes(self, provider: str) -> bool:
        return (self.only is None or provider in self.only) and provider not in (self.ignore or ())

    def _cost(self, seen: Measured | None) -> float:
        if self.sort in (None, "price"):
            return 0.0
        if seen is None:
            return inf
        return seen.first_token_ms if self.sort == "latency" else -seen.tokens_per_second


NO_WISHES: Final = Wishes()


class Asked(msgspec.Struct):
    """What is read of the body."""

    provider: Any = None


class Named(msgspec.Struct):
    """Whether the field is there, whatever it holds."""

    provider: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_named = msgspec.json.Decoder(Named)
_asked = msgspec.json.Decoder(Asked)


def read(body: bytes) -> Wishes:
    """Raises InvalidRequest naming the part that is wrong. A body that is no object has no wishes; what is wrong with
    it is said where the rest of it is read. To search the body for the name first would take longer than this does."""
    try:
        asked = _asked.decode(body).provider
    except UNREADABLE:
        return NO_WISHES
    return NO_WISHES if asked is None else _wishes(asked)


def without(fields: Fields) -> None:
    """Takes the wishes out of what goes upstream."""
    fields.pop(FIELD, None)


def stripped(body: bytes) -> bytes:
    """The body without the caller's wishes: they are ours to read and nobody else's."""
    try:
        if _named.decode(body).provider is msgspec.UNSET:
            return body
        fields = fields_of(body)
    except UNREADABLE:
        return body
    without(fields)
    return encoded(fields)


def _wishes(asked: Any) -> Wishes:
    if not isinstance(asked, dict):
        raise InvalidRequest("provider must be an object.", param=FIELD)
    for name in asked:
        if name not in Wishes.__struct_fields__:
            shown = f"{FIELD}.{name[:SHOWN_CHARS]}"
            raise UnsupportedParameter(f"{shown} is not known here; only, ignore, order and sort are.", param=shown)
    wishes = Wishes(
        only=_names(asked, "only"), ignore=_names(asked, "ignore"), order=_names(asked, "order"), sort=_sort(asked)
    )
    return NO_WISHES if wishes == NO_WISHES else wishes


def _names(asked: dict[str, Any], name: str) -> Names | None:
    value = asked.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _refused(name, "must be a list of providers' ids.")
    return tuple(dict.fromkeys(value))


def _sort(asked: dict[str, Any]) -> Sort | None:
    value = asked.get("sort")
    for known in get_args(Sort):
        if value == known:
            return known  # type: ignore[no-any-return]  # get_args forgets what it was given
    if value is not None:
        raise _refused("sort", f"must be one of {', '.join(get_args(Sort))}.")
    return None


def _refuse_unknown(name: str, ids: Names, offers: Sequence[Offer], known: Container[str]) -> None:
    for one in ids:
        if one not in known:
            raise _refused(name, f"names {one[:SHOWN_CHARS]!r}, which is no provider here. {_serving(offers)}")


def _serving(offers: Sequence[Offer]) -> str:
    return f"This model is served by {', '.join(dict.fromkeys(offer.provider for offer in offers))}."


def _refused(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{FIELD}.{name} {what}", param=f"{FIELD}.{name}")
