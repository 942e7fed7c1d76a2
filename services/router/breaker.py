"""Who is left alone for a while, because calls to them fail. Pure.

One Breaker per offer and per credential. It opens when too many of the last calls failed, lets one call through after a
pause, and closes when that one succeeds. What the caller did wrong is no verdict about anybody.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

State = Literal["closed", "open", "half_open", "cooling"]
OFFER: Final = "offer:"
CREDENTIAL: Final = "credential:"
PROBING_MS: Final = 1000  # how soon to ask again while a probe is under way


class Rule(msgspec.Struct, frozen=True):
    """Opens at ``errors`` among the last ``of`` calls of the window, for ``pause_ms``: twice as long after each probe
    that fails, up to ``longest_pause_ms``."""

    errors: int = 5
    of: int = 20
    window_ms: int = 60_000
    pause_ms: int = 5_000
    longest_pause_ms: int = 60_000

    def __post_init__(self) -> None:
        if not 0 < self.errors <= self.of:
            raise ValueError(f"A breaker cannot open at {self.errors} errors of {self.of} calls.")


USUAL: Final = Rule()


class Health(msgspec.Struct, frozen=True):
    """What operators see of one subject: ``errors`` of the last ``of`` calls in the window; ``retry_at`` is the
    millisecond from which it may be called, and None where that is now."""

    subject: str
    state: State
    errors: int
    of: int
    opens_total: int
    retry_at: int | None


class Breaker:
    """One subject. Every ``now_ms`` is from one clock that does not go back.

    Calls are long and many are under way at once. ``begin`` gives a call its turn, and a verdict counts only while that
    turn lasts: what began before the breaker opened says nothing about a probe.
    """

    def __init__(self, rule: Rule = USUAL) -> None:
        self._rule = rule
        self._calls: deque[tuple[int, bool]] = deque(maxlen=rule.of)
        self._turn = 0
        self._pause = rule.pause_ms
        self._shut_until: int | None = None  # None is closed
        self._cool_until = 0
        self._probing = False
        self._opens = 0

    def allows(self, now_ms: int) -> bool:
        """Whether a call may begin. An open breaker whose pause is over lets one through, until its verdict."""
        if now_ms < self._cool_until:
            return False
        return self._shut_until is None or (now_ms >= self._shut_until and not self._probing)

    def begin(self, now_ms: int) -> int | None:
        """The turn of a call that begins now, which may be the probe; None where it may not begin. Each turn ends with
        a verdict, ``abandoned`` if nothing else: a probe without one keeps everybody out."""
        if not self.allows(now_ms):
            return None
        if self._shut_until is not None:
            self._probing = True
            self._turn += 1
        return self._turn

    def answering(self, turn: int) -> None:
        """The first word is there: enough of a probe, which may go on for an hour."""
        if turn == self._turn and self._probing:
            self._close()

    def succeeded(self, now_ms: int, turn: int) -> None:
        if turn != self._turn:
            return
        if self._probing:
            self._close()
        else:
            self._calls.append((now_ms, False))

    def failed(self, now_ms: int, turn: int) -> None:
        if turn != self._turn:
            return
        if self._probing:
            self._pause = min(self._pause * 2, self._rule.longest_pause_ms)
            self._shut(now_ms)
            return
        self._calls.append((now_ms, True))
        if sum(self._recent(now_ms)) >= self._rule.errors:
            self._opens += 1
            self._shut(now_ms)

    def abandoned(self, turn: int) -> None:
        """It ended without a verdict: the caller left, the request was bad, a limit was met. The next one may probe.
        After a verdict it changes nothing, so it may stand in a ``finally``."""
        if turn == self._turn and self._probing:
            self._probing = False
            self._turn += 1

    def cool(self, until_ms: int) -> None:
        """Nobody calls before: a provider's Retry-After. It is not an error."""
        self._cool_until = max(self._cool_until, until_ms)

    def state(self, now_ms: int) -> State:
        """``half_open`` from the end of the pause to the probe's verdict."""
        if self._shut_until is not None and now_ms < self._shut_until:
            return "open"
        if now_ms < self._cool_until:
            return "cooling"
        return "closed" if self._shut_until is None else "half_open"

    def wait_ms(self, now_ms: int) -> int:
        """How long until it may be worth asking again; 0 is now."""
        if self.allows(now_ms):
            return 0
        return max(self._shut_until or 0, self._cool_until, now_ms + PROBING_MS if self._probing else 0) - now_ms

    def health(self, subject: str, now_ms: int) -> Health:
        recent, wait = self._recent(now_ms), self.wait_ms(now_ms)
        return Health(
            subject=subject,
            state=self.state(now_ms),
            errors=sum(recent),
            of=len(recent),
            opens_total=self._opens,
            retry_at=now_ms + wait if wait else None,
        )

    def _recent(self, now_ms: int) -> list[bool]:
        return [wrong for at, wrong in self._calls if at > now_ms - self._rule.window_ms]

    def _shut(self, now_ms: int) -> None:
        self._shut_until = now_ms + self._pause
        self._probing = False
        self._turn += 1

    def _close(self) -> None:
        self._calls.clear()
        self._shut_until = None
        self._probing = False
        self._pause = self._rule.pause_ms
        self._turn += 1


