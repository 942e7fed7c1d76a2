"""The catalog's SQL, one function per question: the only place of the service that knows PostgreSQL."""

from services.catalog.store.publishing import IdTaken, Publication, publish
from services.catalog.store.shelf import (
    PricePeriod,
    PriceRecord,
    WrongPrice,
    mark,
    price,
    snapshot,
    state,
    state_within,
)
from services.catalog.store.tables import FAILED, announce, changing

__all__ = [
    "FAILED",
    "IdTaken",
    "PricePeriod",
    "PriceRecord",
    "Publication",
    "WrongPrice",
    "announce",
    "changing",
    "mark",
    "price",
    "publish",
    "snapshot",
    "state",
    "state_within",
]
