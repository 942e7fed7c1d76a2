"""What a failed attempt means for the next one. Pure.

What the caller did wrong is the caller's, wherever it is sent; everything else may be different elsewhere. Nothing is
tried again once the caller has seen a word: two answers are never joined.
"""

from typing import Final, Literal

from libs import errors
from libs.contracts.usage import Attempt
from services.router.choose import Chosen

Blame = Literal["caller", "credential", "offer", "rate", "another", "nobody"]

BLAMES: Final[tuple[tuple[type[errors.GatewayError], Blame], ...]] = (
    (errors.CandidateBusy, "another"),
    (errors.NotServed, "another"),
    (errors.ProviderAccountRefused, "credential"),
    (errors.RateLimited, "rate"),
    (errors.UpstreamFailed, "offer"),
    (errors.UpstreamTimeout, "offer"),
    (errors.Overloaded, "offer"),
    (errors.InvalidRequest, "caller"),
    (errors.RequestTooLarge, "caller"),
)


def blame(error: errors.GatewayError) -> Blame:
    """Who has to change something before the same request can succeed. ``rate``: nobody, it is a matter of time;
    ``another``: somebody else may do it, and nobody is to blame."""
    return next((who for kind, who in BLAMES if isinstance(error, kind)), "nobody")


def may_go_on(error: errors.GatewayError) -> bool:
    """Whether another candidate could do better."""
    return blame(error) in ("credential", "offer", "rate", "another")


def left_after(error: errors.GatewayError, failed: Chosen, candidates: list[Chosen]) -> list[Chosen]:
    """Who may still be tried. What an offer failed with by itself it fails with under any credential."""
    if not may_go_on(error):
        return []
    same_again = failed.offer.id if blame(error) == "offer" else None
    return [chosen for chosen in candidates if chosen.offer.id != same_again]


def explained(attempts: tuple[Attempt, ...]) -> str:
    """The attempts as a header: ``offer;status=503;reason=overloaded;ms=12``, one after the other."""
    return ", ".join(f"{one.offer};status={one.status};reason={one.reason};ms={one.ms}" for one in attempts)
