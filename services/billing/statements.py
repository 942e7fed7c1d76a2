"""An account's month: what it opened with, what moved, what it closed with, and a digest that shows tampering. Pure.

**The digest** is SHA-256 over, in this order: the 32 bytes of the digest of the month before (zeros for an account's
first month), a line for the account and its month, and a line for each of its transfers by rising ``transfer_id``. A
line is a compact JSON array in UTF-8 and a newline (``header`` and ``canonical``)::

    [17,"2026-10"]
    [4711,1790812800000000,"usage:42:17","usage",17,3,2500,""]

that is: id, microseconds since 1970 at which it was posted, idempotency key, kind, account debited, account credited,
nano-USD, reason. A month that is changed afterwards breaks its own digest and that of every later month.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from libs import pricing
from libs.contracts.statement import MONTH, BucketStatement

GENESIS: Final = bytes(32)
GRACE: Final = timedelta(days=1)  # longer than any transaction that posts lives


class BadMonth(ValueError):
    """Not a month as in ``2026-10``."""


class Line(msgspec.Struct, frozen=True):
    """One transfer. ``posted_us``: microseconds since 1970; ``debit`` and ``credit``: accounts; nano-USD."""

    transfer_id: int
    posted_us: int
    idem_key: str
    kind: str
    debit: int
    credit: int
    amount: int
    reason: str


class Statement(msgspec.Struct, frozen=True):
    """A closed month of one account, nano-USD. ``closing = opening + credits - debits``."""

    account: int
    month: date
    opening: int
    debits: int
    credits: int
    closing: int
    transfers: int
    digest: bytes


class Tally:
    """A month while its lines are read."""

    def __init__(self, account: int, month: date, opening: int = 0, before: bytes = GENESIS) -> None:
        self.account = account
        self.month = month
        self._opening = opening
        self._debits = self._credits = self._count = 0
        self._digest = hashlib.sha256(before + header(account, month))

    def add(self, line: Line) -> None:
        self._count += 1
        self._debits += line.amount if line.debit == self.account else 0
        self._credits += line.amount if line.credit == self.account else 0
        self._digest.update(canonical(line))

    def statement(self) -> Statement:
        return Statement(
            account=self.account,
            month=self.month,
            opening=self._opening,
            debits=self._debits,
            credits=self._credits,
            closing=self._opening + self._credits - self._debits,
            transfers=self._count,
            digest=self._digest.digest(),
        )


def header(account: int, month: date) -> bytes:
    return msgspec.json.encode((account, name_of(month))) + b"\n"


def canonical(line: Line) -> bytes:
    return msgspec.json.encode(msgspec.structs.astuple(line)) + b"\n"


def difference(stored: Statement, counted: Statement) -> str | None:
    """How a stored month differs from what its transfers come to."""
    for name in ("opening", "debits", "credits", "closing", "transfers"):
        said, found = getattr(stored, name), getattr(counted, name)
        if said != found:
            return f"{name} {said}, its transfers come to {found}"
    return None if stored.digest == counted.digest else "its transfers are not those that it was closed with"


def month_of(text: str) -> date:
    """The first day of ``2026-10``. Raises BadMonth."""
    match = MONTH.fullmatch(text)
    if match is None:
        raise BadMonth(f"{text[:40]!r} is not a month as in 2026-10")
    return date(int(match[1]), int(match[2]), 1)


def name_of(month: date) -> str:
    return f"{month:%Y-%m}"


def after(month: date) -> date:
    """The month that follows."""
    return (month + timedelta(days=31)).replace(day=1)


def before(month: date) -> date:
    """The month that it follows."""
    return (month - timedelta(days=1)).replace(day=1)


def start_of(month: date) -> datetime:
    """Its first instant, UTC."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def is_over(month: date, now: datetime) -> bool:
    """By more than a day, so that nothing can be posted into it any more."""
    return now >= start_of(after(month)) + GRACE


def text(org: int, shown: BucketStatement) -> str:
    """For people."""
    state = "closed" if shown.digest else "not closed yet"
    rows = [("opening", shown.opening, "")]
    rows += [(each.kind, each.amount, f"{each.transfers} transfers") for each in shown.movements]
    rows.append(("closing", shown.closing, ""))
    lines = [f"org {org}, {shown.bucket}, {shown.month} ({state})"]
    lines += [f"  {name:<14}{pricing.usd(nano):>22}  {note}".rstrip() for name, nano, note in rows]
    return "\n".join([*lines, f"  digest {shown.digest}"] if shown.digest else lines)
