"""Tool calls as blocks, one after the other, however their fragments are mixed. Pure.

A block cannot be opened twice, so whatever comes while another call's arguments are unfinished waits for its turn.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from services.router.convert.answers.calls import Call, Calls, Fragment
from services.router.convert.answers.message_blocks import MessageBlocks, Prose
from services.router.convert.names import Names
from services.router.convert.surrogates import mended

ID_CHARS: Final = 24


class CallBlocks:
    """``opened``: a call was shown. ``nameless`` counts the calls that could not be, because they never got a name."""

    def __init__(self, blocks: MessageBlocks, names: Names, nonce: str) -> None:
        self.opened = False
        self.nameless = 0
        self._blocks, self._names, self._nonce = blocks, names, nonce
        self._calls = Calls()
        self._open: Call | None = None
        self._shown = 0  # of the calls, in their order
        self._ids: set[str] = set()
        self._aside: list[tuple[Prose, str]] = []

    def take(self, fragments: Iterable[Fragment]) -> None:
        for fragment in fragments:
            call = self._calls.of(fragment)
            arguments = call.hear(fragment)
            if call is self._open:
                self._blocks.argue(arguments)
            else:
                self._advance()

    def say(self, kind: Prose, text: str) -> None:
        """Prose: at once, or when the calls before it are whole."""
        self._advance()
        if self._open is not None and not self._open.whole:
            self._aside.append((kind, text))
            return
        self._release()
        self._blocks.say(kind, text)

    def finish(self) -> None:
        """Everything that still waits; calls in the order of their indexes."""
        self._release()
        for call in sorted(self._calls.all[self._shown :], key=_index):
            if call.name:
                self._show(call)
            else:
                self.nameless += 1
        self._open, self._shown = None, len(self._calls.all)

    def _advance(self) -> None:
        """The calls whose turn it is. A name may come in pieces, so it is known when arguments begin."""
        while self._shown < len(self._calls.all):
            call = self._calls.all[self._shown]
            if not (call.name and call.pieces) or (self._open is not None and not self._open.whole):
                return
            self._release()
            self._show(call)
            self._open = call
            self._shown += 1

    def _release(self) -> None:
        self._open = None
        aside, self._aside = self._aside, []
        for kind, text in aside:
            self._blocks.say(kind, text)

    def _show(self, call: Call) -> None:
        self.opened = True
        self._blocks.call(self._id(call), self._names.original(mended(call.name)))
        self._blocks.argue("".join(call.pieces))

    def _id(self, call: Call) -> str:
        """The provider's own, which comes back to it in the next turn; one of ours where it is missing or taken."""
        said = mended(call.id)
        if not said or said in self._ids:
            said = "toolu_" + digest(f"{self._nonce}:{call.order}")
        self._ids.add(said)
        return said


def digest(seed: str) -> str:
    """Letters and digits that no other seed gives."""
    return hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:ID_CHARS]


def _index(call: Call) -> int:
    return call.order if call.index is None else call.index
