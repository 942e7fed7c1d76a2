"""What routers tell billing, so that credit is given back on evidence and never on a clock.

A router's **watermark** is a promise about holds, by their ``authorized_at``: whatever was authorized before it is in
the books or parked, or never began here, and this router will never begin it. Billing compares watermarks with the time
at which a lease was lost or a hold was made; no clock of a router takes part in that. A router that is silent keeps its
last watermark, and with it everything that may still be charged, until it comes back or an operator declares it lost.
"""

from typing import Final
from uuid import UUID

import msgspec

REPORTS_PATH: Final = "/internal/v1/routers/{spool}/report"
MOST_ASKED: Final = 2000


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One router's report, about once a second. It is known by its spool, which outlives the process.

    ``watermark``: Unix milliseconds. ``unbooked``: records in its spool. ``asked``: requests that the broker confirmed
    and that it may forget once they are booked, at most ``MOST_ASKED``. ``sent_at``: its clock, to be compared.
    ``goodbye``: its spool is empty and it begins nothing any more, so nobody has to wait for it. ``run``: which process
    of this spool says so, a number that grows with each; a goodbye of an earlier one comes too late to count.
    """

    instance: str
    watermark: int
    unbooked: int
    sent_at: int
    asked: tuple[UUID, ...] = ()
    goodbye: bool = False
    run: int = 0


class Heard(msgspec.Struct, frozen=True):
    """``booked``: those of the requests that were asked about which are charged or parked. ``lost``: an operator
    declared this spool lost and its holds were given back; it must begin nothing, under this spool. ``ready``: it may
    begin requests. False while its watermark is below what may have been given back before anybody waited for it, as
    the first watermark of a new spool can be: report again. ``now``: billing's clock, Unix milliseconds.
    """

    booked: tuple[UUID, ...]
    lost: bool
    ready: bool
    now: int
