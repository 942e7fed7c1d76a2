"""An org's month, as billing tells it. All money is nano-USD; months are UTC, as in ``2026-10``."""

import re
from typing import Final

import msgspec

STATEMENT_PATH: Final = "/internal/v1/orgs/{org}/statements/{month}"
MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


class Movement(msgspec.Struct, frozen=True):
    """A month's transfers of one kind: how many, and what they gave to the account; negative for what they took."""

    kind: str
    transfers: int
    amount: int


class BucketStatement(msgspec.Struct, frozen=True):
    """One month of an org's cash or plan. ``digest`` in hex once the month is closed."""

    bucket: str
    month: str
    opening: int
    movements: tuple[Movement, ...]
    closing: int
    digest: str | None


class OrgStatement(msgspec.Struct, frozen=True):
    """Empty for an org that never had credit."""

    org: int
    month: str
    buckets: tuple[BucketStatement, ...]