class Begun(msgspec.Struct, frozen=True):
    """One call under way, as one of its breakers sees it."""

    breaker: Breaker
    turn: int

    def succeeded(self, now_ms: int) -> None:
        self.breaker.succeeded(now_ms, self.turn)

    def answering(self) -> None:
        self.breaker.answering(self.turn)

    def failed(self, now_ms: int) -> None:
        self.breaker.failed(now_ms, self.turn)

    def abandoned(self) -> None:
        self.breaker.abandoned(self.turn)

    def cool(self, until_ms: int) -> None:
        """The one called, and this call itself has no verdict."""
        self.breaker.cool(until_ms)
        self.breaker.abandoned(self.turn)


class Breakers:
    """One for each subject that was called. Subjects are ids of the shelf, never words of
    a caller."""

    def __init__(self, rule: Rule = USUAL) -> None:
        self._rule = rule
        self._of: dict[str, Breaker] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, subject: str) -> Breaker:
        found = self._of.get(subject)
        if found is None:
            found = self._of[subject] = Breaker(self._rule)
        return found

    def drop(self, is_gone: Callable[[str], bool]) -> None:
        """Forgets subjects that are no more."""
        self._of = {subject: breaker for subject, breaker in self._of.items() if not is_gone(subject)}

    def begin(self, subjects: Sequence[str], now_ms: int) -> tuple[Begun, ...] | None:
        """A call that needs all of them: begun with each, in their order, or with none."""
        found = [self.of(subject) for subject in subjects]
        if not all(breaker.allows(now_ms) for breaker in found):
            return None
        turns = [(breaker, breaker.begin(now_ms)) for breaker in found]
        return tuple(Begun(breaker, turn) for breaker, turn in turns if turn is not None)

    def usable_at(self, now_ms: int) -> Callable[[str, str], bool]:
        """Whether an offer may be called with a credential."""

        find = self._of.get

        def usable(offer_id: str, credential_id: str) -> bool:
            called = find(OFFER + offer_id)
            if called is not None and not called.allows(now_ms):
                return False
            account = find(CREDENTIAL + credential_id)
            if account is not None and not account.allows(now_ms):
                return False
            both = find(pair_of(offer_id, credential_id))
            return both is None or both.allows(now_ms)

        return usable

    def wait_at(self, now_ms: int) -> Callable[[str, str], int]:
        """How many milliseconds until an offer may be called with a credential."""

        def wait(offer_id: str, credential_id: str) -> int:
            return max(self.of(subject).wait_ms(now_ms) for subject in subjects_of(offer_id, credential_id))

        return wait

    def snapshot(self, now_ms: int) -> list[Health]:
        return [breaker.health(subject, now_ms) for subject, breaker in sorted(self._of.items())]


def offer_in(subject: str) -> str | None:
    """The offer that a subject is about, alone or with a credential."""
    kind, _, named = subject.partition(":")
    return None if kind == "credential" else named.partition(" ")[0]


def pair_of(offer_id: str, credential_id: str) -> str:
    return f"pair:{offer_id} {credential_id}"


def subjects_of(offer_id: str, credential_id: str) -> tuple[str, str, str]:
    """What a call needs: what it calls, as whom, and both together, because a rate is of both."""
    return OFFER + offer_id, CREDENTIAL + credential_id, pair_of(offer_id, credential_id)
