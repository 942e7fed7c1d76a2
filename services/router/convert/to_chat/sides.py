"""Who said what, in turns: the assistant's and the user's. Pure."""

from typing import Any, TypeVar

import msgspec

from services.router.convert.to_chat.content import Part
from services.router.convert.to_chat.results import Result

Call = dict[str, Any]


class Said(msgspec.Struct):
    """A turn of the assistant. ``calls`` are tool calls as they are sent, by the caller's id."""

    texts: list[str] = msgspec.field(default_factory=list)
    thoughts: list[str] = msgspec.field(default_factory=list)
    calls: dict[str, Call] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is left of it: thoughts alone are nothing."""
        return bool(self.texts or self.calls)


class Asked(msgspec.Struct):
    """A turn of the user. ``pieces`` are content parts, and whole system messages where those are kept in place.
    ``calls`` are those of the turn before, ``answers`` what came back for them."""

    calls: dict[str, Call] = msgspec.field(default_factory=dict)
    answers: dict[str, Result] = msgspec.field(default_factory=dict)
    pieces: list[Part] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.answers or self.pieces)


Side = Said | Asked
S = TypeVar("S", bound=Side)


class Sides:
    """The turns in order. Messages of one side that follow each other are one turn, and a turn of which nothing is
    left was never said."""

    def __init__(self) -> None:
        self._sides: list[Side] = []

    def __bool__(self) -> bool:
        return bool(self._sides)

    def said(self) -> Said:
        """The turn that the assistant is in, a new one if it was not its turn."""
        last = self._last(Said)
        return last if isinstance(last, Said) else self._add(Said())

    def asked(self) -> Asked:
        """The turn that the user is in, a new one if it was not theirs."""
        last = self._last(Asked)
        if isinstance(last, Asked):
            return last
        return self._add(Asked(calls=last.calls if last else {}))

    def all(self) -> list[Side]:
        """Calls at the end are followed by a turn of the user, in which they are answered."""
        last = self._last(None)
        if isinstance(last, Said) and last.calls:
            self._add(Asked(calls=last.calls))
        return self._sides

    def _last(self, kind: type[Side] | None) -> Side | None:
        if self._sides and not self._sides[-1] and not (kind and isinstance(self._sides[-1], kind)):
            self._sides.pop()
        return self._sides[-1] if self._sides else None

    def _add(self, side: S) -> S:
        self._sides.append(side)
        return side
